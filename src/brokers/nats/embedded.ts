/**
 * `nats.embedded`: a nats-server with JetStream that the daemon starts beside itself, on loopback and a stable store, and
 * keeps running. It is ended with the daemon; a server that a killed daemon left behind is ended by the next one.
 */
import { writeFile } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import type { Logger } from '../../lib/logger.ts';
import type { EmbeddedPlan } from '../../topology/plan.ts';
import type { Failure } from '../../wire/reasons.ts';
import { EmbeddedStore } from './embedded-store.ts';
import { atLeast, formatVersion, type ServerBinary } from './server-binary.ts';
import { describeExit, renderConfig, type ServerLine, ServerProcess } from './server-process.ts';

export interface EmbeddedOptions {
  /** Port 0 takes a free one and keeps it over restarts. */
  readonly plan: EmbeddedPlan;
  readonly binary: ServerBinary;
  readonly serverName: string;
  readonly log: Logger;
  /** Told of every change: a failure with reason `embedded-down`, or undefined when the server runs. */
  readonly onHealth: (failure: Failure | undefined) => void;
}

const firstBackoffMs = 200;
const maxBackoffMs = 10_000;
/** A server that ran this long starts its schedule anew. */
const stableMs = 10_000;
const stopGraceMs = 10_000;
/** How long `start` waits for a server that reads a large store; it goes on starting after that. */
const startWaitMs = 10_000;

export class EmbeddedServer {
  readonly #options: EmbeddedOptions;
  readonly #store: EmbeddedStore;
  readonly #ending = new AbortController();
  readonly #ended = new Promise<void>((done) => {
    this.#ending.signal.addEventListener('abort', () => done(), { once: true });
  });
  #port: number;
  #server: ServerProcess | undefined;
  #started: Promise<void> | undefined;
  #supervision: Promise<void> | undefined;

  constructor(options: EmbeddedOptions) {
    this.#options = options;
    this.#store = new EmbeddedStore(options.plan.store);
    this.#port = options.plan.port;
  }

  /** Where clients connect; the same over restarts. With port 0 it is known from the first start on. */
  get url(): string {
    return `nats://127.0.0.1:${this.#port}`;
  }

  /** The server's pid; 0 while none runs. */
  get pid(): number {
    return this.#server?.running ? this.#server.pid : 0;
  }

  /**
   * Starts the server and its supervision. Resolves when it runs, when the first attempt has failed, or after 10 s,
   * whichever is first; `onHealth` tells which, and attempts go on until `stop` or `signal`. Never rejects.
   */
  async start(signal: AbortSignal): Promise<void> {
    const end = (): void => this.#ending.abort();
    if (signal.aborted) end();
    signal.addEventListener('abort', end, { once: true, signal: this.#ending.signal });
    this.#started ??= new Promise<void>((settled) => {
      const slow = setTimeout(() => {
        this.#down('the server is still starting');
        settled();
      }, startWaitMs);
      const once = (): void => {
        clearTimeout(slow);
        settled();
      };
      this.#supervision = this.#supervise(once).finally(once);
    });
    await this.#started;
  }

  /** Ends the server orderly, by force after 10 s, and gives the store free. */
  async stop(): Promise<void> {
    this.#ending.abort();
    await this.#supervision;
  }

  async #supervise(settled: () => void): Promise<void> {
    let backoffMs = firstBackoffMs;
    while (!this.#ending.signal.aborted) {
      const begunMs = performance.now();
      const why = await this.#runOnce(settled);
      if (this.#ending.signal.aborted) break;
      if (performance.now() - begunMs > stableMs) backoffMs = firstBackoffMs;
      const waitMs = Math.round(backoffMs * (0.5 + Math.random() / 2));
      this.#options.log.error('embedded-server-down', { detail: why, nextTryInMs: waitMs });
      this.#down(why);
      settled();
      await this.#pause(waitMs);
      backoffMs = Math.min(backoffMs * 2, maxBackoffMs);
    }
    await this.#store.release();
  }

  /** One life of a server. Gives why it is over, or never began. */
  async #runOnce(settled: () => void): Promise<string> {
    try {
      const refused = await this.#prepare();
      if (refused !== undefined) return refused;
      const { binary, log } = this.#options;
      const { configFile, portsDir } = this.#store;
      const server = await ServerProcess.spawn({
        binary: binary.path,
        configFile,
        portsDir,
        deathSignal: 'SIGTERM',
        onLine: (line) => this.#logLine(line),
      });
      this.#server = server;
      try {
        // No limit: killing a server that reads a large store would only make it begin again.
        const ports = await server.ready(Number.POSITIVE_INFINITY, this.#ending.signal);
        this.#port = Number(new URL(ports.nats[0]!).port);
        log.info('embedded-server-up', { version: formatVersion(binary.version), url: this.url, pid: server.pid });
        this.#options.onHealth(undefined);
        settled();
        await Promise.race([server.exited, this.#ended]);
      } finally {
        await server.stop(stopGraceMs);
      }
      return `the server ${describeExit(await server.exited)}`;
    } catch (error) {
      return error instanceof Error ? error.message : String(error);
    }
  }

  /** Makes the store ours and the configuration current. Gives why that cannot be, if another daemon uses the store. */
  async #prepare(): Promise<string | undefined> {
    const { plan, log } = this.#options;
    const other = await this.#store.claim();
    if (other !== undefined) return `the store ${plan.store} is used by process ${other.usedBy}`;
    const orphan = await this.#store.endOrphan();
    if (orphan !== undefined) log.warn('embedded-orphan-ended', { pid: orphan, store: plan.store });
    await writeFile(this.#store.configFile, this.#config());
    return undefined;
  }

  #config(): string {
    const { plan, binary, serverName, log } = this.#options;
    // 2.9 refuses a configuration with this key; it then syncs every two minutes.
    const syncAlways = atLeast(binary.version, 2, 10);
    if (!syncAlways) log.warn('embedded-sync-unsupported', { version: formatVersion(binary.version), needs: '2.10.0' });
    return renderConfig({
      server_name: serverName,
      listen: `127.0.0.1:${this.#port === 0 ? -1 : this.#port}`,
      ports_file_dir: this.#store.portsDir,
      pid_file: this.#store.pidFile,
      jetstream: { store_dir: plan.store, sync_interval: syncAlways ? 'always' : undefined },
    });
  }

  #logLine(line: ServerLine): void {
    // What a server says in passing would drown what the daemon says.
    const level = line.level === 'info' ? 'debug' : line.level;
    this.#options.log[level]('embedded-server-says', { line: line.text });
  }

  #down(detail: string): void {
    if (!this.#ending.signal.aborted) this.#options.onHealth({ reason: 'embedded-down', detail });
  }

  async #pause(ms: number): Promise<void> {
    try {
      await delay(ms, undefined, { signal: this.#ending.signal });
    } catch (error) {
      if (!this.#ending.signal.aborted) throw error;
    }
  }
}
