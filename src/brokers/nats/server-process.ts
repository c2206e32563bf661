/** One run of a nats-server: spawn, logs, ports, readiness, end. Restarting is its owner's business. */
import { type ChildProcess, spawn } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { endingWithUs } from '../../lib/parent-death.ts';

export type LogLevel = 'debug' | 'info' | 'warn' | 'error';

export interface ServerLine {
  readonly level: LogLevel;
  readonly text: string;
}

export interface ServerSpec {
  readonly binary: string;
  readonly configFile: string;
  /** The `ports_file_dir` of the configuration. */
  readonly portsDir: string;
  /** What the server gets when this process dies, however it dies (Linux). SIGKILL also ends a frozen server. */
  readonly deathSignal: 'SIGTERM' | 'SIGKILL';
  readonly onLine?: (line: ServerLine) => void;
}

/** URLs that the server listens on, from the ports file it writes when it is ready. */
export interface ServerPorts {
  readonly nats: readonly string[];
  readonly monitoring?: readonly string[];
  readonly cluster?: readonly string[];
  readonly websocket?: readonly string[];
}

export interface ServerExit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  /** Why it could not be spawned at all. */
  readonly error?: string;
}

const keptLines = 200;
const levels: Readonly<Record<string, LogLevel>> = {
  DBG: 'debug',
  TRC: 'debug',
  INF: 'info',
  WRN: 'warn',
  ERR: 'error',
  FTL: 'error',
};

export class ServerProcess {
  /** Settles when the process has ended and its output is read to the end. Never rejects. */
  readonly exited: Promise<ServerExit>;
  readonly #child: ChildProcess;
  readonly #spec: ServerSpec;
  readonly #lines: string[] = [];
  #exit: ServerExit | undefined;

  private constructor(spec: ServerSpec, command: string, args: readonly string[]) {
    this.#spec = spec;
    // Own session: Ctrl-C in a terminal must not take the server away from under a daemon that is still draining.
    this.#child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'], detached: true });
    for (const stream of [this.#child.stdout!, this.#child.stderr!]) {
      createInterface({ input: stream }).on('line', (line) => this.#took(line));
    }
    this.exited = new Promise((done) => {
      const ended = (exit: ServerExit): void => {
        this.#exit ??= exit;
        done(this.#exit);
      };
      this.#child.once('error', (error) => ended({ code: null, signal: null, error: error.message }));
      this.#child.once('close', (code, signal) => ended({ code, signal }));
    });
  }

  /** Starts the binary. Failures, also to spawn, show in `exited` and `ready`. */
  static async spawn(spec: ServerSpec): Promise<ServerProcess> {
    const [command, args] = await endingWithUs(spec.deathSignal, spec.binary, ['-c', spec.configFile]);
    return new ServerProcess(spec, command, args);
  }

  /** 0 if it could not be spawned. */
  get pid(): number {
    return this.#child.pid ?? 0;
  }

  get running(): boolean {
    return this.#exit === undefined;
  }

  /** The last lines it logged, oldest first. */
  tail(count = keptLines): readonly string[] {
    return this.#lines.slice(-count);
  }

  /** Waits until the server listens. Throws with the reason and the last log lines if it ends first or takes too long. */
  async ready(limitMs: number, signal?: AbortSignal): Promise<ServerPorts> {
    const deadline = performance.now() + limitMs;
    for (;;) {
      signal?.throwIfAborted();
      if (this.#exit !== undefined) throw new Error(`nats-server ${describeExit(this.#exit)}: ${this.#complaint()}`);
      const ports = await this.#readPorts();
      if (ports !== undefined) return ports;
      if (performance.now() > deadline) throw new Error(`nats-server not ready in ${limitMs} ms: ${this.#complaint()}`);
      await delay(15);
    }
  }

  /** Sends a signal; nothing happens if it has already ended. */
  signal(signal: NodeJS.Signals): void {
    if (this.#exit === undefined) this.#child.kill(signal);
  }

  /** SIGTERM, and SIGKILL after `graceMs`. */
  async stop(graceMs: number): Promise<ServerExit> {
    this.signal('SIGTERM');
    const patience = new AbortController();
    const timer = delay(graceMs, 'late', { signal: patience.signal }).catch((error: unknown) => {
      if (!patience.signal.aborted) throw error;
    });
    if ((await Promise.race([this.exited, timer])) === 'late') this.signal('SIGKILL');
    patience.abort();
    return this.exited;
  }

  #took(raw: string): void {
    const parts = /^\[\d+\] (?:\d\S+ \S+ )?\[(\w{3})\] (.*)$/.exec(raw);
    const line: ServerLine = { level: levels[parts?.[1] ?? ''] ?? 'info', text: parts?.[2] ?? raw };
    this.#lines.push(raw);
    if (this.#lines.length > keptLines) this.#lines.shift();
    this.#spec.onLine?.(line);
  }

  /** What it said last that is worth repeating: its complaints if there are any. */
  #complaint(): string {
    const complaints = this.#lines.filter((line) => /\[(ERR|FTL)\]|^nats-server:/.test(line));
    return (complaints.length > 0 ? complaints : this.#lines).slice(-3).join(' | ') || 'it said nothing';
  }

  async #readPorts(): Promise<ServerPorts | undefined> {
    if (this.pid === 0) return undefined;
    const file = join(this.#spec.portsDir, `${basename(this.#spec.binary)}_${this.pid}.ports`);
    try {
      return JSON.parse(await readFile(file, 'utf8')) as ServerPorts;
    } catch (error) {
      // Not written yet, or half written.
      if (error instanceof SyntaxError || (error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
      throw error;
    }
  }
}

export function describeExit(exit: ServerExit): string {
  if (exit.error !== undefined) return `could not be started: ${exit.error}`;
  return exit.signal !== null ? `was ended by ${exit.signal}` : `ended with code ${exit.code}`;
}

/** A configuration file: `settings` as one line each, then `extra` verbatim in the server's own language. */
export function renderConfig(settings: Readonly<Record<string, unknown>>, extra = ''): string {
  const lines = Object.entries(settings)
    .filter(([, value]) => value !== undefined)
    // The server's language takes JSON values as they are.
    .map(([key, value]) => `${key}: ${JSON.stringify(value)}`);
  return `${lines.join('\n')}\n${extra === '' ? '' : `${extra}\n`}`;
}
