import { describe, expect, it } from 'vitest';
import { daemonStatus, laneStatus, linkStatus, nowMs, peerStatus } from '../../test/support/daemon-status.ts';
import { healthz, knownLinks, livez, outageAfterMs, readyz, stuckAfterMs } from './health.ts';
import { type LaneStatus, laneStates } from './status.ts';

function kinds(lane: Partial<LaneStatus>): readonly string[] {
  return healthz(daemonStatus({ lanes: [laneStatus(lane)] })).problems.map(({ kind }) => kind);
}

describe('livez and readyz', () => {
  it('livez needs nothing but an answer', () => {
    expect(livez().ok).toBe(true);
  });

  it('readyz looks at the own port only', () => {
    const away = {
      peers: [peerStatus({ connected: false, sinceMs: 0 })],
      nats: { connected: false, sinceMs: 0, embedded: false },
    };
    expect(readyz(daemonStatus(away)).ok).toBe(true);
    expect(readyz(daemonStatus({ ready: false })).ok).toBe(false);
    expect(readyz(daemonStatus({ draining: true }))).toEqual({ ok: false, text: 'draining' });
  });
});

describe('healthz', () => {
  it('is fine when everything moves', () => {
    expect(healthz(daemonStatus())).toEqual({ ok: true, problems: [] });
  });

  it('reports at once what does not heal by itself', () => {
    const states = laneStates.filter((state) => kinds({ state, sinceMs: nowMs }).length > 0);
    expect(states).toEqual(['gap', 'parked', 'link-conflict']);
  });

  it.each(['blocked', 'disconnected'] as const)('gives %s two minutes', (state) => {
    expect(kinds({ state, sinceMs: nowMs - outageAfterMs })).toEqual([]);
    expect(kinds({ state, sinceMs: nowMs - outageAfterMs - 1 })).toEqual(['outage']);
  });

  it('calls a lane with backlog and without progress stuck, whatever its connection says', () => {
    const longAgo = nowMs - stuckAfterMs - 1;
    const backlog = { lagRecords: 7, backlogSinceMs: longAgo, progressAtMs: longAgo };
    for (const state of ['live', 'catching-up', 'starting', 'draining'] as const) {
      expect(kinds({ ...backlog, state })).toEqual(['stuck']);
    }
    expect(kinds({ ...backlog, progressAtMs: nowMs - 1_000 })).toEqual([]);
    expect(kinds({ ...backlog, state: 'blocked', sinceMs: nowMs - 10 })).toEqual(['stuck']);
    expect(kinds({ ...backlog, state: 'stopped' })).toEqual([]);
  });

  it('does not take a lane that was idle for long for a stuck one when its next record comes', () => {
    const idle = { progressAtMs: nowMs - 86_400_000, lagRecords: 1, backlogSinceMs: nowMs - 5 };
    expect(kinds(idle)).toEqual([]);
  });

  it('counts from the start of the daemon when nothing ever moved', () => {
    const never = { progressAtMs: undefined, backlogSinceMs: undefined, lagRecords: 1 };
    expect(kinds(never)).toEqual(['stuck']);
    const young = daemonStatus({ startedAtMs: nowMs - 1_000, lanes: [laneStatus(never)] });
    expect(healthz(young).ok).toBe(true);
  });

  it('claims nothing about a backlog that is unknown', () => {
    expect(kinds({ lagRecords: undefined, progressAtMs: nowMs - 86_400_000 })).toEqual([]);
  });

  it('counts a refused link, with its reason', () => {
    const status = daemonStatus({
      links: [linkStatus({ accepted: false, reason: 'not-granted', detail: 'no grant' })],
    });
    expect(healthz(status).problems).toMatchObject([
      { kind: 'refused', link: 'telemetry', text: 'link telemetry is refused: not-granted, no grant' },
    ]);
  });

  it('sees peers and the own cluster without any lane', () => {
    const peer = { connected: false, sinceMs: nowMs - 1_000 };
    const health = (change: Parameters<typeof daemonStatus>[0]) => healthz(daemonStatus({ lanes: [], ...change }));
    expect(health({ peers: [peerStatus({ ...peer, reason: 'unreachable' })] }).ok).toBe(true);
    expect(health({ peers: [peerStatus({ ...peer, sinceMs: nowMs - outageAfterMs - 1 })] }).ok).toBe(false);
    const parked = health({ peers: [peerStatus({ ...peer, reason: 'identity-mismatch' })] });
    expect(parked.problems.map(({ kind }) => kind)).toEqual(['parked']);
    const nats = { connected: false, embedded: false, reason: 'nats-unreachable' } as const;
    expect(health({ nats: { ...nats, sinceMs: nowMs - 1_000 } }).ok).toBe(true);
    expect(health({ nats: { ...nats, sinceMs: nowMs - outageAfterMs - 1 } }).problems[0]?.text).toBe(
      'the NATS servers of hub are away for 2m: nats-unreachable',
    );
  });

  it('looks at one link when asked', () => {
    const other = laneStatus({ lane: 'orders/hub/plant-a', link: 'orders', state: 'parked', reason: 'sink-subject' });
    const status = daemonStatus({
      lanes: [laneStatus(), other],
      peers: [peerStatus({ connected: false, sinceMs: 0 })],
    });
    expect(knownLinks(status)).toEqual(['orders', 'telemetry']);
    expect(healthz(status, { link: 'telemetry' }).ok).toBe(true);
    expect(healthz(status, { link: 'orders' }).problems.map(({ kind }) => kind)).toEqual(['parked']);
    expect(healthz(status).problems.map(({ kind }) => kind)).toEqual(['outage', 'parked']);
  });
});
