/** How long after a cut of the network records move again: Causeway beside JetStream sources, cut at the same moments. */
import { setTimeout as delay } from 'node:timers/promises';
import { PacketLine } from '../test/support/packet-line.ts';
import { until } from '../test/support/until.ts';
import type { CutName, OutageOptions } from './arguments.ts';
import { startCauseway } from './causeway.ts';
import { Feed } from './fill.ts';
import { type BreakableLine, type Cut, packetLine, proxyLine } from './line.ts';
import { findDifference } from './oracle.ts';
import { type BenchReport, count, median, renderTable } from './report.ts';
import { startSources } from './sources.ts';
import { type System, sinkStream, sourceStream } from './system.ts';
import { Watch } from './watch.ts';

const workload = { kind: 'json', payloadBytes: 256 } as const;
const perSecond = 200;
/** A system that has not moved so long after the return of the network has failed. */
const patienceMs = 180_000;
/** Level: the sink is at most so many records behind. */
const levelRecords = perSecond / 2;
/** A cut falls into any phase of whatever happens at intervals. */
const phaseMs = 5000;
const pollMs = 5;

interface Case {
  readonly name: CutName;
  readonly cut: Cut;
  /** A line, or why there is none. */
  open(): Promise<BreakableLine | string>;
}

const cases: readonly Case[] = [
  { name: 'reset', cut: 'reset', open: () => Promise.resolve(proxyLine()) },
  { name: 'silent', cut: 'silent', open: () => Promise.resolve(proxyLine()) },
  {
    name: 'packets',
    cut: 'silent',
    open: async () => {
      const line = await PacketLine.open({ delayMs: 5, loss: 0 });
      return typeof line === 'string' ? line : packetLine(line);
    },
  },
];

/** One system, with a feed at its source and an eye on its sink. */
interface Side {
  readonly system: System;
  readonly feed: Feed;
  readonly watch: Watch;
  /** From the return of the network to the first new record in the sink, round by round. */
  readonly recoveriesMs: number[];
}

export async function outage(options: OutageOptions): Promise<BenchReport> {
  const rows: string[][] = [];
  const ratios: string[][] = [];
  const notes = [
    `${options.rounds} cuts of ${options.cutSeconds} s of each kind; ${perSecond} records of ${workload.payloadBytes} B a second; both systems at the same time`,
  ];
  let failures = 0;
  for (const one of cases.filter(({ name }) => options.cuts.includes(name))) {
    const line = await one.open();
    if (typeof line === 'string') {
      console.error(`${one.name}: SKIPPED: no packet line on this machine: ${line}`);
      notes.push(`${one.name}: skipped, no packet line on this machine: ${line}`);
      continue;
    }
    try {
      const sides = await runCase(one, line, options);
      for (const side of sides) rows.push([one.name, side.name, ...cells(side.recoveriesMs), count(side.records)]);
      const [causeway, sources] = sides.map(({ recoveriesMs }) => recoveriesMs);
      ratios.push([one.name, (median(sources!) / median(causeway!)).toFixed(1)]);
    } catch (error) {
      console.error(`${one.name}: FAILED: ${error instanceof Error ? error.message : String(error)}`);
      failures++;
    } finally {
      await line.stop();
    }
  }
  const header = ['cut', 'system', 'median s', 'min - max', 'each', 'records'];
  const text = [renderTable(header, rows), renderTable(['cut', 'sources / causeway'], ratios)].join('\n\n');
  return { notes, text, failures };
}

interface CaseResult {
  readonly name: string;
  readonly recoveriesMs: readonly number[];
  readonly records: number;
}

async function runCase(one: Case, line: BreakableLine, { rounds, cutSeconds }: OutageOptions): Promise<CaseResult[]> {
  const systems: System[] = [];
  const sides: Side[] = [];
  try {
    systems.push(await startCauseway({ line }));
    systems.push(await startSources({ plainLeaf: false, line }));
    for (const system of systems) {
      const feed = await Feed.start(system.source.url, sourceStream, { ...workload, perSecond });
      await system.begin();
      sides.push({ system, feed, watch: await Watch.open(system.sink.url), recoveriesMs: [] });
    }
    for (let round = 0; round < rounds; round++) {
      await Promise.all(sides.map((side) => level(side)));
      await delay(Math.random() * phaseMs);
      await line.cut(one.cut);
      await delay(cutSeconds * 1000);
      const before = await Promise.all(sides.map(({ watch }) => watch.stored()));
      for (const [index, { system, feed }] of sides.entries()) {
        const missing = feed.published - before[index]!;
        // Otherwise the cut was none, and what follows would measure nothing.
        if (missing < (cutSeconds * perSecond) / 2)
          throw new Error(`${system.name} was not cut off: ${missing} missing`);
      }
      const restoredMs = performance.now();
      await line.restore();
      await Promise.all(sides.map((side, index) => recovery(side, before[index]!, restoredMs)));
      const seen = sides.map(
        ({ system, recoveriesMs }) => `${system.name} ${(recoveriesMs[round]! / 1000).toFixed(2)} s`,
      );
      console.log(`${one.name.padEnd(8)} ${seen.join(', ')}`);
    }
    return await Promise.all(sides.map((side) => finish(side)));
  } catch (error) {
    throw new Error(
      `${error instanceof Error ? error.message : String(error)}\n${systems.map((system) => system.logs()).join('\n')}`,
      { cause: error },
    );
  } finally {
    for (const { watch } of sides) await watch.close();
    // One that failed has said so above.
    for (const { feed } of sides) await feed.stop().catch(() => undefined);
    for (const system of systems) await system.end();
  }
}

async function level({ system, feed, watch }: Side): Promise<void> {
  let missing = 0;
  await until(
    async () => {
      missing = feed.published - (await watch.stored());
      return feed.published > 2 * perSecond && missing < levelRecords;
    },
    { deadlineMs: patienceMs, everyMs: 50, what: () => `${system.name} to be level: ${missing} missing` },
  );
}

async function recovery({ system, watch, recoveriesMs }: Side, before: number, restoredMs: number): Promise<void> {
  await until(async () => (await watch.stored()) > before, {
    deadlineMs: patienceMs,
    everyMs: pollMs,
    what: `${system.name} to move again`,
  });
  recoveriesMs.push(performance.now() - restoredMs);
}

/** The feed's end, and the oracle. */
async function finish({ system, feed, watch, recoveriesMs }: Side): Promise<CaseResult> {
  const records = await feed.stop();
  let stored = 0;
  await until(
    async () => {
      stored = await watch.stored();
      return stored >= records;
    },
    { deadlineMs: patienceMs, everyMs: 50, what: () => `${system.name} to store ${records} records: ${stored}` },
  );
  const difference = await findDifference(system.sink.url, sinkStream, { ...workload, records });
  if (difference !== undefined) throw new Error(`the sink of ${system.name} is wrong: ${difference}`);
  return { name: system.name, recoveriesMs, records };
}

function cells(recoveriesMs: readonly number[]): string[] {
  const seconds = recoveriesMs.map((ms) => (ms / 1000).toFixed(2));
  const spread = [Math.min(...recoveriesMs), Math.max(...recoveriesMs)].map((ms) => (ms / 1000).toFixed(2));
  return [(median(recoveriesMs) / 1000).toFixed(2), spread.join(' - '), seconds.join(' ')];
}
