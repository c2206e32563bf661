import type { DaemonStatus, GroupStatus, LaneStatus, LinkStatus, PeerStatus } from '../../src/ops/status.ts';

/** Time in every status made here. */
export const nowMs = Date.UTC(2026, 4, 1, 12, 0, 0);

/** A lane that is live and level, seen by its receiver. */
export function laneStatus(change: Partial<LaneStatus> = {}): LaneStatus {
  return {
    lane: 'telemetry/plant-a/hub',
    link: 'telemetry',
    from: 'plant-a',
    to: 'hub',
    role: 'receiver',
    peer: 'plant-a',
    declaredBy: 'hub',
    state: 'live',
    sinceMs: nowMs - 600_000,
    storedSequence: 1_200,
    headSequence: 1_200,
    headAtMs: nowMs - 500,
    lagRecords: 0,
    lagSeconds: 0,
    progressAtMs: nowMs - 1_000,
    recordsTotal: 1_200,
    bytesTotal: 1_228_800,
    wireBytesTotal: 1_300_000,
    duplicatesTotal: 0,
    loopDropsTotal: 0,
    sourcedDropsTotal: 0,
    quarantinedTotal: 0,
    lostTotal: 0,
    gapsTotal: 0,
    reconnectsTotal: 1,
    creditBytes: 4_194_304,
    inflightBytes: 0,
    mode: 'chain',
    ...change,
  };
}

/** A peer that dials us and is connected. */
export function peerStatus(change: Partial<PeerStatus> = {}): PeerStatus {
  return {
    peer: 'plant-a',
    connected: true,
    direction: 'dials-us',
    address: '10.0.0.7:51334',
    sinceMs: nowMs - 600_000,
    rotationsTotal: 3,
    lastSeenMs: nowMs,
    rttMs: 21.5,
    clockOffsetMs: -3,
    software: 'causeway/0.1.0',
    node: 'plant-a-1',
    fileHash: 'aaaa1111',
    generation: 2,
    answeredGeneration: 1,
    certificateNotAfterMs: nowMs + 86_400_000,
    ...change,
  };
}

export function linkStatus(change: Partial<LinkStatus> = {}): LinkStatus {
  return { link: 'telemetry', declaredBy: 'hub', peer: 'plant-a', accepted: true, ...change };
}

/** A group of five, of which four ever called and three are connected. */
export function groupStatus(change: Partial<GroupStatus> = {}): GroupStatus {
  return { group: 'edges', match: 'edge-*', expected: 5, seen: 4, connected: 3, neverSeen: 1, ...change };
}

/** A hub with one plant, healthy. */
export function daemonStatus(change: Partial<DaemonStatus> = {}): DaemonStatus {
  return {
    cluster: 'hub',
    node: 'hub-1',
    software: 'causeway/0.1.0',
    startedAtMs: nowMs - 3_600_000,
    nowMs,
    file: { path: '/etc/causeway/topology.yaml', hash: 'bbbb2222', generation: 1, loadedAtMs: nowMs - 3_600_000 },
    ready: true,
    draining: false,
    listen: '0.0.0.0:7443',
    refusedConnections: { 'certificate-untrusted': 2 },
    certificateNotAfterMs: nowMs + 30 * 86_400_000,
    nats: {
      connected: true,
      server: '127.0.0.1:4222',
      version: '2.11.4',
      sinceMs: nowMs - 3_600_000,
      embedded: false,
    },
    served: [],
    peers: [peerStatus()],
    groups: [],
    links: [linkStatus()],
    lanes: [laneStatus()],
    gaps: [],
    memory: { rssBytes: 90_000_000, budgetBytes: 256 * 1024 * 1024, usedBytes: 3 * 1024 * 1024 },
    eventLoopDelayMs: 11.25,
    ...change,
  };
}

/**
 * A hub with sixty devices of one group, each with two lanes: `edge-1` to `edge-40` are connected and their lanes live, up to
 * `edge-55` they are away, and the rest was never seen.
 */
export function fleetStatus(change: Partial<DaemonStatus> = {}): DaemonStatus {
  const devices = Array.from({ length: 60 }, (_, i) => i + 1);
  const awayMs = nowMs - 3 * 3_600_000;
  const of = (i: number) => ({ peer: `edge-${i}`, group: 'edges' });
  const peers = devices.map((i) => {
    if (i <= 40) return peerStatus(of(i));
    const gone = { ...of(i), connected: false, rttMs: undefined, software: undefined, answeredGeneration: undefined };
    if (i > 55) return peerStatus({ ...gone, sinceMs: nowMs - 3_600_000, lastSeenMs: undefined });
    return peerStatus({ ...gone, sinceMs: awayMs, lastSeenMs: awayMs, reason: 'connection-lost' });
  });
  const lanes = devices.flatMap((i) => {
    const peer = `edge-${i}`;
    const state = i <= 40 ? {} : i > 55 ? { state: 'starting' as const } : { state: 'disconnected' as const };
    const behind = i <= 40 ? {} : { lagRecords: 9, backlogSinceMs: awayMs, progressAtMs: awayMs, sinceMs: awayMs };
    const common = { peer, ...state, ...behind };
    return [
      laneStatus({ ...common, lane: `telemetry/${peer}/hub`, from: peer }),
      laneStatus({ ...common, lane: `firmware/hub/${peer}`, link: 'firmware', from: 'hub', to: peer, role: 'sender' }),
    ];
  });
  const links = devices.slice(0, 40).map((i) => linkStatus({ peer: `edge-${i}` }));
  const groups = [groupStatus({ expected: 60, seen: 55, connected: 40, neverSeen: 5 })];
  return daemonStatus({ peers, lanes, links, groups, ...change });
}
