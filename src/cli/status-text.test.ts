import { describe, expect, it } from 'vitest';
import {
  daemonStatus,
  fleetStatus,
  groupStatus,
  laneStatus,
  linkStatus,
  nowMs,
  peerStatus,
} from '../../test/support/daemon-status.ts';
import { healthz } from '../ops/health.ts';
import { renderStatus } from './status-text.ts';
import { renderTable } from './table.ts';

function render(change: Parameters<typeof daemonStatus>[0]): string {
  const status = daemonStatus(change);
  return renderStatus(status, healthz(status));
}

describe('renderStatus', () => {
  it('shows a healthy daemon', () => {
    expect(render({})).toBe(`cluster    hub (node hub-1, causeway/0.1.0)
up         1h
topology   /etc/causeway/topology.yaml (generation 1, hash bbbb2222)
peer port  0.0.0.0:7443
nats       connected for 1h (127.0.0.1:4222, 2.11.4)

PEER     STATE      SINCE  RTT     CLOCK   SOFTWARE
plant-a  connected  10m    21.5ms  -3.0ms  causeway/0.1.0

LANE                   ROLE      STATE  SINCE  LAG  STORED  RECORDS  DUPLICATES  LOST
telemetry/plant-a/hub  receiver  live   10m    0    1,200   1,200    0           0

healthy
`);
  });

  it('says unknown for what is unknown, and nothing that was true of a peer that is away', () => {
    const text = render({
      peers: [
        peerStatus({
          connected: false,
          reason: 'unreachable',
          nextTryMs: nowMs + 3_000,
          lastSeenMs: undefined,
          software: undefined,
        }),
      ],
      lanes: [
        laneStatus({ state: 'starting', storedSequence: undefined, lagRecords: undefined, lagSeconds: undefined }),
      ],
    });
    expect(text).toContain('plant-a  disconnected  10m    unknown    in 3s     unreachable\n');
    expect(text).toMatch(/starting {2}10m {4}unknown {2}unknown {2}1,200/);
  });

  it('shows why, for lanes, refused links and the own cluster', () => {
    const text = render({
      nats: { connected: false, sinceMs: nowMs - 300_000, embedded: false, reason: 'nats-auth', detail: 'bad seed' },
      links: [linkStatus({ accepted: false, reason: 'not-granted', detail: 'no grant' })],
      lanes: [laneStatus({ state: 'parked', reason: 'sink-subject', detail: 'all.> is not owned' })],
    });
    expect(text).toContain('nats       away for 5m: nats-auth: bad seed\n');
    expect(text).toContain('sink-subject: all.> is not owned\n');
    expect(text).toContain('REFUSED LINK  DECLARED BY  WITH     REASON\n');
    expect(text).toContain('unhealthy:\n  the NATS servers of hub are away');
  });

  it('keeps what a peer sent from steering the terminal', () => {
    const text = render({ lanes: [laneStatus({ state: 'parked', reason: 'internal', detail: 'a\u001b[2Jb\nc' })] });
    expect(text).not.toContain('\u001b');
    expect(text).toContain('internal: a [2Jb c');
  });

  it('says so when there is nothing', () => {
    expect(render({ peers: [], lanes: [], links: [], listen: undefined })).toContain('no peers\n\nno lanes\n');
  });
});

describe('renderStatus of a topology that changes', () => {
  const { file } = daemonStatus();

  it('tells of a file that cannot be used, and of options that wait for a restart', () => {
    const text = render({
      file: { ...file, generation: 4, error: 'hub.yaml:3:1: unknown key lnks. Did you mean links?', pending: ['nats'] },
      peers: [peerStatus({ answeredGeneration: 4 })],
    });
    expect(text).toContain('(generation 4, hash bbbb2222, loaded 1h ago)\n');
    expect(text).toContain('bad file   hub.yaml:3:1: unknown key lnks. Did you mean links?\n');
    expect(text).toContain('pending    nats changed in the file; takes effect when the daemon is started anew\n');
    expect(text).toMatch(/^unhealthy:\n {2}the topology file cannot be used, generation 4 runs on: /m);
  });

  it('shows peers that have not answered the file as it is', () => {
    const peers = [
      peerStatus({ answeredGeneration: 3 }),
      peerStatus({ peer: 'plant-b', answeredGeneration: undefined }),
      peerStatus({ peer: 'plant-c', answeredGeneration: 4 }),
    ];
    const rows = render({ file: { ...file, generation: 4 }, peers }).split('\n');
    const cells = rows.filter((row) => /^(PEER|plant-)/.test(row)).map((row) => row.split(/ {2,}/));
    expect(cells.map(([peer, , , , , , answered = '']) => [peer, answered])).toEqual([
      ['PEER', 'ANSWERED'],
      ['plant-a', '3 of 4'],
      ['plant-b', 'not yet'],
      ['plant-c', ''],
    ]);
  });

  it('shows other clusters that the daemon serves', () => {
    const berlin = { cluster: 'berlin', connected: false, sinceMs: nowMs - 60_000, embedded: false } as const;
    const text = render({ served: [{ ...berlin, reason: 'nats-auth', detail: 'bad seed' }] });
    expect(text).toContain('serves     berlin, its nats away for 1m: nats-auth: bad seed\n');
  });
});

