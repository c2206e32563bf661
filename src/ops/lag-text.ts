import { formatCount, formatDuration, orUnknown, unknownText } from '../lib/format.ts';
import type { LaneStatus } from './status.ts';

/** A head older than this may well have been passed. */
const headFreshForMs = 10_000;

/**
 * Lag for people: records, and age of the oldest. `>=` says that the source was last heard of a while ago while the lane
 * is not moving, so that there may be more. And when the source begins to delete what is not carried, if that is known.
 */
export function lagText(lane: LaneStatus, nowMs: number): string {
  const { lagRecords, lagSeconds, headAtMs, state } = lane;
  if (lagRecords === undefined && lagSeconds === undefined) return unknownText;
  const moving = state === 'live' || state === 'catching-up';
  const stale = !moving && headAtMs !== undefined && nowMs - headAtMs > headFreshForMs;
  const records = orUnknown(lagRecords, (count) => `${stale ? '>=' : ''}${formatCount(count)}`);
  if (lagRecords === 0 && !stale) return records;
  const text = `${records} / ${orUnknown(lagSeconds, (seconds) => formatDuration(seconds * 1000))}`;
  return lane.retention === undefined ? text : `${text}, ${retentionText(lane.retention)}`;
}

/** What is not carried is deleted by the source soon, or already. */
function retentionText({ seconds, limit }: NonNullable<LaneStatus['retention']>): string {
  return seconds === 0
    ? `retention loses data (${limit})`
    : `retention loses data in ${formatDuration(seconds * 1000)} (${limit})`;
}
