import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import {
  daemonStatus,
  groupStatus,
  laneStatus,
  linkStatus,
  nowMs,
  peerStatus,
} from '../../test/support/daemon-status.ts';
import { type BatchObservation, createMetrics } from './metrics.ts';
import { laneStates } from './status.ts';

const build = { version: '1.2.3' };
const labels = 'link="telemetry",lane="telemetry/plant-a/hub",peer="plant-a",direction="in"';
const batch: BatchObservation = {
  lane: 'telemetry/plant-a/hub',
  link: 'telemetry',
  peer: 'plant-a',
  role: 'receiver',
  records: 10,
  bytes: 2_000,
};

/** Series by their name and labels. */
async function scrape(status = daemonStatus(), metrics = createMetrics(build)): Promise<Map<string, number>> {
  const text = await metrics.render(status);
  const lines = text.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
  return new Map(
    lines.map((line) => [line.slice(0, line.lastIndexOf(' ')), Number(line.slice(line.lastIndexOf(' ')))]),
  );
}

describe('names', () => {
  const all = createMetrics(build).describe();

  it('follow the rules', () => {
    const units =
      /_(bytes|seconds|records|total|info|sequence|generation|state|connected|accepted|members|gaps|error|pending)$|^causeway_(ready|active|healthy)$/;
    for (const { name, type, help } of all) {
      expect(name).toMatch(/^causeway_[a-z]+(_[a-z]+)*$/);
      expect(name).toMatch(units);
      expect(name.endsWith('_total'), name).toBe(type === 'counter');
      expect(help).toMatch(/^[A-Z0-9].*\.$/);
    }
    expect(new Set(all.map(({ name }) => name)).size).toBe(all.length);
  });

  it('are documented, and nothing else is', () => {
    const page = readFileSync(new URL('../../docs/metrics.md', import.meta.url), 'utf8');
    const rows = [...page.matchAll(/^\| `(causeway_\w+)` \| (\w+) \| (.*?) ?\| .+ \|$/gm)];
    const documented = rows.map(([, name, type, cell]) => `${name} ${type} ${cell}`);
    const real = all.map(
      ({ name, type, labels: names }) => `${name} ${type} ${names.map((n) => `\`${n}\``).join(' ')}`,
    );
    expect(documented.sort()).toEqual(real.sort());
    const known = new Set(all.map(({ name }) => name));
    for (const [name] of page.matchAll(/causeway_[a-z_]+[a-z]/g)) expect(known).toContain(name);
  });

  it('carry documented labels only', () => {
    const page = readFileSync(new URL('../../docs/metrics.md', import.meta.url), 'utf8');
    const section = page.slice(page.indexOf('## Labels'), page.indexOf('## The daemon'));
    for (const label of new Set(all.flatMap((metric) => metric.labels))) expect(section).toContain(`\`${label}\``);
  });
});

