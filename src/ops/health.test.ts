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

  it('tells of gaps that nobody acknowledged, also of a lane that is no more', () => {
    const gap = {
      cluster: 'hub',
      lane: 'old/plant-a/hub',
      link: 'old',
      sinceMs: nowMs - 60_000,
      reason: 'expired',
    } as const;
    const status = daemonStatus({ gaps: [{ ...gap, gaps: 2, records: 1_500 }] });
    const text = 'lane old/plant-a/hub has 2 gaps that nobody acknowledged, of 1,500 records, since 1m: expired';
    expect(healthz(status).problems).toMatchObject([{ kind: 'gap', lane: gap.lane, reason: 'expired', text }]);
    expect(healthz(status, { link: 'telemetry' }).ok).toBe(true);
    expect(healthz(status, { link: 'old' }).ok).toBe(false);
    expect(knownLinks(status)).toContain('old');
    const unknown = healthz(daemonStatus({ gaps: [{ ...gap, gaps: 1 }] })).problems;
    expect(unknown.map((problem) => problem.text)).toEqual([expect.stringContaining('an unknown number of records')]);
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
      { kind: 'refused', link: 'telemetry', text: 'link telemetry is refused by plant-a: not-granted, no grant' },
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

describe('healthz and the topology file', () => {
  const { file } = daemonStatus();

  it('tells of a file with which the next start would fail', () => {
    const error = 'hub.yaml:3:1: unknown key lnks. Did you mean links?';
    const status = daemonStatus({ file: { ...file, generation: 3, error } });
    expect(healthz(status).problems).toEqual([
      {
        kind: 'topology',
        reason: 'topology-invalid',
        text: `the topology file cannot be used, generation 3 runs on: topology-invalid, ${error}`,
      },
    ]);
    expect(healthz(status, { link: 'telemetry' }).ok).toBe(true);
  });

  it('leaves options that wait for a restart alone, and peers that have not answered yet', () => {
    const peers = [peerStatus({ answeredGeneration: 1 })];
    expect(healthz(daemonStatus({ file: { ...file, generation: 2, pending: ['nats'] }, peers })).ok).toBe(true);
  });
});

describe('healthz and the lease among several daemons', () => {
  const failing = (state: 'active' | 'standby' | 'alone', failingSinceMs: number, connected = true) =>
    healthz(
      daemonStatus({
        nats: { connected, sinceMs: nowMs, embedded: false },
        standby: { state, sinceMs: 0, takeoversTotal: 1, reason: 'sink-blocked', detail: 'no quorum', failingSinceMs },
      }),
    ).problems.map(({ text }) => text);

  it('tells of one that cannot be looked at for long, unless the servers are away and tell of themselves', () => {
    const longAgo = nowMs - outageAfterMs - 1;
    expect(failing('standby', nowMs - outageAfterMs)).toEqual([]);
    expect(failing('standby', longAgo, false)).toEqual([]);
    expect(failing('standby', longAgo)).toEqual(['the lease cannot be looked at: sink-blocked, no quorum']);
    expect(failing('alone', longAgo)).toEqual([
      'this daemon works without a lease, so none stands by for it: sink-blocked, no quorum',
    ]);
  });

  it('has nothing to say of one that stands by', () => {
    const standby = { state: 'standby', sinceMs: 0, takeoversTotal: 0 } as const;
    expect(healthz(daemonStatus({ standby })).ok).toBe(true);
  });
});

describe('healthz and other clusters that the daemon serves', () => {
  it('counts their NATS servers as the own ones', () => {
    const berlin = { cluster: 'berlin', connected: false, embedded: false, reason: 'nats-unreachable' } as const;
    const at = (sinceMs: number) => healthz(daemonStatus({ served: [{ ...berlin, sinceMs }] })).problems;
    expect(at(nowMs - outageAfterMs)).toEqual([]);
    expect(at(nowMs - outageAfterMs - 1)).toMatchObject([
      { kind: 'outage', text: 'the NATS servers of berlin are away for 2m: nats-unreachable' },
    ]);
  });

  it('says which end of a lane is meant when both are here', () => {
    const id = { lane: 'orders/hub/berlin', link: 'orders', from: 'hub', to: 'berlin', state: 'parked' } as const;
    const lanes = [laneStatus({ ...id, role: 'sender', peer: 'berlin' }), laneStatus({ ...id, peer: 'hub' })];
    expect(healthz(daemonStatus({ lanes })).problems.map(({ text }) => text)).toEqual([
      'lane orders/hub/berlin, at its sender hub, is parked',
      'lane orders/hub/berlin, at its receiver berlin, is parked',
    ]);
  });
});

describe('healthz and groups', () => {
  const dayAgo = nowMs - 86_400_000;
  const justNow = nowMs - 5_000;
  const firmware = {
    lane: 'firmware/hub/edge-1',
    link: 'firmware',
    from: 'hub',
    to: 'edge-1',
    role: 'sender',
  } as const;
  /** What waits for a device that went away a day ago. */
  const waiting = { lagRecords: 40, backlogSinceMs: dayAgo, progressAtMs: dayAgo };
  const member = (change: Parameters<typeof peerStatus>[0]) =>
    peerStatus({ peer: 'edge-1', group: 'edges', ...change });
  function judge(peer: ReturnType<typeof peerStatus>, lane: Partial<LaneStatus>, link?: string) {
    const lanes = [laneStatus({ ...firmware, peer: 'edge-1', ...waiting, ...lane })];
    return healthz(daemonStatus({ peers: [peer], lanes }), link === undefined ? {} : { link }).problems.map(
      ({ kind }) => kind,
    );
  }
  const away = member({ connected: false, sinceMs: dayAgo, reason: 'connection-lost' });

  it('wakes nobody for a device that is away, whatever waits for it', () => {
    expect(judge(away, { state: 'disconnected', sinceMs: dayAgo })).toEqual([]);
    expect(judge(away, { state: 'starting', sinceMs: dayAgo })).toEqual([]);
  });

  it('tells of it when asked for the link', () => {
    expect(judge(away, { state: 'disconnected', sinceMs: dayAgo }, 'firmware')).toEqual(['outage']);
    expect(judge(away, { state: 'starting', sinceMs: dayAgo }, 'firmware')).toEqual(['stuck']);
  });

  it('wakes somebody for a peer with an entry of its own', () => {
    const named = peerStatus({ ...away, group: undefined });
    expect(judge(named, { state: 'disconnected', sinceMs: dayAgo })).toEqual(['outage', 'outage']);
  });

  it('counts what a device that is away has no part in', () => {
    expect(judge(away, { state: 'parked', reason: 'not-granted' })).toEqual(['parked']);
    expect(judge(away, { state: 'gap', reason: 'expired' })).toEqual(['gap']);
    expect(judge(away, { state: 'blocked', reason: 'source-missing', sinceMs: dayAgo })).toEqual(['outage']);
    // Short of that the backlog is no matter of the own end.
    expect(judge(away, { state: 'blocked', reason: 'source-missing', sinceMs: justNow })).toEqual([]);
  });

  it('counts a device that was turned away for good', () => {
    const parked = member({ connected: false, sinceMs: justNow, reason: 'version-mismatch' });
    expect(judge(parked, { state: 'live', lagRecords: 0 })).toEqual(['parked']);
    expect(judge(parked, { state: 'disconnected', sinceMs: dayAgo, lagRecords: 0 })).toEqual(['parked']);
    const long = { ...parked, sinceMs: dayAgo };
    expect(judge(long, { state: 'disconnected', sinceMs: dayAgo })).toEqual(['parked', 'outage']);
  });

  it('gives a device that has come back the time that every lane has', () => {
    const back = member({ sinceMs: justNow });
    for (const state of ['disconnected', 'starting', 'catching-up'] as const)
      expect(judge(back, { state, sinceMs: dayAgo }), state).toEqual([]);
    const long = member({ sinceMs: nowMs - stuckAfterMs - 1 });
    expect(judge(long, { state: 'starting', sinceMs: dayAgo })).toEqual(['stuck']);
    expect(judge(long, { state: 'disconnected', sinceMs: dayAgo })).toEqual(['outage']);
    expect(judge(long, { state: 'catching-up', sinceMs: dayAgo, progressAtMs: justNow })).toEqual([]);
  });

  it('does not mind that members were never seen', () => {
    const never = peerStatus({ ...away, sinceMs: dayAgo, reason: undefined, lastSeenMs: undefined });
    expect(judge(never, { state: 'starting', sinceMs: dayAgo, lagRecords: undefined })).toEqual([]);
  });

  it('tells of a name that two daemons use, though one of them is connected', () => {
    const detail = 'two daemons call themselves edge-1: box-7 is connected, box-9 is refused';
    const peers = [member({ reason: 'name-taken', detail })];
    expect(healthz(daemonStatus({ peers })).problems).toMatchObject([
      { kind: 'name-taken', peer: 'edge-1', text: `the name edge-1 is in use twice: name-taken, ${detail}` },
    ]);
  });
});
