/**
 * Real NATS servers for tests and bench: free ports, temporary stores, kill / freeze / restart on the same port and
 * store. A server ends with the process that started it, however that ends.
 */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { formatVersion, newest, type ServerBinary } from '../../src/brokers/nats/server-binary.ts';
import { renderConfig, type ServerPorts, ServerProcess } from '../../src/brokers/nats/server-process.ts';
import { freePorts } from '../../src/lib/free-ports.ts';
import { untilFrozen } from './frozen.ts';
import { type TempDir, tempDir } from './temp.ts';
import { until } from './until.ts';

export interface JetStreamOptions {
  readonly domain?: string;
  readonly maxFileBytes?: number;
  readonly maxMemoryBytes?: number;
  /** As in the server's configuration, `always` included (2.10 and later). */
  readonly syncInterval?: string;
}

export interface NatsOptions {
  /** Default: the newest that is found. */
  readonly binary?: ServerBinary;
  /** Default true. */
  readonly jetstream?: boolean | JetStreamOptions;
  /** Default: a temporary folder, removed at the end. A given one is left. */
  readonly storeDir?: string;
  readonly name?: string;
  /** More configuration in the server's own language (accounts, users, TLS, limits). */
  readonly config?: string;
  /** Accept leaf nodes; see `leafUrl`. */
  readonly leafListen?: boolean;
  /** Dial hubs as a leaf node. */
  readonly leafRemotes?: readonly { readonly url: string; readonly account?: string; readonly credentials?: string }[];
  /** Address of this machine to listen on. Default 127.0.0.1. */
  readonly host?: string;
  /** Client port; default a free one. */
  readonly port?: number;
  readonly cluster?: { readonly name: string; readonly port: number; readonly routes: readonly string[] };
}

const readyLimitMs = 30_000;
const stopGraceMs = 10_000;
const GiB = 1024 ** 3;
const MiB = 1024 ** 2;

/** Servers that this process has started, so that nothing survives it and failed tests can show logs. */
const started = new Set<NatsServer>();
process.once('exit', () => {
  for (const server of started) server.killNow();
});

export class NatsServer implements AsyncDisposable {
  readonly name: string;
  readonly binary: ServerBinary;
  readonly storeDir: string;
  readonly #options: NatsOptions;
  readonly #dir: TempDir;
  #process: ServerProcess | undefined;
  #ports: ServerPorts | undefined;
  /** Ports as they must stay over restarts. */
  #pinned: { client?: number; monitor?: number; leaf?: number } = {};
  #more: string | undefined;

  constructor(options: NatsOptions, binary: ServerBinary, dir: TempDir, name: string) {
    this.#options = options;
    this.binary = binary;
    this.#dir = dir;
    this.name = name;
    this.#more = options.config;
    this.storeDir = options.storeDir ?? join(dir.path, 'store');
    this.#pinned = options.port === undefined ? {} : { client: options.port };
  }

  /** `nats://127.0.0.1:PORT`, the same over restarts. */
  get url(): string {
    return `nats://${this.#host}:${this.port}`;
  }

