/** Throughput over long, lossy and narrow lines: Causeway beside JetStream sources over a leaf node, in turn. */
import { readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { PacketLine } from '../test/support/packet-line.ts';
import type { LinesOptions } from './arguments.ts';
import { startCauseway } from './causeway.ts';
import { fillStream } from './fill.ts';
import { packetLine } from './line.ts';
import { type LineName, lineSpecs } from './line-specs.ts';
import { findDifference } from './oracle.ts';
import type { PayloadKind, Workload } from './payloads.ts';
import { type BenchReport, median, renderTable } from './report.ts';
import { startSources } from './sources.ts';
import { type System, type SystemName, sinkStream, sourceStream } from './system.ts';
import { Watch } from './watch.ts';

const payloadBytes = 1024;
/** What compression may make of it at most: so much more is held ready than the line carries. */
const mostCompression = 4;
/** Windows open and congestion control settles before anything is counted. */
const warmMs = 5000;
const startMs = 60_000;
const pollMs = 20;

export async function measureLines(options: LinesOptions): Promise<BenchReport> {
  const { lines, systems, repeat, seconds, payloads } = options;
  const notes = [`${repeat} pairs of ${seconds} s after ${warmMs / 1000} s to start; records of 1 KiB`];
  const rows: string[][] = [];
  let failures = 0;
  for (const [index, name] of lines.entries()) {
    const { congestion } = lineSpecs[name];
    if (!knows(congestion)) {
      skip(notes, name, `the kernel has no congestion control ${congestion}`);
      continue;
    }
    for (const payload of payloads) {
      const runs: Record<SystemName, number[]> = { causeway: [], sources: [] };
      for (let pair = 0; pair < repeat; pair++) {
        for (const system of (pair + index) % 2 === 0 ? systems : [...systems].reverse()) {
          const rate = await runOnce({ system, line: name, payload, seed: pair + 1, seconds });
          if (typeof rate === 'string') {
            skip(notes, 'lines', `no packet line on this machine: ${rate}`);
            return { notes, text: 'Skipped.', failures };
          }
          // One that failed keeps its place, or the others would not be pairs.
          runs[system].push(rate ?? Number.NaN);
          if (rate === undefined) failures++;
        }
      }
      rows.push([name, payload, ...cells(runs.causeway), ...cells(runs.sources), ...ratioCells(runs)]);
    }
  }
  const header = [
    'line',
    'payload',
    'causeway MB/s',
    'min - max',
    'sources MB/s',
    'min - max',
    'causeway / sources',
    'min - max',
  ];
  return { notes: [...notes, ...lines.map(describe)], text: renderTable(header, rows), failures };
}

function skip(notes: string[], what: string, why: string): void {
  console.error(`${what}: SKIPPED: ${why}`);
  notes.push(`${what}: skipped, ${why}`);
}

function describe(name: LineName): string {
  const {
    delayMs,
    loss,
    bitsPerSecond,
    congestion = 'cubic',
  }: (typeof lineSpecs)[LineName] & { congestion?: string } = lineSpecs[name];
  return `${name}: ${2 * delayMs} ms there and back, ${loss * 100} % of the packets lost each way, ${bitsPerSecond / 1e6} Mbit/s, TCP ${congestion}`;
}

function knows(congestion: string): boolean {
  const known = '/proc/sys/net/ipv4/tcp_available_congestion_control';
  return process.platform !== 'linux' || readFileSync(known, 'utf8').trim().split(' ').includes(congestion);
}

interface Run {
  readonly system: SystemName;
  readonly line: LineName;
  readonly payload: PayloadKind;
  readonly seed: number;
  readonly seconds: number;
}

/**
 * Bytes of payload per second on a line of its own, with fresh servers; undefined if the run failed, with the reason on the terminal; a
 * text where this machine has no such line.
 */
async function runOnce(run: Run): Promise<number | string | undefined> {
  const spec = lineSpecs[run.line];
  const packets = await PacketLine.open({ ...spec, seed: run.seed });
  if (typeof packets === 'string') return packets;
  const line = packetLine(packets);
  const bytes =
    (spec.bitsPerSecond / 8) * (run.seconds + warmMs / 1000) * (run.payload === 'json' ? mostCompression : 1.1);
  const workload: Workload = { kind: run.payload, payloadBytes, records: Math.ceil(bytes / payloadBytes) };
  const what = `${run.line.padEnd(13)} ${run.payload.padEnd(6)} ${run.system.padEnd(8)}`;
  let system: System | undefined;
  try {
    system = await (run.system === 'causeway' ? startCauseway({ line }) : startSources({ plainLeaf: false, line }));
    await fillStream(system.source.url, sourceStream, workload);
    const rate = await measureRate(system, workload, run.seconds * 1000);
    console.log(`${what}: ${(rate / 1e6).toFixed(2)} MB/s`);
    return rate;
  } catch (error) {
    console.error(
      `${what}: FAILED: ${error instanceof Error ? error.message : String(error)}\n${system?.logs() ?? ''}`,
    );
    return undefined;
  } finally {
    await system?.end();
    await line.stop();
  }
}

async function measureRate(system: System, workload: Workload, runMs: number): Promise<number> {
  const watch = await Watch.open(system.sink.url);
  try {
    const asked = performance.now();
    await system.begin();
    while ((await watch.stored()) === 0) {
      system.check();
      if (performance.now() - asked > startMs) throw new Error(`no record after ${startMs / 1000} s`);
      await delay(pollMs);
    }
    await delay(warmMs);
    const first = { stored: await watch.stored(), atMs: performance.now() };
    let last = first;
    while (last.atMs - first.atMs < runMs && last.stored < workload.records) {
      await delay(pollMs);
      last = { stored: await watch.stored(), atMs: performance.now() };
    }
    system.check();
    if (last.stored === first.stored) throw new Error(`no record within ${runMs / 1000} s`);
    const arrived = { ...workload, records: last.stored };
    const difference = await findDifference(system.sink.url, sinkStream, arrived, { growing: true });
    if (difference !== undefined) throw new Error(`the sink is wrong: ${difference}`);
    return ((last.stored - first.stored) * payloadBytes) / ((last.atMs - first.atMs) / 1000);
  } finally {
    await watch.close();
  }
}

function cells(rates: readonly number[]): string[] {
  const good = rates.filter((rate) => !Number.isNaN(rate)).map((rate) => rate / 1e6);
  if (good.length === 0) return ['-', '-'];
  return [median(good).toFixed(2), `${Math.min(...good).toFixed(2)} - ${Math.max(...good).toFixed(2)}`];
}

function ratioCells({ causeway, sources }: Record<SystemName, number[]>): string[] {
  const ratios = causeway.map((rate, index) => rate / (sources[index] ?? Number.NaN)).filter((ratio) => ratio > 0);
  if (ratios.length === 0) return ['-', '-'];
  return [median(ratios).toFixed(2), `${Math.min(...ratios).toFixed(2)} - ${Math.max(...ratios).toFixed(2)}`];
}
