import { formatCount, formatDuration, orUnknown, unknownText } from '../lib/format.ts';
import type { LaneStatus } from './status.ts';

/** A head older than this may well have been passed. */
const headFreshForMs = 10_000;

/**
 * Lag for people: records, and age of the oldest. `>=` says that the source was last heard of a while ago while the lane
 * is not moving, so that there may be more.
 */
export function lagText(lane: LaneStatus, nowMs: number): string {
  const { lagRecords, lagSeconds, headAtMs, state } = lane;
  if (lagRecords === undefined && lagSeconds === undefined) return unknownText;
  const moving = state === 'live' || state === 'catching-up';
  const stale = !moving && headAtMs !== undefined && nowMs - headAtMs > headFreshForMs;
  const records = orUnknown(lagRecords, (count) => `${stale ? '>=' : ''}${formatCount(count)}`);
  if (lagRecords === 0 && !stale) return records;
  return `${records} / ${orUnknown(lagSeconds, (seconds) => formatDuration(seconds * 1000))}`;
}