describe('renderStatus of a fleet', () => {
  it('counts groups, and names who is missing as far as the file does', () => {
    const missing = ['edge-3', 'edge-9'];
    const groups = [
      groupStatus({ expected: 40, seen: 38, connected: 35, neverSeen: 2, missing }),
      groupStatus({ group: 'labs', match: 'lab-*', expected: undefined, neverSeen: undefined }),
    ];
    expect(render({ groups })).toContain(
      [
        'GROUP  MATCH   EXPECTED  SEEN  CONNECTED  NEVER SEEN',
        'edges  edge-*  40        38    35         2: edge-3, edge-9',
        'labs   lab-*   not said  4     3          unknown',
        '',
      ].join('\n'),
    );
    const many = Array.from({ length: 30 }, (_, i) => `edge-${i}`);
    const group = groupStatus({ neverSeen: 30, missing: many });
    expect(render({ groups: [group] })).toMatch(/ {2}30: edge-0, .*, edge-19 and 10 more\n/);
    expect(renderStatus(daemonStatus({ groups: [group] }), { ok: true, problems: [] }, { all: true })).toContain(
      'edge-28, edge-29\n',
    );
  });

  it('says which of several daemons it is of', () => {
    const since = { sinceMs: nowMs - 60_000, takeoversTotal: 0 };
    expect(render({})).not.toMatch(/^role /m);
    expect(render({ standby: { state: 'active', ...since, holder: 'hub-1' } })).toMatch(/^role +active for 1m$/m);
    expect(render({ standby: { state: 'standby', ...since, holder: 'hub-2' } })).toMatch(
      /^role +standing by for 1m, hub-2 is active$/m,
    );
    expect(render({ standby: { state: 'standby', ...since, reason: 'sink-blocked', detail: 'no quorum' } })).toMatch(
      /^role +standing by for 1m, no active daemon is known: sink-blocked: no quorum$/m,
    );
    expect(render({ standby: { state: 'alone', ...since, reason: 'nats-permission', detail: 'no' } })).toMatch(
      /^role +active for 1m, without a lease: nats-permission: no$/m,
    );
  });

  it('says when each was last seen', () => {
    const member = { group: 'edges', connected: false };
    const text = render({
      peers: [
        peerStatus({ peer: 'edge-1', ...member, lastSeenMs: nowMs - 3 * 3_600_000 }),
        peerStatus({ peer: 'edge-2', ...member, lastSeenMs: undefined }),
        peerStatus({ peer: 'plant-a', connected: false, lastSeenMs: undefined }),
      ],
    });
    expect(text).toMatch(/^edge-1 +edges +disconnected +10m +3h ago$/m);
    expect(text).toMatch(/^edge-2 +edges +disconnected +10m +never$/m);
    // Of a peer with an entry of its own nothing is kept over a restart.
    expect(text).toMatch(/^plant-a +disconnected +10m +unknown$/m);
  });

  it('stays readable with sixty devices', () => {
    const lines = render(fleetStatus()).split('\n');
    expect(lines.length).toBeLessThan(40);
    expect(lines).toContain('peers in order: 40 connected, 5 never seen (--all shows them)');
    expect(lines).toContain('lanes in order: 80 live, 40 of members that are away (--all shows them)');
    expect(lines.filter((line) => / edges +disconnected /.test(line))).toHaveLength(15);
    expect(lines).toContain('healthy');
    expect(Math.max(...lines.map(({ length }) => length))).toBeLessThan(120);
  });

  it('keeps what is not in order on the screen, and shows everything when asked', () => {
    const status = fleetStatus();
    const peers = status.peers.map((peer, i) => (i === 7 ? { ...peer, answeredGeneration: undefined } : peer));
    const parked = { state: 'parked', reason: 'not-granted' } as const;
    const lanes = status.lanes.map((lane, i) => (i === 3 ? { ...lane, ...parked } : lane));
    const text = render({ ...status, peers, lanes });
    expect(text).toMatch(/^edge-8 +edges +connected .*not yet$/m);
    expect(text).toMatch(/^firmware\/hub\/edge-2 +sender +parked .*not-granted$/m);
    const all = renderStatus(status, healthz(status), { all: true });
    expect(all.match(/^edge-\d+ /gm)).toHaveLength(60);
    expect(all.match(/^(telemetry|firmware)\//gm)).toHaveLength(120);
    expect(all).not.toContain('--all');
  });

  it('counts problems beyond the first twenty', () => {
    const lanes = fleetStatus().lanes.map((lane) => ({ ...lane, state: 'parked' as const }));
    const text = render(fleetStatus({ lanes }));
    expect(text).toContain('  and 100 more (--all shows them)\n');
  });
});

describe('renderTable', () => {
  it('aligns columns and leaves out empty ones', () => {
    expect(
      renderTable(
        ['A', 'EMPTY', 'B'],
        [
          ['long one', '', '1'],
          ['x', '', '22'],
        ],
      ),
    ).toBe('A         B\nlong one  1\nx         22\n');
  });
});