  get port(): number {
    if (this.#pinned.client === undefined) throw new Error(`${this.name} has never been started`);
    return this.#pinned.client;
  }

  /** HTTP monitoring of the server, such as `${monitorUrl}/varz`. */
  get monitorUrl(): string {
    return `http://${this.#host}:${this.#pinned.monitor}`;
  }

  get leafUrl(): string {
    if (this.#pinned.leaf === undefined) throw new Error(`${this.name} takes no leaf nodes`);
    return `nats-leaf://127.0.0.1:${this.#pinned.leaf}`;
  }

  get #host(): string {
    return this.#options.host ?? '127.0.0.1';
  }

  /** 0 while it does not run. */
  get pid(): number {
    return this.running ? this.#process!.pid : 0;
  }

  get running(): boolean {
    return this.#process?.running ?? false;
  }

  /** The last lines it logged, over the last run. */
  get logs(): readonly string[] {
    return this.#process?.tail() ?? [];
  }

  /** Starts it, or starts it again on the same port and store. Resolves when it listens. */
  async start(): Promise<void> {
    if (this.running) return;
    const deadline = performance.now() + readyLimitMs;
    for (;;) {
      try {
        await this.#attempt();
        return;
      } catch (error) {
        await this.kill();
        // Between two runs the kernel may lend our port to somebody's outgoing connection.
        const taken = error instanceof Error && /address already in use/i.test(error.message);
        if (!taken || performance.now() > deadline) throw this.#explained(error);
        await delay(100);
      }
    }
  }

  /** SIGKILL: what it had not synced is what the operating system still has. */
  async kill(): Promise<void> {
    this.#process?.signal('SIGKILL');
    await this.#process?.exited;
  }

  /** SIGTERM: an orderly end. */
  async stop(): Promise<void> {
    await this.#process?.stop(stopGraceMs);
  }

  /** Ends it orderly if it runs, and starts it. */
  async restart(): Promise<void> {
    await this.stop();
    await this.start();
  }

  /** SIGSTOP: connections stay open and nothing answers. Settles when it stands still. */
  async freeze(): Promise<void> {
    if (this.#process === undefined) return;
    this.#process.signal('SIGSTOP');
    await untilFrozen(this.#process.pid);
  }

  thaw(): void {
    this.#process?.signal('SIGCONT');
  }

  /** Replaces `config`; takes effect while it runs, as far as the server can do that, and at each start. */
  async reconfigure(config: string): Promise<void> {
    this.#more = config;
    if (!this.running) return;
    await writeFile(join(this.#dir.path, 'nats-server.conf'), this.#config(join(this.#dir.path, 'ports')));
    this.#process!.signal('SIGHUP');
  }

  /** For the exit hook, which cannot wait. */
  killNow(): void {
    this.#process?.signal('SIGKILL');
  }

  /** Kills it and removes what it left on disk. */
  async dispose(): Promise<void> {
    await this.kill();
    await this.#dir.remove();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.dispose();
  }

  async #attempt(): Promise<void> {
    const configFile = join(this.#dir.path, 'nats-server.conf');
    const portsDir = join(this.#dir.path, 'ports');
    await mkdir(portsDir, { recursive: true });
    await writeFile(configFile, this.#config(portsDir));
    this.#process = await ServerProcess.spawn({
      binary: this.binary.path,
      configFile,
      portsDir,
      deathSignal: 'SIGKILL',
    });
    started.add(this);
    this.#ports = await this.#process.ready(readyLimitMs);
    this.#pinned = {
      client: portOf(this.#ports.nats),
      monitor: portOf(this.#ports.monitoring),
      ...(this.#options.leafListen === true ? { leaf: this.#leafPort() } : {}),
    };
  }

  /** The ports file does not list leaf nodes (2.9 to 2.15). */
  #leafPort(): number {
    for (const line of this.logs) {
      const port = /Listening for leafnode connections on \S+:(\d+)$/.exec(line)?.[1];
      if (port !== undefined) return Number(port);
    }
    throw new Error('the log does not say where leaf nodes connect');
  }

  #config(portsDir: string): string {
    const { jetstream = true, cluster, leafListen, leafRemotes } = this.#options;
    const limits: JetStreamOptions = typeof jetstream === 'object' ? jetstream : {};
    const leafnodes = {
      ...(leafListen === true ? { listen: `127.0.0.1:${this.#pinned.leaf ?? -1}` } : {}),
      ...(leafRemotes === undefined ? {} : { reconnect: 1, remotes: leafRemotes }),
    };
    return renderConfig(
      {
        server_name: this.name,
        listen: `${this.#host}:${this.#pinned.client ?? -1}`,
        http: `${this.#host}:${this.#pinned.monitor ?? -1}`,
        ports_file_dir: portsDir,
        pid_file: join(this.#dir.path, 'nats-server.pid'),
        jetstream:
          jetstream === false
            ? undefined
            : {
                store_dir: this.storeDir,
                max_file_store: limits.maxFileBytes ?? 4 * GiB,
                max_memory_store: limits.maxMemoryBytes ?? 256 * MiB,
                domain: limits.domain,
                sync_interval: limits.syncInterval,
              },
        cluster: cluster && { name: cluster.name, listen: `127.0.0.1:${cluster.port}`, routes: cluster.routes },
        leafnodes: Object.keys(leafnodes).length === 0 ? undefined : leafnodes,
      },
      this.#more,
    );
  }

  #explained(error: unknown): Error {
    const version = formatVersion(this.binary.version);
    const why = error instanceof Error ? error.message : String(error);
    return new Error(
      `${this.name} (nats-server ${version}) did not start: ${why}\n${this.logs.slice(-20).join('\n')}`,
      {
        cause: error,
      },
    );
  }
}

/** Starts one server. `await using` ends and removes it. Throws, with its log, if it does not start. */
export async function startNats(options: NatsOptions = {}): Promise<NatsServer> {
  const server = await prepare(options, options.name ?? 'nats');
  return startOrDispose(server);
}

export class NatsCluster implements AsyncDisposable {
  readonly servers: readonly NatsServer[];

  constructor(servers: readonly NatsServer[]) {
    this.servers = servers;
  }

  get urls(): readonly string[] {
    return this.servers.map((server) => server.url);
  }

  /** Waits until every running server sees a JetStream leader and is healthy, so that R3 streams can be made. */
  async ready(): Promise<void> {
    for (const server of this.servers.filter((one) => one.running)) {
      await until(() => sees(server, this.servers.length), {
        what: () => `${server.name} to join JetStream\n${server.logs.slice(-20).join('\n')}`,
        deadlineMs: 60_000,
        everyMs: 50,
      });
    }
  }

  /** The server that leads JetStream's meta group, if there is one at the moment. */
  async metaLeader(): Promise<NatsServer | undefined> {
    for (const server of this.servers.filter((one) => one.running)) {
      const leader = (await jsz(server)).meta_cluster?.leader;
      if (leader !== undefined) return this.servers.find((one) => one.name === leader);
    }
    return undefined;
  }

  async dispose(): Promise<void> {
    await Promise.all(this.servers.map((server) => server.dispose()));
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.dispose();
  }
}

export interface ClusterOptions extends Omit<NatsOptions, 'cluster' | 'port' | 'storeDir'> {
  /** Default 3. */
  readonly nodes?: number;
}

/** A cluster with JetStream on every node; node names are NAME-1 to NAME-N. Resolves when R3 streams can be made. */
export async function startCluster(options: ClusterOptions = {}): Promise<NatsCluster> {
  const { nodes = 3, name = 'cluster', ...rest } = options;
  // JetStream wants to know all routes before the first node starts, so these ports cannot be chosen by the servers.
  const ports = await freePorts(nodes);
  const routes = ports.map((port) => `nats-route://127.0.0.1:${port}`);
  const servers = await Promise.all(
    ports.map((port, index) => prepare({ ...rest, cluster: { name, port, routes } }, `${name}-${index + 1}`)),
  );
  const cluster = new NatsCluster(servers);
  try {
    await Promise.all(servers.map((server) => server.start()));
    await cluster.ready();
    return cluster;
  } catch (error) {
    await cluster.dispose();
    throw error;
  }
}

/** Log tails of the servers that have run since the last call, for a failed test. Forgets those that have ended. */
export function takeServerLogs(lines = 30): string {
  const report: string[] = [];
  for (const server of started) {
    report.push(`--- ${server.name} (${formatVersion(server.binary.version)}, pid ${server.pid || 'ended'})`);
    report.push(...server.logs.slice(-lines));
    if (!server.running) started.delete(server);
  }
  return report.join('\n');
}

async function prepare(options: NatsOptions, name: string): Promise<NatsServer> {
  const binary = options.binary ?? (await newest());
  if (binary === undefined) throw new Error('no nats-server found: put one on PATH or in NATS_SERVER, or run npm test');
  return new NatsServer(options, binary, await tempDir(name), name);
}

async function startOrDispose(server: NatsServer): Promise<NatsServer> {
  try {
    await server.start();
    return server;
  } catch (error) {
    await server.dispose();
    throw error;
  }
}

function portOf(urls: readonly string[] | undefined): number {
  const url = urls?.[0];
  if (url === undefined) throw new Error('the ports file lacks a port');
  return Number(new URL(url).port);
}

interface Jsz {
  readonly meta_cluster?: { readonly leader?: string; readonly cluster_size?: number };
}

async function jsz(server: NatsServer): Promise<Jsz> {
  return (await (await fetch(`${server.monitorUrl}/jsz`)).json()) as Jsz;
}

async function sees(server: NatsServer, nodes: number): Promise<boolean> {
  if (!server.running) throw new Error('it has ended');
  const meta = (await jsz(server)).meta_cluster;
  if (!meta?.leader || meta.cluster_size !== nodes) return false;
  return (await fetch(`${server.monitorUrl}/healthz`)).ok;
}
