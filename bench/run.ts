/** `npm run bench` and `npm run test:soak`; see README.md. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { formatVersion, newest } from '../src/brokers/nats/server-binary.ts';
import { runDirVariable } from '../test/support/temp.ts';
import { type Asked, readArguments, usage } from './arguments.ts';
import { measureLines } from './lines.ts';
import { outage } from './outage.ts';
import { type BenchReport, renderMachine } from './report.ts';
import { soak } from './soak.ts';
import { throughput } from './throughput.ts';

const asked = readOptions();
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
const machine = renderMachine(formatVersion(server.version), startedAt, loadavg()[0]!);
console.log(machine);
const report = await run(asked);
console.log(`\n${report.text}`);
if (report.failures > 0) console.error(`\n${report.failures} of the runs failed; their figures do not count`);
else if (asked.write) write(report);
process.exit(report.failures > 0 ? 1 : 0);

function readOptions(): ReturnType<typeof readArguments> {
  try {
    return readArguments(process.argv.slice(2));
  } catch (error) {
    console.error(`bench: ${error instanceof Error ? error.message : String(error)}\n\n${usage}`);
    process.exit(2);
  }
}

function run(what: Asked): Promise<BenchReport> {
  switch (what.bench) {
    case 'throughput':
      return throughput(what.options);
    case 'outage':
      return outage(what.options);
    case 'lines':
      return measureLines(what.options);
    case 'soak':
      return soak(what.options);
  }
}

function write({ notes, text }: BenchReport): void {
  const day = startedAt.toISOString().slice(0, 10);
  const file = fileURLToPath(new URL(`results/${day}-${asked.bench}.md`, import.meta.url));
  mkdirSync(fileURLToPath(new URL('results/', import.meta.url)), { recursive: true });
  const facts = [
    ...notes,
    `Load at the end ${loadavg()[0]!.toFixed(2)}`,
    'Every run ended with the sink read back: each record once, in order, every byte. What the columns mean: [README](../README.md).',
  ];
  writeFileSync(
    file,
    `# Bench ${asked.bench}, ${day}\n\n${machine}\n${facts.map((fact) => `- ${fact}`).join('\n')}\n\n${text}\n`,
  );
  console.log(`\nwritten to ${file}`);
}
