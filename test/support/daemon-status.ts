import type { DaemonStatus, LaneStatus, LinkStatus, PeerStatus } from '../../src/ops/status.ts';

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
    rttMs: 21.5,
    clockOffsetMs: -3,
    software: 'causeway/0.1.0',
    node: 'plant-a-1',
    fileHash: 'aaaa1111',
    generation: 2,
    certificateNotAfterMs: nowMs + 86_400_000,
    ...change,
  };
}

export function linkStatus(change: Partial<LinkStatus> = {}): LinkStatus {
  return { link: 'telemetry', declaredBy: 'hub', peer: 'plant-a', accepted: true, ...change };
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
    certificateNotAfterMs: nowMs + 30 * 86_400_000,
    nats: {
      connected: true,
      server: '127.0.0.1:4222',
      version: '2.11.4',
      sinceMs: nowMs - 3_600_000,
      embedded: false,
    },
    peers: [peerStatus()],
    links: [linkStatus()],
    lanes: [laneStatus()],
    memory: { rssBytes: 90_000_000 },
    eventLoopDelayMs: 11.25,
    ...change,
  };
}
