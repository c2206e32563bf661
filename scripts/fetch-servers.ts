/**
 * Brings nats-servers into .cache/nats-server: Debian's packages of the machine's own release, of trixie and of sid, which
 * are different versions. What cannot be had is skipped aloud and asked for again after a day, or with --retry.
 *
 * --list      say which servers this machine has
 * --required  end with one line and code 1 if it has none
 */
import { mkdir, mkdtemp, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import {
  formatVersion,
  locateServers,
  newest,
  type OnSkipped,
  projectCache,
  type ServerBinary,
} from '../src/brokers/nats/server-binary.ts';
import { AptError, fetchVerified } from './apt.ts';
import { type DebianMachine, readMachine } from './debian-machine.ts';

const cache = projectCache();
const memoryFile = join(cache, 'fetched.json');
const unfinished = 'fetching-';
const dayMs = 24 * 60 * 60 * 1000;

type Outcome =
  | { readonly version: string; readonly atMs: number }
  | { readonly failure: string; readonly atMs: number };

interface Memory {
  readonly suites: Readonly<Record<string, Outcome>>;
  /** Until then there is nothing to do here; the bootstrap looks at this before it starts us. Absent: do look. */
  readonly settledUntilMs?: number;
}

const say = (line: string): void => void process.stderr.write(`causeway: ${line}\n`);

async function main(args: readonly string[]): Promise<number> {
  if (!process.env.NATS_SERVER) {
    // Remembering failures is to keep runs quick that work without; one that cannot work at all had better ask again.
    const none = (await newest(process.env, [cache])) === undefined;
    await fetchMissing(none || args.includes('--retry'));
  }
  const onSkipped: OnSkipped = (path, reason) => say(`skipped ${path}: ${reason}`);
  const found = await locateServers(process.env, [cache], onSkipped);
  if (found.length > 0) {
    if (args.includes('--list')) say(`nats-server ${found.map((one) => formatVersion(one.version)).join(', ')}`);
    return 0;
  }
  if (!args.includes('--required')) return 0;
  say('no nats-server: install one (2.9 or later) and put it on PATH, or name its file in NATS_SERVER');
  return 1;
}

/** Asks for what has not been settled, all suites at once; the failure of one does not stop another. */
async function fetchMissing(retry: boolean): Promise<void> {
  const machine = await readMachine();
  const memory = await readMemory();
  if (typeof machine === 'string') {
    // Cheap to find out again, so not remembered beyond keeping the bootstrap from asking all the time.
    if (retry || memory.settledUntilMs === undefined) say(`no packages of nats-server: ${machine}`);
    await remember({ suites: memory.suites, settledUntilMs: Date.now() + dayMs });
    return;
  }
  const wanted = [...new Set([machine.suite, 'trixie', 'sid'])];
  const open: string[] = [];
  for (const suite of wanted) {
    const outcome = memory.suites[suite];
    if (!(await isSettled(outcome, retry))) open.push(suite);
    else if (outcome !== undefined && 'failure' in outcome) {
      say(`still without nats-server of ${suite} (\`npm run servers -- --retry\` asks again): ${outcome.failure}`);
    }
  }
  if (open.length === 0) return;
  say(`fetching nats-server from Debian's packages: ${open.join(', ')}`);
  await mkdir(cache, { recursive: true });
  for (const left of await readdir(cache)) {
    // Of a run that was killed; the bootstrap's lock allows one at a time.
    if (left.startsWith(unfinished)) await rm(join(cache, left), { recursive: true, force: true });
  }
  const outcomes = await Promise.all(open.map(async (suite) => [suite, await fetchSuite(machine, suite)] as const));
  const suites = { ...memory.suites, ...Object.fromEntries(outcomes) };
  const failedAt = wanted.flatMap((suite) => (suites[suite] && 'failure' in suites[suite] ? [suites[suite].atMs] : []));
  await remember({
    suites,
    settledUntilMs: failedAt.length === 0 ? Number.MAX_SAFE_INTEGER : Math.min(...failedAt) + dayMs,
  });
}

async function isSettled(outcome: Outcome | undefined, retry: boolean): Promise<boolean> {
  if (outcome === undefined) return false;
  if ('failure' in outcome) return !retry && Date.now() < outcome.atMs + dayMs;
  return exists(binaryPath(outcome.version));
}

async function fetchSuite(machine: DebianMachine, suite: string): Promise<Outcome> {
  const dir = await mkdtemp(join(cache, `${unfinished}${suite}-`));
  try {
    const unpacked = await fetchVerified(machine, suite, 'nats-server', dir);
    const binary = await usable(unpacked);
    const version = formatVersion(binary.version);
    await mkdir(join(cache, version), { recursive: true });
    await rename(binary.path, binaryPath(version));
    say(`nats-server ${version} from ${suite}`);
    return { version, atMs: Date.now() };
  } catch (error) {
    if (!(error instanceof AptError)) throw error;
    say(`skipped nats-server of ${suite}: ${error.message}`);
    return { failure: error.message, atMs: Date.now() };
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

/** The binary in an unpacked package, if it runs on this machine; it may want a newer libc. */
async function usable(unpacked: string): Promise<ServerBinary> {
  let reason = 'the package holds no nats-server';
  const places = ['usr/sbin', 'usr/bin'].map((dir) => join(unpacked, dir, 'nats-server'));
  const present = (await Promise.all(places.map(exists))).flatMap((is, index) => (is ? [places[index]!] : []));
  const [binary] = await locateServers({ NATS_SERVER: present.join(delimiter), PATH: '' }, [], (_path, why) => {
    reason = why;
  });
  if (present.length === 0 || binary === undefined) throw new AptError(reason, false);
  return binary;
}

function binaryPath(version: string): string {
  return join(cache, version, 'nats-server');
}

async function exists(file: string): Promise<boolean> {
  return (
    (await stat(file).catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return undefined;
      throw error;
    })) !== undefined
  );
}

async function readMemory(): Promise<Memory> {
  try {
    return JSON.parse(await readFile(memoryFile, 'utf8')) as Memory;
  } catch (error) {
    if (error instanceof SyntaxError || (error as NodeJS.ErrnoException).code === 'ENOENT') return { suites: {} };
    throw error;
  }
}

async function remember(memory: Memory): Promise<void> {
  await mkdir(cache, { recursive: true });
  await writeFile(memoryFile, `${JSON.stringify(memory, undefined, 2)}\n`);
}

process.exitCode = await main(process.argv.slice(2));
