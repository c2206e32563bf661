import { Counter, Gauge, Histogram, Registry } from 'prom-client';
import { type Labels, labelsOf, laneLabels, statusMetrics } from './metric-table.ts';
import type { DaemonStatus, LaneStatus } from './status.ts';

/**
 * Where a batch spends its time. At the sender, `source-wait`: from complete to taken by the connection, and
 * `round-trip`: from there to acknowledged as stored; at the receiver, `store`: from received to stored.
 */
export type Stage = 'source-wait' | 'round-trip' | 'store';

/** One batch that a lane has finished with. */
export interface BatchObservation {
  readonly lane: string;
  readonly link: string;
  readonly peer: string;
  readonly role: LaneStatus['role'];
  readonly records: number;
  /** Bytes of the packed records before compression. */
  readonly bytes: number;
  /** Times that are known at this end, in milliseconds. */
  readonly stagesMs?: Readonly<Partial<Record<Stage, number>>>;
}

/** What is counted as it happens, and how all of it is shown. */
export interface Metrics {
  /** Called once per batch; costs a few microseconds. */
  observeBatch(batch: BatchObservation): void;
  /** Everything in the text format of Prometheus: `status` now, and the batches so far. */
  render(status: DaemonStatus): Promise<string>;
  /** For the Content-Type header. */
  readonly contentType: string;
  /** Every metric there is, for tests and docs. */
  describe(): readonly MetricDescription[];
}

export interface MetricDescription {
  readonly name: string;
  readonly type: 'gauge' | 'counter' | 'histogram';
  readonly help: string;
  readonly labels: readonly string[];
}

/** The metrics of one daemon, in a registry of their own. */
export function createMetrics(build: { readonly version: string }): Metrics {
  const registry = new Registry();
  const registers = [registry];
  const described: MetricDescription[] = [];
  const describe = <D extends MetricDescription>({ name, type, help, labels }: D): void => {
    described.push({ name, type, help, labels: [...labels] });
  };

  const info = {
    name: 'causeway_build_info',
    type: 'gauge',
    help: 'Version of the daemon and of the cluster it serves.',
    labels: ['cluster', 'version', 'node_version'],
  } as const;
  describe(info);
  const buildInfo = new Gauge({ ...info, labelNames: info.labels, registers });

  const writers = statusMetrics.map((metric) => {
    describe(metric);
    const { name, help, labels: labelNames, read } = metric;
    const kind = { name, help, labelNames, registers };
    const series = metric.type === 'gauge' ? new Gauge(kind) : new Counter(kind);
    return (status: DaemonStatus): void => {
      series.reset();
      // A metric without labels is zero after a reset; what is unknown has to be absent.
      if (labelNames.length === 0) series.remove();
      read(status, (value, labels = {}) => {
        if (value === undefined || !Number.isFinite(value)) return;
        // The totals are the lanes' own; a counter that was just reset takes them as they are.
        if (series instanceof Counter) series.inc(labels, value);
        else series.set(labels, value);
      });
    };
  });

  const histogram = (name: string, help: string, buckets: number[], extra: readonly string[] = []): Histogram => {
    const labels = [...laneLabels, ...extra];
    describe({ name, type: 'histogram', help, labels });
    return new Histogram({ name, help, labelNames: labels, buckets, registers });
  };
  const records = histogram('causeway_lane_batch_records', 'Records per batch.', powers(1, 4, 8));
  const bytes = histogram('causeway_lane_batch_bytes', 'Bytes of records per batch.', powers(256, 4, 8));
  const stages = histogram(
    'causeway_lane_stage_seconds',
    'Time a batch spends in a stage.',
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10],
    ['stage'],
  );
  const observed = new Map<string, ObservedLane>();

  function seriesOf(batch: BatchObservation): ObservedLane {
    const key = keyOf(batch);
    const known = observed.get(key);
    if (known !== undefined) return known;
    const labels = labelsOf(batch);
    const made = { labels, records: records.labels(labels), bytes: bytes.labels(labels), stages: new Set<Stage>() };
    observed.set(key, made);
    return made;
  }

  /** Lanes that are no more would otherwise be shown, and held, for ever. */
  function forget(status: DaemonStatus): void {
    const present = new Set(status.lanes.map(keyOf));
    for (const [key, { labels, stages: seen }] of observed) {
      if (present.has(key)) continue;
      observed.delete(key);
      records.remove(labels);
      bytes.remove(labels);
      for (const stage of seen) stages.remove({ ...labels, stage });
    }
  }

  return {
    contentType: registry.contentType,
    describe: () => described,
    observeBatch(batch) {
      const series = seriesOf(batch);
      series.records.observe(batch.records);
      series.bytes.observe(batch.bytes);
      for (const [stage, ms] of Object.entries(batch.stagesMs ?? {}) as [Stage, number][]) {
        series.stages.add(stage);
        stages.observe({ ...series.labels, stage }, ms / 1000);
      }
    },
    async render(status) {
      forget(status);
      buildInfo.reset();
      buildInfo.set({ cluster: status.cluster, version: build.version, node_version: process.version }, 1);
      for (const write of writers) write(status);
      return await registry.metrics();
    },
  };
}

interface ObservedLane {
  readonly labels: Labels;
  readonly records: Histogram.Internal<string>;
  readonly bytes: Histogram.Internal<string>;
  readonly stages: Set<Stage>;
}

function keyOf({ lane, role }: Pick<LaneStatus, 'lane' | 'role'>): string {
  return `${role} ${lane}`;
}

function powers(first: number, factor: number, count: number): number[] {
  return Array.from({ length: count }, (_, i) => first * factor ** i);
}
