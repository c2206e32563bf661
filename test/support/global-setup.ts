/**
 * Makes the folder of a test run, and at its end ends every server whose files lie in it and removes it. A run that was
 * killed leaves its folder; the next run sweeps it. Servers also die with the process that started them (server-process.ts);
 * this is for the platforms that cannot do that.
 */
import { readdirSync, readFileSync, rmSync } from 'node:fs';
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { commandOf, startOf } from '../../src/brokers/nats/process-info.ts';
import { runDirVariable } from './temp.ts';

const prefix = 'causeway-test-';
const ownerFile = 'owner.json';

interface Owner {
  readonly pid: number;
  readonly start: string | undefined;
}

/** Vitest calls this once per project, in one process; the first call makes the folder for all. */
export async function setup(): Promise<(() => Promise<void>) | undefined> {
  if (process.env[runDirVariable] !== undefined) return undefined;
  await sweepDeadRuns();
  const dir = await mkdtemp(join(tmpdir(), prefix));
  const owner: Owner = { pid: process.pid, start: await startOf(process.pid) };
  await writeFile(join(dir, ownerFile), JSON.stringify(owner));
  process.env[runDirVariable] = dir;
  // Ctrl-C ends Vitest before it comes to the teardown. Where servers do not die with their parents, the folder stays for
  // the next run's sweep, which ends them.
  process.once('exit', () => {
    if (process.platform === 'linux') rmSync(dir, { recursive: true, force: true, maxRetries: 5, retryDelay: 50 });
  });
  return () => sweep(dir);
}

async function sweepDeadRuns(): Promise<void> {
  for (const entry of await readdir(tmpdir())) {
    if (!entry.startsWith(prefix)) continue;
    const dir = join(tmpdir(), entry);
    const owner = await readOwner(dir);
    // Without an owner it is being made at this moment, or is what a server wrote after its folder had been removed.
    const over = owner === undefined ? await isOld(dir) : (await startOf(owner.pid)) !== owner.start;
    if (over) await sweep(dir);
  }
}

async function isOld(dir: string): Promise<boolean> {
  try {
    return Date.now() - (await stat(dir)).mtimeMs > 60 * 60 * 1000;
  } catch (error) {
    // Another run has just swept it.
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false;
    throw error;
  }
}

async function readOwner(dir: string): Promise<Owner | undefined> {
  try {
    return JSON.parse(await readFile(join(dir, ownerFile), 'utf8')) as Owner;
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (error instanceof SyntaxError || code === 'ENOENT' || code === 'EACCES') return undefined;
    throw error;
  }
}

async function sweep(dir: string): Promise<void> {
  for (const pid of serverPids(dir)) {
    if ((await commandOf(pid))?.includes(dir) === true) kill(pid);
  }
  await rm(dir, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 });
}

/** The pid files that servers write beside their configuration: RUN/NAME-XXXXXX/nats-server.pid. */
function serverPids(dir: string): number[] {
  const pids: number[] = [];
  for (const entry of namesIn(dir)) {
    if (!namesIn(join(dir, entry)).includes('nats-server.pid')) continue;
    const pid = Number(readFileSync(join(dir, entry, 'nats-server.pid'), 'utf8'));
    if (Number.isSafeInteger(pid) && pid > 1) pids.push(pid);
  }
  return pids;
}

function namesIn(dir: string): string[] {
  try {
    return readdirSync(dir);
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code === 'ENOENT' || code === 'ENOTDIR') return [];
    throw error;
  }
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}
