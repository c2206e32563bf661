import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { daemonStatus, laneStatus, linkStatus, nowMs, peerStatus } from '../../test/support/daemon-status.ts';
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
      /_(bytes|seconds|records|total|info|sequence|generation|state|connected|accepted)$|^causeway_(ready|healthy)$/;
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
      lanes: [laneStatus({ state: 'blocked', reason: 'sink-full' })],
      peers: [peerStatus({ reason: 'unreachable' })],
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
