/** `npm run bench`: Causeway beside JetStream sources over a leaf node, doing the same work in turn. See README.md. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { loadavg, tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { formatVersion, newest } from '../src/brokers/nats/server-binary.ts';
import { runDirVariable } from '../test/support/temp.ts';
import { type BenchOptions, readArguments, usage } from './arguments.ts';
import { startCauseway } from './causeway.ts';
import { type Figures, measure } from './measure.ts';
import type { Workload } from './payloads.ts';
import { renderProfile } from './profile.ts';
import { count, renderFigures, renderMachine, renderRatios, type SizeResult, sizeName } from './report.ts';
import { startSources } from './sources.ts';
import type { System, SystemName } from './system.ts';

const options = readOptions();
const server = await newest();
if (server === undefined) {
  console.error('bench: no nats-server; `npm run servers` fetches one, or put one on PATH');
  process.exit(1);
}

// Everything that the runs leave on disk lies here, and goes when this process does.
const runDir = mkdtempSync(join(tmpdir(), 'causeway-bench-'));
process.env[runDirVariable] = runDir;
process.once('exit', () => rmSync(runDir, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 }));
for (const [signal, code] of [['SIGINT', 130] as const, ['SIGTERM', 143] as const]) {
  process.once(signal, () => process.exit(code));
}

const startedAt = new Date();
const load = loadavg()[0]!;
console.log(renderMachine(formatVersion(server.version), startedAt, load));
const { results, failures } = await runAll(options);
const text = [renderFigures(results), renderRatios(results)].filter((part) => part !== '').join('\n\n');
console.log(`\n${text}`);
if (failures > 0) console.error(`\n${failures} of the runs failed; their figures do not count`);
else if (options.write) write();
process.exit(failures > 0 ? 1 : 0);

function readOptions(): BenchOptions {
  try {
    return readArguments(process.argv.slice(2));
  } catch (error) {
    console.error(`bench: ${error instanceof Error ? error.message : String(error)}\n\n${usage}`);
    process.exit(2);
  }
}

/** Size by size, and within a size the systems in turn, each going first in every other pair. */
async function runAll({ sizes, systems, repeat, payload, recordsOf }: BenchOptions): Promise<{
  readonly results: SizeResult[];
  readonly failures: number;
}> {
  const results: SizeResult[] = [];
  let failures = 0;
  for (const payloadBytes of sizes) {
    const workload: Workload = { kind: payload, payloadBytes, records: recordsOf(payloadBytes) };
    const runs: Record<SystemName, (Figures | undefined)[]> = { causeway: [], sources: [] };
    for (let pair = 0; pair < repeat; pair++) {
      for (const name of pair % 2 === 0 ? systems : [...systems].reverse()) {
        const figures = await runOnce(name, workload);
        runs[name].push(figures);
        if (figures === undefined) failures++;
      }
    }
    results.push({ payloadBytes, records: workload.records, runs });
  }
  return { results, failures };
}

/** One run on fresh servers with fresh daemons; undefined when it failed, with the reason on the terminal. */
async function runOnce(name: SystemName, workload: Workload): Promise<Figures | undefined> {
  const what = `${sizeName(workload.payloadBytes).padEnd(7)} ${name.padEnd(8)} ${count(workload.records)} records`;
  let system: System | undefined;
  try {
    system = await start(name, workload.payloadBytes);
    const figures = await measure(system, workload);
    console.log(`${what}: ${count(figures.recordsPerSecond)}/s`);
    return figures;
  } catch (error) {
    console.error(
      `${what}: FAILED: ${error instanceof Error ? error.message : String(error)}\n${system?.logs() ?? ''}`,
    );
    return undefined;
  } finally {
    await system?.end();
    if (system !== undefined && options.profileDir !== undefined) printProfiles(workload.payloadBytes);
  }
}

function start(name: SystemName, payloadBytes: number): Promise<System> {
  if (name === 'sources') return startSources({ plainLeaf: options.plainLeaf });
  return startCauseway(options.profileDir === undefined ? {} : { profileDir: profileDirOf(payloadBytes) });
}

function profileDirOf(payloadBytes: number): string {
  return resolve(options.profileDir!, String(payloadBytes));
}

function printProfiles(payloadBytes: number): void {
  for (const cluster of ['plant', 'hub']) {
    console.log(`\n${renderProfile(join(profileDirOf(payloadBytes), `${cluster}.cpuprofile`))}`);
  }
}

function write(): void {
  const day = startedAt.toISOString().slice(0, 10);
  const file = fileURLToPath(new URL(`results/${day}.md`, import.meta.url));
  const runs = results.map(({ payloadBytes, records }) => `${count(records)} records of ${sizeName(payloadBytes)}`);
  const leaf = options.plainLeaf ? 'without TLS' : 'with mutual TLS';
  mkdirSync(fileURLToPath(new URL('results/', import.meta.url)), { recursive: true });
  writeFileSync(
    file,
    `# Bench, ${day}

${renderMachine(formatVersion(server!.version), startedAt, load)}
- ${runs.join(', ')}; payload ${options.payload}; ${options.repeat} pairs; leaf node ${leaf}
- Every run ended with the sink read back: each record once, in order, every byte. What the columns mean: [README](../README.md).

${text}
`,
  );
  console.log(`\nwritten to ${file}`);
}
