import { describe, expect, it } from 'vitest';
import { daemonStatus, laneStatus, linkStatus, nowMs, peerStatus } from '../../test/support/daemon-status.ts';
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
      peers: [peerStatus({ connected: false, reason: 'unreachable', nextTryMs: nowMs + 3_000, software: undefined })],
      lanes: [
        laneStatus({ state: 'starting', storedSequence: undefined, lagRecords: undefined, lagSeconds: undefined }),
      ],
    });
    expect(text).toContain('plant-a  disconnected  10m    unknown   in 3s     unreachable\n');
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
