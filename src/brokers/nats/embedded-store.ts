/**
 * Who uses the store of an embedded server. A nats-server does not lock its store, and two of them on one store destroy
 * it. So a daemon claims the store before it starts a server, and first ends a server that a killed daemon left behind.
 */
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { commandOf, startOf } from './process-info.ts';

interface Owner {
  readonly pid: number;
  /** Tells this process from a later one with the same pid. */
  readonly start?: string;
}

const orphanGraceMs = 10_000;

export class EmbeddedStore {
  readonly configFile: string;
  readonly portsDir: string;
  /** Written by the server itself. */
  readonly pidFile: string;
  readonly #ownerFile: string;
  #claimed = false;

  constructor(dir: string) {
    this.configFile = join(dir, 'nats-server.conf');
    this.portsDir = join(dir, 'ports');
    this.pidFile = join(dir, 'nats-server.pid');
    this.#ownerFile = join(dir, 'owner.json');
  }

  /** Makes this process the user of the store. Gives the pid of the living process that is, if another is. */
  async claim(): Promise<{ readonly usedBy: number } | undefined> {
    if (this.#claimed) return undefined;
    await mkdir(this.portsDir, { recursive: true, mode: 0o700 });
    const me: Owner = { pid: process.pid, start: await startOf(process.pid) };
    for (;;) {
      try {
        await writeFile(this.#ownerFile, JSON.stringify(me), { flag: 'wx' });
        this.#claimed = true;
        return undefined;
      } catch (error) {
        if (!hasCode(error, 'EEXIST')) throw error;
      }
      const owner = await this.#readOwner();
      if (owner !== undefined && (await isRunning(owner))) return { usedBy: owner.pid };
      await rm(this.#ownerFile, { force: true });
    }
  }

  async release(): Promise<void> {
    if (!this.#claimed) return;
    this.#claimed = false;
    await rm(this.#ownerFile, { force: true });
  }

  /**
   * Ends a server that still runs on this store, and waits until it is gone. Gives its pid, if there was one. Only for
   * the process that has claimed the store.
   */
  async endOrphan(): Promise<number | undefined> {
    const pid = Number(await readIfThere(this.pidFile));
    if (!Number.isSafeInteger(pid) || pid <= 1 || !(await this.#isOurs(pid))) return undefined;
    signal(pid, 'SIGTERM');
    // A frozen server would keep SIGTERM for later.
    signal(pid, 'SIGCONT');
    const deadline = performance.now() + orphanGraceMs;
    let killed = false;
    while (await this.#isOurs(pid)) {
      if (!killed && performance.now() > deadline) {
        signal(pid, 'SIGKILL');
        killed = true;
      }
      await delay(20);
    }
    return pid;
  }

  /** The pid file may be old and its number given to somebody else: only a command with our configuration file counts. */
  async #isOurs(pid: number): Promise<boolean> {
    return (await commandOf(pid))?.includes(this.configFile) ?? false;
  }

  async #readOwner(): Promise<Owner | undefined> {
    const text = await readIfThere(this.#ownerFile);
    if (text === undefined) return undefined;
    try {
      return JSON.parse(text) as Owner;
    } catch (error) {
      // A daemon was killed while it wrote this.
      if (error instanceof SyntaxError) return undefined;
      throw error;
    }
  }
}

async function isRunning(owner: Owner): Promise<boolean> {
  const start = await startOf(owner.pid);
  return start !== undefined && start === owner.start;
}

async function readIfThere(file: string): Promise<string | undefined> {
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return undefined;
    throw error;
  }
}

function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch (error) {
    if (!hasCode(error, 'ESRCH')) throw error;
  }
}

function hasCode(error: unknown, code: string): boolean {
  return (error as NodeJS.ErrnoException).code === code;
}
