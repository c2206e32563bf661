import { describe, expect, it } from 'vitest';
import { fleetStatus } from '../../test/support/daemon-status.ts';
import { foldLanes, foldLinks, foldPeers } from './fleet.ts';
import type { LaneStatus, LinkStatus, PeerStatus } from './status.ts';

/** A fleet with a change to the first of each list, which is in order without it. */
function changed(change: {
  readonly peer?: Partial<PeerStatus>;
  readonly lane?: Partial<LaneStatus>;
  readonly link?: Partial<LinkStatus>;
}) {
  const status = fleetStatus();
  const first = <T>(items: readonly T[], part: Partial<T> | undefined): T[] =>
    items.map((item, i) => (i === 0 ? { ...item, ...part } : item));
  return fleetStatus({
    peers: first(status.peers, change.peer),
    lanes: first(status.lanes, change.lane),
    links: first(status.links, change.link),
  });
}

const [peer, lane] = ['edge-1', 'telemetry/edge-1/hub'];

describe('folding', () => {
  it('leaves nothing out, and keeps the order', () => {
    const status = fleetStatus();
    const { shown, rest, summary } = foldPeers(status);
    expect([shown.length, rest.length, summary]).toEqual([15, 45, '40 connected, 5 never seen']);
    const order = new Map(status.peers.map((one, i) => [one, i]));
    for (const part of [shown, rest]) {
      const places = part.map((one) => order.get(one)!);
      expect(places).toEqual(places.toSorted((a, b) => a - b));
    }
    expect(new Set([...shown, ...rest])).toEqual(new Set(status.peers));
  });

  it('shows short lists whole', () => {
    const { peers } = fleetStatus();
    const folded = (count: number) => foldPeers(fleetStatus({ peers: peers.slice(0, count) }));
    expect(folded(20)).toEqual({ shown: peers.slice(0, 20), rest: [], summary: '' });
    expect(folded(21)).toEqual({ shown: [], rest: peers.slice(0, 21), summary: '21 connected' });
  });

  it.each<[string, Partial<PeerStatus>]>([
    ['whose name is in use twice', { reason: 'name-taken' }],
    ['that has not answered the file', { answeredGeneration: undefined }],
    ['that has answered an older file', { answeredGeneration: 0 }],
    ['that was turned away and never seen', { connected: false, reason: 'version-mismatch', lastSeenMs: undefined }],
    ['that has an entry of its own and is not there', { connected: false, group: undefined, lastSeenMs: undefined }],
  ])('shows a peer %s', (_, change) => {
    expect(foldPeers(changed({})).shown.map((one) => one.peer)).not.toContain(peer);
    expect(foldPeers(changed({ peer: change })).shown.map((one) => one.peer)).toContain(peer);
  });

  it.each<[string, Partial<LaneStatus>, Partial<PeerStatus>]>([
    ['that lost records', { gapsTotal: 1 }, {}],
    ['that catches up', { state: 'catching-up' }, {}],
    ['that is down though its peer is there', { state: 'disconnected' }, {}],
    [
      'that is down with a peer that was turned away',
      { state: 'disconnected' },
      { connected: false, reason: 'bad-frame' },
    ],
    ['that is down with a peer that is expected', { state: 'disconnected' }, { connected: false, group: undefined }],
    ['that is parked though its peer is away', { state: 'parked' }, { connected: false }],
    ['that lost records though its peer is away', { state: 'disconnected', gapsTotal: 1 }, { connected: false }],
  ])('shows a lane %s', (_, change, peerChange) => {
    expect(foldLanes(changed({})).shown.map((one) => one.lane)).not.toContain(lane);
    expect(foldLanes(changed({ lane: change, peer: peerChange })).shown.map((one) => one.lane)).toContain(lane);
  });

  it('shows a link that is refused', () => {
    expect(foldLinks(changed({})).shown).toEqual([]);
    expect(foldLinks(changed({ link: { accepted: false } })).shown).toHaveLength(1);
  });
});
