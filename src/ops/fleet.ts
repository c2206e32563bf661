import { isReason, reasons } from '../wire/reasons.ts';
import type { DaemonStatus, LaneStatus, LinkStatus, PeerStatus } from './status.ts';

/** Lists longer than this are shown without what is in order. */
const foldBeyond = 20;

/** True if the peer's reason is one that somebody has to mend. */
export function isParked({ reason }: PeerStatus): boolean {
  // A status may come from a daemon of another version, with a reason that this one does not know.
  return reason !== undefined && isReason(reason) && reasons[reason].retry === 'park';
}

/** True for a member of a group that is merely not there: devices come and go, and nobody was turned away. */
export function isAway(peer: PeerStatus): boolean {
  return peer.group !== undefined && !peer.connected && !isParked(peer);
}

/** True for a peer that has not answered the file as it runs here; one that is away cannot. */
export function isBehind(peer: PeerStatus, { file }: Pick<DaemonStatus, 'file'>): boolean {
  return peer.connected && peer.answeredGeneration !== file.generation;
}

/** A long list in two parts: what is to be looked at, and the rest by what it is. */
export interface Folded<T> {
  readonly shown: readonly T[];
  readonly rest: readonly T[];
  /** What the rest is, for people: `40 connected, 12 never seen`. Empty if there is none. */
  readonly summary: string;
}

/** Peers, without those that are in order if there are many. */
export function foldPeers(status: DaemonStatus): Folded<PeerStatus> {
  return fold(status.peers, (peer) => {
    if (peer.connected) return peer.reason === undefined && !isBehind(peer, status) ? 'connected' : undefined;
    // Those are counted, and named as far as the file names them, with their group.
    return isAway(peer) && peer.lastSeenMs === undefined ? 'never seen' : undefined;
  });
}

/** Lanes, without those that are in order if there are many. Of a member that is away the peer itself is shown. */
export function foldLanes(status: DaemonStatus): Folded<LaneStatus> {
  const away = new Set(status.peers.filter(isAway).map(({ peer }) => peer));
  return fold(status.lanes, ({ state, reason, gapsTotal, peer }) => {
    if (gapsTotal > 0) return undefined;
    if (state === 'live' && reason === undefined) return 'live';
    return away.has(peer) && (state === 'disconnected' || state === 'starting')
      ? 'of members that are away'
      : undefined;
  });
}

/** Links, without those that are agreed on if there are many. */
export function foldLinks({ links }: Pick<DaemonStatus, 'links'>): Folded<LinkStatus> {
  return fold(links, ({ accepted }) => (accepted ? 'accepted' : undefined));
}

function fold<T>(items: readonly T[], inOrder: (item: T) => string | undefined): Folded<T> {
  if (items.length <= foldBeyond) return { shown: items, rest: [], summary: '' };
  const counts = new Map<string, number>();
  const shown: T[] = [];
  const rest: T[] = [];
  for (const item of items) {
    const word = inOrder(item);
    if (word !== undefined) counts.set(word, (counts.get(word) ?? 0) + 1);
    (word === undefined ? shown : rest).push(item);
  }
  return { shown, rest, summary: [...counts].map(([word, count]) => `${count} ${word}`).join(', ') };
}
