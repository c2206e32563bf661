/** Memory of both daemons while the sink is blocked and the source holds 1 GB: it must not grow. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';
import { jetstreamManager } from '@nats-io/jetstream';
import { connect } from 'nats';
import { tempDir } from '../test/support/temp.ts';
import { until } from '../test/support/until.ts';
import type { SoakOptions } from './arguments.ts';
import { startCauseway } from './causeway.ts';
import { fillStream } from './fill.ts';
import { findDifference } from './oracle.ts';
import { type BenchReport, renderTable } from './report.ts';
import { slopePerMinute } from './slope.ts';
import { type System, sinkStream, sourceStream } from './system.ts';
import { Watch } from './watch.ts';

const workload = { kind: 'json', payloadBytes: 4096, records: 250_000 } as const;
/** Share of the time before anything is counted, at most a minute: windows fill, and Node.js gives back what the start took. */
const warmShare = 0.2;
const mostWarmMs = 60_000;
/** What a daemon may gain over the time, by the straight line; garbage that comes and goes is no gain. */
const mostGainedMiB = 16;
const drainLimitMs = 300_000;
const MiB = 1024 ** 2;

const probe = pathToFileURL(join(import.meta.dirname, 'memory-probe.mjs'));

/** How the sink is blocked. */
interface Block {
  readonly name: string;
  readonly sinkMaxBytes?: number;
  block(system: System): Promise<void>;
  open(system: System): Promise<void>;
}

const blocks: readonly Block[] = [
  {
    name: 'full',
    // The stream refuses every record beyond that.
    sinkMaxBytes: 50 * MiB,
    block: () => Promise.resolve(),
    open: async ({ sink }) => {
      const connection = await connect({ servers: sink.url });
      try {
        await (await jetstreamManager(connection)).streams.update(sinkStream, { max_bytes: -1 });
      } finally {
        await connection.close();
      }
    },
  },
  {
    name: 'frozen',
    // The server stands still and answers nothing.
    block: ({ sink }) => sink.freeze(),
    open: ({ sink }) => {
      sink.thaw();
      return Promise.resolve();
    },
  },
];

const kinds = ['rss', 'heapUsed', 'external'] as const;
type Usage = Readonly<Record<(typeof kinds)[number] | 'atMs', number>>;

export async function soak({ minutes }: SoakOptions): Promise<BenchReport> {
  const rows: string[][] = [];
  let failures = 0;
  for (const block of blocks) {
    try {
      for (const [cluster, usages] of await soakOnce(block, minutes)) {
        rows.push([block.name, cluster, ...cells(usages)]);
        const gained = kinds.map((kind) => (slopeOf(usages, kind) * spanMs(usages)) / 60_000);
        if (Math.max(...gained) > mostGainedMiB) {
          console.error(`${block.name}: FAILED: the daemon of ${cluster} has grown`);
          failures++;
        }
      }
    } catch (error) {
      console.error(`${block.name}: FAILED: ${error instanceof Error ? error.message : String(error)}`);
      failures++;
    }
  }
  const titles = ['resident', 'heap', 'external'].flatMap((kind) => [`${kind} MiB`, 'min - max', 'MiB/min']);
  return {
    notes: [
      `${minutes} minutes of each kind of block; the source holds ${workload.records} records of ${workload.payloadBytes} B (1 GB)`,
      'full: the stream at the sink refuses every record; frozen: the server of the sink stands still',
      'Afterwards the sink was opened, and took everything',
    ],
    text: renderTable(['sink', 'daemon', ...titles], rows),
    failures,
  };
}

async function soakOnce(block: Block, minutes: number): Promise<readonly (readonly [string, readonly Usage[]])[]> {
  await using dir = await tempDir('memory');
  const fileOf = (cluster: string): string => join(dir.path, cluster);
  const nodeOptions = (cluster: string): readonly string[] => {
    const url = new URL(probe);
    url.searchParams.set('file', fileOf(cluster));
    return ['--import', url.href];
  };
  const { sinkMaxBytes } = block;
  await using system = await startCauseway({ nodeOptions, ...(sinkMaxBytes === undefined ? {} : { sinkMaxBytes }) });
  try {
    await fillStream(system.source.url, sourceStream, workload);
    await system.begin();
    await reach(system, 1000, 'records to flow');
    await block.block(system);
    const begunMs = Date.now();
    const runMs = minutes * 60_000;
    const fromMs = begunMs + Math.min(mostWarmMs, runMs * warmShare);
    while (Date.now() < begunMs + runMs) {
      await delay(Math.min(30_000, begunMs + runMs - Date.now()));
      system.check();
      const now = ['plant', 'hub'].map((cluster) => `${cluster} ${mib(readUsages(fileOf(cluster)).at(-1)!.rss)} MiB`);
      console.log(`${block.name} ${((Date.now() - begunMs) / 60_000).toFixed(1)} min: ${now.join(', ')}`);
    }
    const counted = ['plant', 'hub'].map(
      (cluster) => [cluster, readUsages(fileOf(cluster)).filter(({ atMs }) => atMs >= fromMs)] as const,
    );
    await block.open(system);
    await reach(system, workload.records, 'the sink to take everything');
    const difference = await findDifference(system.sink.url, sinkStream, workload);
    if (difference !== undefined) throw new Error(`the sink is wrong: ${difference}`);
    return counted;
  } catch (error) {
    throw new Error(`${error instanceof Error ? error.message : String(error)}\n${system.logs()}`, { cause: error });
  }
}

/** A connection of its own each time: one would not outlive a server that stands still for minutes. */
async function reach(system: System, records: number, what: string): Promise<void> {
  const watch = await Watch.open(system.sink.url);
  let stored = 0;
  try {
    await until(
      async () => {
        stored = await watch.stored();
        return stored >= records;
      },
      { deadlineMs: drainLimitMs, everyMs: 100, what: () => `${what}: ${stored}` },
    );
  } finally {
    await watch.close();
  }
}

function readUsages(file: string): Usage[] {
  const lines = readFileSync(file, 'utf8').split('\n').slice(0, -1);
  return lines.map((line) => JSON.parse(line) as Usage);
}

function slopeOf(usages: readonly Usage[], kind: (typeof kinds)[number]): number {
  return slopePerMinute(usages.map((usage) => ({ atMs: usage.atMs, value: usage[kind] / MiB })));
}

function spanMs(usages: readonly Usage[]): number {
  return usages.at(-1)!.atMs - usages[0]!.atMs;
}

function cells(usages: readonly Usage[]): string[] {
  return kinds.flatMap((kind) => {
    const values = usages.map((usage) => usage[kind]);
    const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
    return [mib(mean), `${mib(Math.min(...values))} - ${mib(Math.max(...values))}`, slopeOf(usages, kind).toFixed(2)];
  });
}

function mib(bytes: number): string {
  return (bytes / MiB).toFixed(0);
}
