import type { GroupStatus } from '../ops/status.ts';
import type { GroupPlan } from '../topology/plan.ts';
import type { Peer } from './peer.ts';

/** What is known of a group: nothing that is unknown is shown as a number (I6). `known`: the roster has been read. */
export function groupStatus({ name, match, expect }: GroupPlan, members: readonly Peer[], known: boolean): GroupStatus {
  const seen = members.filter((peer) => peer.lastSeenMs !== undefined);
  const expected = typeof expect === 'object' ? expect.length : expect;
  const status = {
    group: name,
    match,
    connected: members.filter((peer) => peer.isUp).length,
    ...(expected === undefined ? {} : { expected }),
  };
  if (!known) return status;
  const counted = { ...status, seen: seen.length };
  if (expect === undefined) return counted;
  if (typeof expect === 'number') return { ...counted, neverSeen: Math.max(0, expect - seen.length) };
  const missing = expect.filter((cluster) => !seen.some((peer) => peer.cluster === cluster));
  return { ...counted, neverSeen: missing.length, missing };
}