describe('render', () => {
  it('shows every metric that the status knows', async () => {
    const status = daemonStatus({
      lanes: [laneStatus({ state: 'blocked', reason: 'sink-full', retention: { seconds: 5, limit: 'max_age' } })],
      peers: [peerStatus({ reason: 'unreachable' })],
      groups: [groupStatus()],
      gaps: [],
      standby: { state: 'active', sinceMs: nowMs, takeoversTotal: 1 },
    });
    const metrics = createMetrics(build);
    metrics.observeBatch({ ...batch, stagesMs: { store: 3 } });
    const names = [...(await scrape(status, metrics)).keys()].map((series) => series.replace(/\{.*/, ''));
    const shown = new Set(names.map((name) => name.replace(/_(bucket|sum|count)$/, '')));
    expect(shown).toEqual(new Set(metrics.describe().map(({ name }) => name)));
  });

  it('takes gauges, totals and info from the status', async () => {
    const series = await scrape();
    expect(series.get(`causeway_lane_records_total{${labels}}`)).toBe(1_200);
    expect(series.get(`causeway_lane_lag_records{${labels}}`)).toBe(0);
    expect(series.get('causeway_peer_rtt_seconds{peer="plant-a"}')).toBe(0.0215);
    expect(series.get('causeway_event_loop_delay_seconds')).toBe(0.01125);
    expect(series.get('causeway_process_start_timestamp_seconds')).toBe((nowMs - 3_600_000) / 1000);
    const info = `causeway_build_info{cluster="hub",version="1.2.3",node_version="${process.version}"}`;
    expect(series.get(info)).toBe(1);
  });

  it('marks exactly one state of a lane', async () => {
    const series = await scrape(daemonStatus({ lanes: [laneStatus({ state: 'parked', reason: 'sink-subject' })] }));
    const states = laneStates.map((state) => series.get(`causeway_lane_state{${labels},state="${state}"}`));
    expect(states).toEqual(laneStates.map((state) => (state === 'parked' ? 1 : 0)));
    expect(series.get(`causeway_lane_reason_info{${labels},reason="sink-subject"}`)).toBe(1);
  });

  it('leaves out what is unknown, also after it was known', async () => {
    const metrics = createMetrics(build);
    await scrape(daemonStatus(), metrics);
    const unknown = daemonStatus({
      certificateNotAfterMs: undefined,
      eventLoopDelayMs: Number.NaN,
      peers: [peerStatus({ rttMs: undefined, clockOffsetMs: undefined })],
      lanes: [laneStatus({ lagRecords: undefined, lagSeconds: undefined, headSequence: undefined })],
    });
    const names = [...(await scrape(unknown, metrics)).keys()].join('\n');
    for (const absent of [
      'lag_records',
      'lag_seconds',
      'head_sequence',
      'rtt',
      'clock_offset',
      'event_loop',
      'certificate_expiry_timestamp_seconds\n',
    ]) {
      expect(names).not.toContain(absent);
    }
    expect(names).toContain('causeway_lane_stored_sequence');
  });

  it('counts the members of groups, and leaves out what the file does not say', async () => {
    const silent = { group: 'labs', match: 'lab-*', expected: undefined, neverSeen: undefined };
    const series = await scrape(daemonStatus({ groups: [groupStatus(), groupStatus(silent)] }));
    const members = [...series].filter(([name]) => name.startsWith('causeway_group_members'));
    expect(members).toEqual([
      ['causeway_group_members{group="edges",state="expected"}', 5],
      ['causeway_group_members{group="edges",state="seen"}', 4],
      ['causeway_group_members{group="edges",state="connected"}', 3],
      ['causeway_group_members{group="edges",state="never-seen"}', 1],
      ['causeway_group_members{group="labs",state="seen"}', 4],
      ['causeway_group_members{group="labs",state="connected"}', 3],
    ]);
  });

  it('tells the group of a peer in one place, and when it was last seen if it ever was', async () => {
    const member = { peer: 'edge-1', group: 'edges', connected: false };
    const never = peerStatus({ ...member, peer: 'edge-2', lastSeenMs: undefined, answeredGeneration: undefined });
    const peers = [peerStatus(), peerStatus({ ...member, lastSeenMs: nowMs - 5_000 }), never];
    const series = await scrape(daemonStatus({ peers }));
    expect([...series.keys()].filter((name) => name.includes('group="'))).toEqual([
      'causeway_peer_connected{peer="plant-a",group=""}',
      'causeway_peer_connected{peer="edge-1",group="edges"}',
      'causeway_peer_connected{peer="edge-2",group="edges"}',
    ]);
    expect(series.get('causeway_peer_last_seen_timestamp_seconds{peer="edge-1"}')).toBe(nowMs / 1000 - 5);
    expect(series.has('causeway_peer_last_seen_timestamp_seconds{peer="edge-2"}')).toBe(false);
    expect(series.get('causeway_peer_answered_generation{peer="plant-a"}')).toBe(1);
    expect(series.has('causeway_peer_answered_generation{peer="edge-2"}')).toBe(false);
  });

  it('tells of a file that cannot be used, and of options that wait', async () => {
    const { file } = daemonStatus();
    const of = async (change: object) => {
      const series = await scrape(daemonStatus({ file: { ...file, ...change } }));
      return ['generation', 'error', 'pending'].map((name) => series.get(`causeway_topology_${name}`));
    };
    expect(await of({})).toEqual([1, 0, 0]);
    expect(await of({ generation: 4, error: 'x.yaml:1:1: bad' })).toEqual([4, 1, 0]);
    expect(await of({ pending: ['nats', 'listen'] })).toEqual([1, 0, 2]);
  });

  it('has the NATS servers of every cluster that is served', async () => {
    const berlin = { cluster: 'berlin', connected: false, sinceMs: nowMs - 9_000, embedded: false };
    const series = await scrape(daemonStatus({ served: [berlin] }));
    expect(series.get('causeway_nats_connected{cluster="hub"}')).toBe(1);
    expect(series.get('causeway_nats_connected{cluster="berlin"}')).toBe(0);
    expect(series.get('causeway_nats_change_timestamp_seconds{cluster="berlin"}')).toBe(nowMs / 1000 - 9);
  });

  it('keeps both ends of a lane apart when one daemon has them', async () => {
    const id = { lane: 'orders/hub/berlin', link: 'orders', from: 'hub', to: 'berlin' };
    const sender = laneStatus({ ...id, role: 'sender', peer: 'berlin', recordsTotal: 5, state: 'blocked' });
    const receiver = laneStatus({ ...id, role: 'receiver', peer: 'hub', recordsTotal: 3 });
    const metrics = createMetrics(build);
    metrics.observeBatch({ ...batch, ...sender, records: 5 });
    metrics.observeBatch({ ...batch, ...receiver, records: 3 });
    const text = await metrics.render(daemonStatus({ lanes: [sender, receiver] }));
    const names = text.split('\n').flatMap((line) => /^[a-z_]+\{.*\}/.exec(line) ?? []);
    expect(new Set(names).size).toBe(names.length);
    const out = 'link="orders",lane="orders/hub/berlin",peer="berlin",direction="out"';
    const into = 'link="orders",lane="orders/hub/berlin",peer="hub",direction="in"';
    expect(text).toContain(`causeway_lane_records_total{${out}} 5\n`);
    expect(text).toContain(`causeway_lane_records_total{${into}} 3\n`);
    expect(text).toContain(`causeway_lane_batch_records_sum{${out}} 5\n`);
    expect(text).toContain(`causeway_lane_batch_records_sum{${into}} 3\n`);
    expect(text).toContain(`causeway_lane_state{${out},state="blocked"} 1\n`);
    expect(text).toContain(`causeway_lane_state{${into},state="blocked"} 0\n`);
  });

  it('shows a link that both ends declare as refused if one of them refuses it, whichever comes first', async () => {
    const [yes, no] = [linkStatus(), linkStatus({ declaredBy: 'plant-a', accepted: false, reason: 'link-conflict' })];
    for (const links of [
      [yes, no],
      [no, yes],
    ]) {
      const series = await scrape(daemonStatus({ links }));
      expect(series.get('causeway_link_accepted{link="telemetry",peer="plant-a"}')).toBe(0);
    }
  });

  it('shows totals, not sums over scrapes, and forgets what is gone', async () => {
    const metrics = createMetrics(build);
    metrics.observeBatch(batch);
    await scrape(daemonStatus(), metrics);
    const again = await scrape(daemonStatus({ lanes: [laneStatus({ recordsTotal: 1_300 })] }), metrics);
    expect(again.get(`causeway_lane_records_total{${labels}}`)).toBe(1_300);
    expect(again.get(`causeway_lane_batch_records_count{${labels}}`)).toBe(1);
    const gone = [...(await scrape(daemonStatus({ lanes: [], links: [] }), metrics)).keys()].join('\n');
    expect(gone).not.toContain('telemetry');
  });

  it('observes batches by lane and stage', async () => {
    const metrics = createMetrics(build);
    metrics.observeBatch({ ...batch, stagesMs: { store: 20 } });
    metrics.observeBatch({ ...batch, records: 30, stagesMs: { store: 40 } });
    const series = await scrape(daemonStatus({ links: [linkStatus()] }), metrics);
    expect(series.get(`causeway_lane_batch_records_sum{${labels}}`)).toBe(40);
    expect(series.get(`causeway_lane_batch_bytes_sum{${labels}}`)).toBe(4_000);
    expect(series.get(`causeway_lane_stage_seconds_sum{${labels},stage="store"}`)).toBeCloseTo(0.06);
  });

  it('keeps the default registry of the library out of it', async () => {
    const [first, second] = [createMetrics(build), createMetrics(build)];
    first.observeBatch(batch);
    expect([...(await scrape(daemonStatus(), second)).keys()].join('\n')).not.toContain('causeway_lane_batch');
  });
});
