import { formatCount, formatDuration, unknownText } from '../lib/format.ts';
import { isBehind } from './fleet.ts';
import type { DaemonStatus, GroupStatus, PeerStatus } from './status.ts';

/** When a peer that is not connected last was. Only of members of groups is it known that they never were: the rest is not kept. */
export function lastSeenText({ lastSeenMs, group }: PeerStatus, nowMs: number): string {
  if (lastSeenMs !== undefined) return `${formatDuration(nowMs - lastSeenMs)} ago`;
  return group === undefined ? unknownText : 'never';
}

/** Desired against actual: which version of our file a peer that is behind has answered. Empty if it is not. */
export function answeredText(peer: PeerStatus, status: Pick<DaemonStatus, 'file'>): string {
  if (!isBehind(peer, status)) return '';
  const { answeredGeneration } = peer;
  return answeredGeneration === undefined ? 'not yet' : `${answeredGeneration} of ${status.file.generation}`;
}

/** How many members of a group never came, and who, as far as the file names them: at most `most` names. */
export function neverSeenText({ neverSeen, missing = [] }: GroupStatus, most: number): string {
  if (neverSeen === undefined) return unknownText;
  if (missing.length === 0) return formatCount(neverSeen);
  const left = missing.length - most;
  return `${formatCount(neverSeen)}: ${missing.slice(0, most).join(', ')}${left > 0 ? ` and ${left} more` : ''}`;
}

/** Options that the running daemon could not take over from the file. */
export function pendingText(pending: readonly string[]): string {
  return `${pending.join(', ')} changed in the file; takes effect when the daemon is started anew`;
}
