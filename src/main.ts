#!/usr/bin/env node
import { readFileSync } from 'node:fs';
import { runCli } from './cli/program.ts';

const { name, version } = readPackage();

// `causeway status | head` closes the pipe before everything is written: no failure, and nobody to tell.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error;
  process.exit(0);
});

const code = await runCli(process.argv.slice(2), {
  name,
  version,
  env: process.env,
  stderrIsTerminal: process.stderr.isTTY === true,
  stdoutColumns: () => (process.stdout.isTTY ? process.stdout.columns : undefined),
  out: (text) => void process.stdout.write(text),
  err: (text) => void process.stderr.write(text),
  signals: process,
});

// Pipes take what was written in their own time; leaving before that would cut the output off.
await Promise.all([flushed(process.stdout), flushed(process.stderr)]);
process.exit(code);

function flushed(stream: NodeJS.WriteStream): Promise<void> {
  return new Promise((resolve) => {
    stream.write('', () => resolve());
  });
}

/** The same place from `src/` and from `dist/`. */
function readPackage(): { readonly name: string; readonly version: string } {
  return JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8'));
}
