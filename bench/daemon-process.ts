import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { endpointText } from '../src/topology/endpoint.ts';
import type { Address } from '../src/topology/plan.ts';
import { daemonProgram } from '../test/support/daemon-process.ts';
import { until } from '../test/support/until.ts';
import type { Place } from './line.ts';

const readyLimitMs = 30_000;
const endLimitMs = 20_000;

/** Daemons that this process has started, so that none survives it. */
const running = new Set<ChildProcess>();
process.once('exit', () => {
  for (const child of running) child.kill('SIGKILL');
});

export interface DaemonOptions {
  readonly cluster: string;
  /** Topology file. */
  readonly file: string;
  /** Address of its monitor. */
  readonly monitor: Address;
  readonly place: Place;
  /** Folder for its log. */
  readonly dir: string;
  /** Options of Node.js itself. */
  readonly nodeOptions: readonly string[];
}

/** A Causeway daemon as it is deployed: built, and a process of its own. */
export class DaemonProcess {
  readonly cluster: string;
  readonly #child: ChildProcess;
  readonly #options: DaemonOptions;
  readonly #logFile: string;
  readonly #ended: Promise<void>;

  private constructor(options: DaemonOptions) {
    this.cluster = options.cluster;
    this.#options = options;
    this.#logFile = join(options.dir, `${options.cluster}.log`);
    const log = openSync(this.#logFile, 'w');
    const [command, args] = options.place.command(process.execPath, [
      ...options.nodeOptions,
      ...daemonProgram(),
      'run',
      options.file,
    ]);
    this.#child = spawn(command, args, {
      stdio: ['ignore', log, log],
      env: { PATH: process.env.PATH, HOME: process.env.HOME, TMPDIR: process.env.TMPDIR },
    });
    closeSync(log);
    running.add(this.#child);
    this.#ended = new Promise<void>((resolve) => {
      this.#child.once('error', () => resolve());
      this.#child.once('exit', () => resolve());
    }).then(() => void running.delete(this.#child));
  }

  /** Starts it and waits until its monitor says that it is ready. */
  static async start(options: DaemonOptions): Promise<DaemonProcess> {
    const daemon = new DaemonProcess(options);
    try {
      await until(async () => !daemon.running || (await daemon.#ready()), {
        deadlineMs: readyLimitMs,
        what: `the daemon of ${options.cluster} to be ready`,
      });
      daemon.check();
      return daemon;
    } catch (error) {
      await daemon.end();
      throw new Error(`${error instanceof Error ? error.message : String(error)}\n${daemon.log()}`, { cause: error });
    }
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  get running(): boolean {
    return this.#child.pid !== undefined && this.#child.exitCode === null && this.#child.signalCode === null;
  }

  /** Throws when it does not run. */
  check(): void {
    if (!this.running) throw new Error(`the daemon of ${this.cluster} has ended`);
  }

  log(): string {
    const lines = readFileSync(this.#logFile, 'utf8').trimEnd().split('\n');
    return [`--- daemon ${this.cluster}`, ...lines.slice(-15)].join('\n');
  }

  /** What its monitor says of it, as text. */
  async status(): Promise<string> {
    return (await this.#get('/statusz')).text();
  }

  /** SIGTERM, which drains; SIGKILL when that takes too long. */
  async end(): Promise<void> {
    if (!this.running) return;
    this.#child.kill('SIGTERM');
    const late = setTimeout(() => this.#child.kill('SIGKILL'), endLimitMs);
    await this.#ended;
    clearTimeout(late);
  }

  async #ready(): Promise<boolean> {
    return (await this.#get('/readyz')).ok;
  }

  #get(path: string): Promise<Response> {
    return fetch(`http://${endpointText(this.#options.monitor)}${path}`, { signal: AbortSignal.timeout(2000) });
  }
}
