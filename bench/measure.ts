import { setTimeout as delay } from 'node:timers/promises';
import { cpuMicros, peakRssBytes } from './cpu.ts';
import { fillStream } from './fill.ts';
import { findDifference } from './oracle.ts';
import type { Workload } from './payloads.ts';
import { type Role, type System, sinkStream, sourceStream } from './system.ts';
import { Watch } from './watch.ts';

/** How often the sink stream is asked how many records it holds: 1 % of a core, and the error of a run's ends. */
const pollMs = 10;
/** Without a new record for so long a run has failed. */
const silenceMs = 60_000;
/** A run that is slower than this, in records per second, has failed: something goes round in circles. */
const slowest = 1000;
const leastLimitMs = 120_000;
/** The steady part of a run begins when this share of the records is stored. */
const warmShare = 0.25;

/** What one run gave. Payload bytes only count for `bytesPerSecond`. */
export interface Figures {
  /** From the first record to the last. */
  readonly recordsPerSecond: number;
  readonly bytesPerSecond: number;
  /** Over the last three quarters, when code is compiled and windows are open. */
  readonly steadyPerSecond: number;
  readonly cpuMicrosPerRecord: ReadonlyMap<Role, number>;
  readonly peakRssBytes: ReadonlyMap<Role, number>;
}

/** Fills stream A, sets the system to work, and watches stream B until it holds everything. Throws when that goes wrong. */
export async function measure(system: System, workload: Workload): Promise<Figures> {
  const { records, payloadBytes } = workload;
  await fillStream(system.source.url, sourceStream, workload);
  const watch = await Watch.open(system.sink.url);
  let figures: Figures;
  try {
    await system.begin();
    const pids = [...system.pids()];
    const sample = (stored: number): Sample => ({
      stored,
      atMs: performance.now(),
      cpu: new Map(pids.map(([role, pid]) => [role, cpuMicros(pid)])),
    });
    let begin = sample(0);
    let warm: Sample | undefined;
    let last = begin;
    const deadlineMs = begin.atMs + Math.max(leastLimitMs, (records / slowest) * 1000);
    while (last.stored < records) {
      await delay(pollMs);
      const stored = await watch.stored();
      if (stored === last.stored) {
        system.check();
        if (performance.now() - last.atMs > silenceMs) throw new Error(`no progress after ${stored} of ${records}`);
        if (stored === 0) begin = { ...sample(0), atMs: performance.now() };
        continue;
      }
      last = sample(stored);
      if (last.atMs > deadlineMs) throw new Error(`too slow: ${stored} of ${records} when the time was over`);
      if (stored >= records * warmShare) warm ??= last;
    }
    const seconds = (last.atMs - begin.atMs) / 1000;
    figures = {
      recordsPerSecond: records / seconds,
      bytesPerSecond: (records * payloadBytes) / seconds,
      steadyPerSecond: steadyRate(warm, last) ?? records / seconds,
      cpuMicrosPerRecord: new Map(
        [...last.cpu].map(([role, micros]) => [role, (micros - begin.cpu.get(role)!) / records]),
      ),
      peakRssBytes: new Map(pids.map(([role, pid]) => [role, peakRssBytes(pid)])),
    };
  } finally {
    await watch.close();
  }
  const difference = await findDifference(system.sink.url, sinkStream, workload);
  if (difference !== undefined) throw new Error(`the sink is wrong: ${difference}`);
  return figures;
}

interface Sample {
  readonly stored: number;
  readonly atMs: number;
  readonly cpu: ReadonlyMap<Role, number>;
}

/** Undefined when everything came in one go. */
function steadyRate(warm: Sample | undefined, last: Sample): number | undefined {
  if (warm === undefined || warm === last) return undefined;
  return (last.stored - warm.stored) / ((last.atMs - warm.atMs) / 1000);
}
