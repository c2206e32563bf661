import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { commandOf } from '../brokers/nats/process-info.ts';
import { StreamClient } from '../brokers/nats/stream-client.ts';
import { endingWithUs } from '../lib/parent-death.ts';
import { pause } from '../lib/pause.ts';
import type { DaemonStatus } from '../ops/status.ts';
import { type Ports, storeOf } from './topologies.ts';

/** The program itself, built or from source. */
export const main = fileURLToPath(
  new URL(import.meta.url.endsWith('.ts') ? '../main.ts' : '../main.js', import.meta.url),
);
const startLimitMs = 30_000;
const statusTimeoutMs = 1000;

export interface SiteOptions {
  readonly cluster: string;
  readonly dir: string;
  readonly ports: Ports;
}

/** One cluster of the demo: a daemon as it is deployed, the nats-server that it supervises, and a client beside them. */
export class Site {
  readonly cluster: string;
  readonly natsUrl: string;
  readonly monitorUrl: string;
  readonly client: StreamClient;
  readonly #dir: string;
  readonly #store: string;
  #child: ChildProcess | undefined;
  #spawnError: string | undefined;
  /** The daemon is meant to run. */
  #wanted = false;

  constructor({ cluster, dir, ports }: SiteOptions) {
    this.cluster = cluster;
    this.#dir = dir;
    this.#store = join(dir, storeOf(cluster));
    this.natsUrl = `nats://127.0.0.1:${ports.nats}`;
    this.monitorUrl = `http://127.0.0.1:${ports.monitor}`;
    this.client = new StreamClient(this.natsUrl, 'demo');
  }

  get file(): string {
    return join(this.#dir, `${this.cluster}.yaml`);
  }

  /** Starts the daemon and waits until it is ready and its server takes clients. */
  async start(signal: AbortSignal): Promise<void> {
    const args = [...process.execArgv, main, 'run', this.file, '--drain-timeout', '3s'];
    const [command, commandArgs] = await endingWithUs('SIGKILL', process.execPath, args);
    signal.throwIfAborted();
    const log = openSync(this.#logFile, 'a');
    // A session of its own: Ctrl-C is for us, and we end the daemons.
    this.#child = spawn(command, commandArgs, { stdio: ['ignore', log, log], detached: true });
    closeSync(log);
    this.#wanted = true;
    this.#child.once('error', (error) => {
      this.#spawnError = error.message;
    });
    const untilMs = performance.now() + startLimitMs;
    while (!(this.client.connected && (await this.#ready()))) {
      this.check();
      if (performance.now() > untilMs) throw new Error(`the daemon of ${this.cluster} is not ready\n${this.logTail()}`);
      await pause(50, signal);
      signal.throwIfAborted();
    }
  }

  /** Throws if the daemon has ended and nobody asked it to. */
  check(): void {
    if (!this.#wanted || this.#running) return;
    const why = this.#spawnError ?? `code ${this.#child?.exitCode ?? this.#child?.signalCode}`;
    throw new Error(`the daemon of ${this.cluster} has ended: ${why}\n${this.logTail()}`);
  }

  /** SIGKILL for daemon and server: nobody can write a farewell. */
  async kill(): Promise<void> {
    const server = this.#serverPid();
    this.#wanted = false;
    // The server first, and the daemon before it can start another.
    if (await this.#isOurServer(server)) signalTo(server, 'SIGKILL');
    await this.#endDaemon('SIGKILL');
  }

  /** SIGKILL for the daemon. Its server ends with it where the system sees to that, and else when the next daemon starts. */
  async killDaemon(): Promise<void> {
    this.#wanted = false;
    await this.#endDaemon('SIGKILL');
  }

  /** SIGKILL for the server; the daemon starts it again. */
  async killServer(): Promise<void> {
    const server = this.#serverPid();
    if (!(await this.#isOurServer(server))) throw new Error(`${this.cluster} has no nats-server to kill`);
    signalTo(server, 'SIGKILL');
  }

  /** What its daemon says; undefined if that does not answer. */
  async status(): Promise<DaemonStatus | undefined> {
    try {
      return (await (await this.#get('/statusz')).json()) as DaemonStatus;
    } catch (error) {
      if (isNoAnswer(error)) return undefined;
      throw error;
    }
  }

  /** Ends daemon and server orderly, by force if that takes longer than `graceMs`. */
  async end(graceMs: number): Promise<void> {
    this.#wanted = false;
    await this.client.close();
    await this.#endDaemon('SIGTERM', graceMs);
    const server = this.#serverPid();
    // A daemon that was killed leaves its server; where the system cannot end it with the daemon, we do.
    while (await this.#isOurServer(server)) {
      signalTo(server, 'SIGKILL');
      await pause(20, new AbortController().signal);
    }
  }

  /** For the exit hook, which cannot wait. */
  killNow(): void {
    if (!this.#running) return;
    const server = this.#serverPid();
    this.#child?.kill('SIGKILL');
    signalTo(server, 'SIGKILL');
  }

  logTail(lines = 10): string {
    const text = readIfThere(this.#logFile) ?? '';
    return text.trimEnd().split('\n').slice(-lines).join('\n');
  }

  get #logFile(): string {
    return join(this.#dir, `${this.cluster}.log`);
  }

  get #running(): boolean {
    const child = this.#child;
    return child?.pid !== undefined && child.exitCode === null && child.signalCode === null;
  }

  async #endDaemon(signal: 'SIGTERM' | 'SIGKILL', graceMs = 0): Promise<void> {
    const child = this.#child;
    if (child === undefined || !this.#running) return;
    const exited = once(child, 'exit');
    child.kill(signal);
    const late = setTimeout(() => child.kill('SIGKILL'), graceMs);
    await exited;
    clearTimeout(late);
  }

  /** As the server itself wrote it; 0 if it never ran. */
  #serverPid(): number {
    const pid = Number(readIfThere(join(this.#store, 'nats-server.pid')));
    return Number.isSafeInteger(pid) && pid > 1 ? pid : 0;
  }

  async #isOurServer(pid: number): Promise<boolean> {
    return pid !== 0 && (await commandOf(pid))?.includes(this.#store) === true;
  }

  async #ready(): Promise<boolean> {
    try {
      return (await this.#get('/readyz')).ok;
    } catch (error) {
      if (isNoAnswer(error)) return false;
      throw error;
    }
  }

  #get(path: string): Promise<Response> {
    return fetch(`${this.monitorUrl}${path}`, { signal: AbortSignal.timeout(statusTimeoutMs) });
  }
}

/** `fetch` throws a TypeError when it cannot connect or is cut off, and a TimeoutError after the time. */
function isNoAnswer(error: unknown): boolean {
  return error instanceof TypeError || (error instanceof Error && error.name === 'TimeoutError');
}

function signalTo(pid: number, signal: NodeJS.Signals): void {
  if (pid === 0) return;
  try {
    process.kill(pid, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

function readIfThere(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}
