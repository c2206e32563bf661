import { cpus, release, totalmem } from 'node:os';
import type { Figures } from './measure.ts';
import { type Role, roles, type SystemName } from './system.ts';

/** The runs of one size, in pairs that ran one after the other. */
export interface SizeResult {
  readonly payloadBytes: number;
  readonly records: number;
  readonly runs: Readonly<Record<SystemName, readonly (Figures | undefined)[]>>;
}

/** What a bench gives. */
export interface BenchReport {
  /** What was done, a line each. */
  readonly notes: readonly string[];
  /** Tables. */
  readonly text: string;
  /** Runs that failed. */
  readonly failures: number;
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

/** A table row per size and system, in Markdown that reads well on a terminal. */
export function renderFigures(results: readonly SizeResult[]): string {
  const header = ['payload', 'system', 'records/s', 'min - max', 'MB/s', 'steady/s', ...cpuTitles, 'RSS MiB'];
  const rows = results.flatMap((result) =>
    (['causeway', 'sources'] as const).flatMap((name) => {
      const runs = done(result.runs[name]);
      return runs.length === 0 ? [] : [[sizeName(result.payloadBytes), name, ...cells(runs)]];
    }),
  );
  return renderTable(header, rows);
}

const shortNames: Readonly<Record<Role, string>> = {
  'source server': 'server A',
  'source daemon': 'daemon A',
  'sink daemon': 'daemon B',
  'sink server': 'server B',
};
const cpuTitles = [...roles.map((role) => `${shortNames[role]} µs`), 'all µs'];

function cells(runs: readonly Figures[]): string[] {
  const of = (read: (figures: Figures) => number): number[] => runs.map(read);
  const rates = of((run) => run.recordsPerSecond);
  const total = (run: Figures): number => [...run.cpuMicrosPerRecord.values()].reduce((sum, value) => sum + value, 0);
  const cpuCells = roles.map((role) => {
    const used = runs.flatMap((run) => run.cpuMicrosPerRecord.get(role) ?? []);
    return used.length === 0 ? '-' : median(used).toFixed(1);
  });
  const rss = (role: Role): string[] => {
    const peaks = runs.flatMap((run) => run.peakRssBytes.get(role) ?? []);
    return peaks.length === 0 ? [] : [(median(peaks) / 1024 ** 2).toFixed(0)];
  };
  return [
    count(median(rates)),
    `${count(Math.min(...rates))} - ${count(Math.max(...rates))}`,
    (median(of((run) => run.bytesPerSecond)) / 1e6).toFixed(1),
    count(median(of((run) => run.steadyPerSecond))),
    ...cpuCells,
    median(of(total)).toFixed(1),
    [...rss('source daemon'), ...rss('sink daemon')].join(' / ') || '-',
  ];
}

/** Causeway's rate over that of sources, pair by pair; empty when only one of them ran. */
export function renderRatios(results: readonly SizeResult[]): string {
  const header = ['payload', 'causeway / sources', 'min - max', 'steady', 'min - max', 'pairs'];
  const rows = results.flatMap((result) => {
    const pairs = result.runs.causeway.flatMap((causeway, index) => {
      const sources = result.runs.sources[index];
      return causeway === undefined || sources === undefined ? [] : [{ causeway, sources }];
    });
    if (pairs.length === 0) return [];
    const whole = pairs.map(({ causeway, sources }) => causeway.recordsPerSecond / sources.recordsPerSecond);
    const steady = pairs.map(({ causeway, sources }) => causeway.steadyPerSecond / sources.steadyPerSecond);
    return [[sizeName(result.payloadBytes), ...spread(whole), ...spread(steady), String(pairs.length)]];
  });
  return rows.length === 0 ? '' : renderTable(header, rows);
}

function spread(values: readonly number[]): string[] {
  return [median(values).toFixed(2), `${Math.min(...values).toFixed(2)} - ${Math.max(...values).toFixed(2)}`];
}

/** What a reader must know to compare: the machine, the versions, the day. */
export function renderMachine(serverVersion: string, startedAt: Date, load: number): string {
  const models = cpus();
  return [
    `- ${startedAt.toISOString().slice(0, 16).replace('T', ' ')} UTC`,
    `- ${models[0]?.model.trim() ?? 'unknown processor'}, ${models.length} cores, ${(totalmem() / 1024 ** 3).toFixed(0)} GiB, ${process.platform} ${release()}, load at the start ${load.toFixed(2)}`,
    `- Node.js ${process.version}, nats-server ${serverVersion}`,
  ].join('\n');
}

export function renderTable(header: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = header.map((title, column) => Math.max(title.length, ...rows.map((row) => row[column]!.length)));
  const line = (row: readonly string[]): string =>
    `| ${row.map((cell, column) => (column < 2 ? cell.padEnd(widths[column]!) : cell.padStart(widths[column]!))).join(' | ')} |`;
  const rule = `| ${widths.map((width, column) => (column < 2 ? '-'.repeat(width) : `${'-'.repeat(width - 1)}:`)).join(' | ')} |`;
  return [line(header), rule, ...rows.map(line)].join('\n');
}

export function sizeName(bytes: number): string {
  return bytes % 1024 === 0 ? `${bytes / 1024} KiB` : `${bytes} B`;
}

/** `1234567` as `1,234,567`. */
export function count(value: number): string {
  return Math.round(value).toLocaleString('en-US');
}

function done(runs: readonly (Figures | undefined)[]): Figures[] {
  return runs.filter((run) => run !== undefined);
}
