/** Causeway daemons as processes of their own, the way they are deployed, for tests that kill them. */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { closeSync, existsSync, openSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import type { Health } from '../../src/ops/health.ts';
import type { DaemonStatus, LaneStatus, PeerStatus } from '../../src/ops/status.ts';
import { untilFrozen } from './frozen.ts';
import { until } from './until.ts';

const readyLimitMs = 30_000;
const askLimitMs = 5_000;
const shownLines = 60;

/** How a daemon ended. */
export interface DaemonExit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

export interface DaemonOptions {
  readonly cluster: string;
  /** Topology file. */
  readonly file: string;
  readonly monitorPort: number;
  /** Everything that it logs, over all its runs. */
  readonly logFile: string;
  readonly env?: Readonly<Record<string, string>>;
  /** More arguments of `causeway run`. */
  readonly args?: readonly string[];
  /** Another program than `causeway`, from source: its path in the project. */
  readonly program?: string;
}

/** Daemons that this process has started and not yet ended, so that none survives it. */
const running = new Set<ChildProcess>();
process.once('exit', () => {
  for (const child of running) child.kill('SIGKILL');
});

export class DaemonProcess {
  readonly cluster: string;
  readonly #options: DaemonOptions;
  #child: ChildProcess | undefined;
  #exit: DaemonExit | undefined;
  #exited: Promise<DaemonExit> = Promise.resolve({ code: null, signal: null });

  constructor(options: DaemonOptions) {
    this.cluster = options.cluster;
    this.#options = options;
  }

  get running(): boolean {
    return this.#child !== undefined && this.#exit === undefined;
  }

  /** Settles with the end of the present run. */
  get exited(): Promise<DaemonExit> {
    return this.#exited;
  }

  /** `http://127.0.0.1:PORT` of its monitor. */
  get monitorUrl(): string {
    return `http://127.0.0.1:${this.#options.monitorPort}`;
  }

  /** Starts it and waits until it is ready. Throws with its log if it ends first, unless only its port was taken. */
  async start(): Promise<void> {
    const deadline = performance.now() + readyLimitMs;
    for (;;) {
      await this.launch();
      const ready = await until(async () => !this.running || (await this.readyz()) === 200, {
        deadlineMs: readyLimitMs,
        what: () => `the daemon of ${this.cluster} to be ready\n${this.log()}`,
      }).then(() => this.running);
      if (ready) return;
      // Between two runs the kernel may lend our port to somebody's outgoing connection.
      const taken = /EADDRINUSE/.test(this.lastRun().slice(-2000));
      if (!taken || performance.now() > deadline) throw new Error(`the daemon of ${this.cluster} ended\n${this.log()}`);
      await delay(100);
    }
  }

  /** Starts it and does not wait for anything. */
  async launch(): Promise<void> {
    if (this.running) throw new Error(`the daemon of ${this.cluster} runs already`);
    const { file, logFile, env, program, args: more = [] } = this.#options;
    const log = openSync(logFile, 'a');
    try {
      const [command, ...args] = [
        ...(await withParent()),
        process.execPath,
        ...daemonProgram(program),
        'run',
        file,
        ...more,
      ];
      const child = spawn(command!, args, {
        stdio: ['ignore', log, log],
        env: { PATH: process.env.PATH, HOME: process.env.HOME, TMPDIR: process.env.TMPDIR, ...env },
        detached: true,
      });
      running.add(child);
      this.#child = child;
      this.#exit = undefined;
      this.#runAt = existsSync(logFile) ? statSync(logFile).size : 0;
      this.#exited = new Promise<DaemonExit>((resolve, reject) => {
        child.once('error', reject);
        child.once('exit', (code, signal) => resolve({ code, signal }));
      }).then((exit) => {
        running.delete(child);
        this.#exit = exit;
        return exit;
      });
    } finally {
      closeSync(log);
    }
  }

  #runAt = 0;

  /** SIGKILL: nothing is said to anybody. */
  async kill(): Promise<void> {
    if (!this.running) return;
    this.#child!.kill('SIGKILL');
    await this.#exited;
  }

  /** SIGTERM: drains. Resolves with how it ended. */
  async stop(): Promise<DaemonExit> {
    this.#child?.kill('SIGTERM');
    return this.#exited;
  }

  /** SIGHUP: reads its file again. */
  hangUp(): void {
    this.#child?.kill('SIGHUP');
  }

  /** SIGSTOP: connections stay and nothing answers. Settles when it stands still. */
  async freeze(): Promise<void> {
    if (this.#child?.pid === undefined) return;
    this.#child.kill('SIGSTOP');
    await untilFrozen(this.#child.pid);
  }

  thaw(): void {
    this.#child?.kill('SIGCONT');
  }

  /** `/statusz`. Throws while it does not answer. */
  async status(): Promise<DaemonStatus> {
    return (await (await this.#get('/statusz')).json()) as DaemonStatus;
  }

  /** The lane of this id, as this daemon sees it. Throws if it has none. */
  async lane(id: string): Promise<LaneStatus> {
    const { lanes } = await this.status();
    const found = lanes.find(({ lane }) => lane === id);
    if (found === undefined)
      throw new Error(`${this.cluster} has no lane ${id}, only: ${lanes.map(({ lane }) => lane)}`);
    return found;
  }

  async peer(cluster: string): Promise<PeerStatus> {
    const { peers } = await this.status();
    const found = peers.find(({ peer }) => peer === cluster);
    if (found === undefined) throw new Error(`${this.cluster} has no peer ${cluster}`);
    return found;
  }

  /** HTTP status of `/readyz`; undefined while nothing answers. */
  async readyz(): Promise<number | undefined> {
    try {
      return (await this.#get('/readyz')).status;
    } catch (error) {
      if (error instanceof TypeError || (error as Error).name === 'TimeoutError') return undefined;
      throw error;
    }
  }

  /** HTTP status of `/healthz`, and what it says. */
  async healthz(link?: string): Promise<Health & { readonly code: number }> {
    const response = await this.#get(`/healthz?verbose${link === undefined ? '' : `&link=${link}`}`);
    return { code: response.status, ...((await response.json()) as Health) };
  }

  async metrics(): Promise<string> {
    return (await this.#get('/metrics')).text();
  }

  /** What the present run has logged. */
  lastRun(): string {
    return readFileSync(this.#options.logFile).subarray(this.#runAt).toString();
  }

  /** The last lines that it logged. */
  log(lines = shownLines): string {
    const { logFile } = this.#options;
    const all = existsSync(logFile) ? readFileSync(logFile, 'utf8').trimEnd().split('\n') : [];
    return [`--- daemon of ${this.cluster}`, ...all.slice(-lines)].join('\n');
  }

  #get(path: string): Promise<Response> {
    return fetch(`${this.monitorUrl}${path}`, { signal: AbortSignal.timeout(askLimitMs) });
  }
}

const at = (path: string): string => fileURLToPath(new URL(`../../${path}`, import.meta.url));

/** Built, as it ships, if that is current (`npm test` builds first); else from source. Loading source costs more time. */
export function daemonProgram(program?: string): readonly string[] {
  if (program !== undefined) return fromSource(program);
  const stamp = at('dist/.build-stamp');
  const newest = (dir: string): number =>
    Math.max(
      ...readdirSync(dir, { recursive: true, withFileTypes: true })
        .filter((entry) => entry.isFile() && entry.name.endsWith('.ts') && !entry.name.endsWith('.test.ts'))
        .map((entry) => statSync(join(entry.parentPath, entry.name)).mtimeMs),
    );
  built ??= existsSync(stamp) && statSync(stamp).mtimeMs > newest(at('src'));
  if (built) return [at('dist/main.js')];
  return fromSource('src/main.ts');
}

function fromSource(path: string): readonly string[] {
  return ['--import', pathToFileURL(createRequire(import.meta.url).resolve('tsx')).href, at(path)];
}

let built: boolean | undefined;
let parentDeath: Promise<readonly string[]> | undefined;

/** Ties a child's life to ours where that is possible (Linux, util-linux). */
function withParent(): Promise<readonly string[]> {
  const setpriv = ['setpriv', '--pdeathsig', 'KILL'];
  parentDeath ??= promisify(execFile)('setpriv', [...setpriv.slice(1), 'true']).then(
    () => setpriv,
    () => [],
  );
  return parentDeath;
}
