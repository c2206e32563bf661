/** Whole worlds for tests: clusters of a real nats-server and a Causeway daemon each, peered over real mutual TLS. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { jetstreamManager, type StreamConfig } from '@nats-io/jetstream';
import { connect, type NatsConnection } from 'nats';
import { afterEach } from 'vitest';
import type { ServerBinary } from '../../src/brokers/nats/server-binary.ts';
import { freePorts } from '../../src/lib/free-ports.ts';
import type { LaneState } from '../../src/ops/status.ts';
import { writeCerts } from '../../src/security/make-certs.ts';
import { nameMatches } from '../../src/topology/groups.ts';
import type { Reason } from '../../src/wire/reasons.ts';
import { ChaosProxy } from './chaos-proxy.ts';
import { DaemonProcess } from './daemon-process.ts';
import { Feed, type FeedOptions } from './feed.ts';
import { type NatsOptions, type NatsServer, startNats } from './nats-launcher.ts';
import { type JudgedLane, judge, readStream, type Stored, type Verdict } from './oracle.ts';
import { type TempDir, tempDir } from './temp.ts';
import { until } from './until.ts';

export type StreamSpec = Partial<Omit<StreamConfig, 'name'>>;

/** One cluster, in short. */
export interface ClusterSpec {
  /** Clusters that it dials. */
  readonly dial?: readonly string[];
  /** Peers that it knows and neither dials nor is dialled by; those others it knows by itself. */
  readonly peers?: readonly string[];
  readonly streams?: Readonly<Record<string, StreamSpec>>;
  /** Groups among its peers, as in the topology file; members that dial it need no entry of their own. */
  readonly groups?: Readonly<Record<string, { readonly match: string }>>;
  /** As in the topology file. */
  readonly links?: Readonly<Record<string, unknown>>;
  readonly grants?: readonly unknown[];
  readonly server?: NatsOptions;
  /** Replaces or adds keys of the topology file. */
  readonly topology?: Readonly<Record<string, unknown>>;
  /** Environment of the daemon. */
  readonly env?: Readonly<Record<string, string>>;
  /** More arguments of `causeway run`. */
  readonly args?: readonly string[];
  /** Another program than `causeway`, from source. */
  readonly program?: string;
}

export interface WorldOptions {
  /** nats-server of every cluster. Default: the newest. */
  readonly binary?: ServerBinary;
  /** Every dialled line leads through a proxy that can be cut, frozen and slow; see `World.line`. */
  readonly lines?: boolean;
}

export const trustDomain = 'acme';

/** Logs of the daemons of the last worlds, shown when their test fails. */
const logs: string[] = [];
afterEach((context) => {
  const taken = logs.splice(0);
  if (context.task.result?.state === 'fail') console.error(taken.join('\n'));
});

/** One cluster of a world. */
export class TestCluster {
  readonly name: string;
  readonly server: NatsServer;
  readonly daemon: DaemonProcess;
  /** Its topology file. */
  readonly file: string;
  #topology: Readonly<Record<string, unknown>>;
  #connection: NatsConnection | undefined;

  constructor(options: {
    readonly name: string;
    readonly server: NatsServer;
    readonly daemon: DaemonProcess;
    readonly file: string;
    readonly topology: Record<string, unknown>;
  }) {
    this.name = options.name;
    this.server = options.server;
    this.daemon = options.daemon;
    this.file = options.file;
    this.#topology = options.topology;
  }

  /** The topology file as an object. */
  get topology(): Readonly<Record<string, unknown>> {
    return this.#topology;
  }

  /** Writes another topology file; the daemon reads it when it starts. YAML takes JSON as it is. */
  async write(topology: Readonly<Record<string, unknown>>): Promise<void> {
    this.#topology = topology;
    await writeFile(this.file, JSON.stringify(topology, undefined, 2));
  }

  /** Changes keys of the topology file. */
  async edit(change: Readonly<Record<string, unknown>>): Promise<void> {
    await this.write({ ...this.#topology, ...change });
  }

  /** Changes keys of a link that it declares. */
  async link(name: string, change: Readonly<Record<string, unknown>>): Promise<void> {
    const links = this.#topology.links as Readonly<Record<string, Readonly<Record<string, unknown>>>>;
    await this.edit({ links: { ...links, [name]: { ...links[name], ...change } } });
  }

  /** A connection for the test's own use, made on first use. */
  async client(): Promise<NatsConnection> {
    this.#connection ??= await connect({
      servers: this.server.url,
      maxReconnectAttempts: -1,
      reconnectTimeWait: 50,
      waitOnFirstConnect: true,
    });
    return this.#connection;
  }

  async addStream(name: string, spec: StreamSpec): Promise<void> {
    const manager = await jetstreamManager(await this.client());
    await manager.streams.add({ ...spec, name });
  }

  async deleteStream(name: string): Promise<void> {
    await (await jetstreamManager(await this.client())).streams.delete(name);
  }

  /** Records that a stream holds; undefined while its server does not answer. */
  async count(stream: string): Promise<number | undefined> {
    if (!this.server.running) return undefined;
    try {
      const client = await this.client();
      const answer = await client.request(`$JS.API.STREAM.INFO.${stream}`, '', { timeout: 500 });
      return answer.json<{ readonly state?: { readonly messages: number } }>().state?.messages;
    } catch {
      // Down or starting: not known at the moment.
      return undefined;
    }
  }

  read(stream: string): Promise<Stored[]> {
    return readStream(this.server.url, stream);
  }

  feed(stream: string, options: Partial<FeedOptions> & Pick<FeedOptions, 'count'>): Promise<Feed> {
    return Feed.start({
      url: this.server.url,
      stream,
      label: this.name,
      subject: (number) => `${stream.toLowerCase()}.press.${number % 7}`,
      payloadBytes: 128,
      ...options,
    });
  }

  /** As `feed`, into a stream that others write too: under the subjects `<stream>.<cluster>.N`. */
  feedShared(stream: string, options: Partial<FeedOptions> & Pick<FeedOptions, 'count'>): Promise<Feed> {
    const own = `${stream.toLowerCase()}.${this.name}`;
    return this.feed(stream, {
      own: `${own}.>`,
      subject: (number) => `${own}.${number % 7}`,
      headers: (number) => [`Nats-Msg-Id: ${this.name}-${number}`],
      ...options,
    });
  }

  /** Waits until a stream holds so many records. */
  async holds(stream: string, count: number, deadlineMs = 120_000): Promise<void> {
    let last: number | undefined;
    await until(
      async () => {
        last = await this.count(stream);
        return last !== undefined && last >= count;
      },
      { deadlineMs, everyMs: 100, what: () => `${this.name}/${stream} to hold ${count} records, it has ${last}` },
    );
  }

  /** Waits until the daemon shows this reason, and state if given, for a lane. */
  async shows(lane: string, reason: Reason, state?: LaneState): Promise<void> {
    let last = '';
    await until(
      async () => {
        const found = await this.daemon.lane(lane);
        last = JSON.stringify(found);
        return found.reason === reason && (state === undefined || found.state === state);
      },
      { what: () => `${lane} to be ${state ?? ''} ${reason} at ${this.name}: ${last}`, deadlineMs: 30_000 },
    );
  }

  /** Waits until the daemon shows a peer as gone for this reason. */
  async showsPeer(peer: string, reason: Reason): Promise<void> {
    let last = '';
    await until(
      async () => {
        const found = await this.daemon.peer(peer);
        last = JSON.stringify(found);
        return !found.connected && found.reason === reason;
      },
      { what: () => `peer ${peer} to be ${reason} at ${this.name}: ${last}`, deadlineMs: 30_000 },
    );
  }

  /** Waits until the daemon has logged an event with this reason since it was started. */
  async logs(event: string, reason: Reason): Promise<void> {
    const has = (line: string) => line.includes(`"event":"${event}"`) && line.includes(`"reason":"${reason}"`);
    await until(() => this.daemon.lastRun().split('\n').some(has), {
      what: () => `${this.name} to log ${event} with ${reason}\n${this.daemon.log()}`,
    });
  }

  async close(): Promise<void> {
    await this.#connection?.close();
    await this.daemon.kill();
    await this.server.dispose();
  }
}

export class World implements AsyncDisposable {
  readonly dir: string;
  readonly #dir: TempDir;
  readonly #clusters = new Map<string, TestCluster>();
  readonly #lines = new Map<string, ChaosProxy>();

  private constructor(dir: TempDir) {
    this.#dir = dir;
    this.dir = dir.path;
  }

  /** Servers run and have their streams, files and certificates are written; no daemon runs yet. */
  static async make(clusters: Readonly<Record<string, ClusterSpec>>, options: WorldOptions = {}): Promise<World> {
    const world = new World(await tempDir('world'));
    try {
      await world.#build(clusters, options);
      return world;
    } catch (error) {
      await world[Symbol.asyncDispose]();
      throw error;
    }
  }

  async #build(clusters: Readonly<Record<string, ClusterSpec>>, { binary, lines }: WorldOptions): Promise<void> {
    const names = Object.keys(clusters);
    const dialled = names.filter((name) => Object.values(clusters).some(({ dial }) => dial?.includes(name)));
    const ports = await freePorts(2 * names.length);
    const listen = new Map(names.map((name) => [name, ports.pop()!]));
    const monitor = new Map(names.map((name) => [name, ports.pop()!]));
    await writeCerts(this.dir, { trustDomain, clusters: names.map((cluster) => ({ cluster })) });
    await Promise.all(
      names.map(async (name) => {
        const spec = clusters[name]!;
        const server = await startNats({ binary, name, ...spec.server });
        const peers: Record<string, unknown> = { ...spec.groups };
        const grouped = (other: string) =>
          Object.values(spec.groups ?? {}).some(({ match }) => nameMatches(match, other));
        for (const peer of spec.peers ?? []) peers[peer] = {};
        for (const other of names) if (clusters[other]!.dial?.includes(name) && !grouped(other)) peers[other] = {};
        for (const other of spec.dial ?? []) {
          let port = listen.get(other)!;
          if (lines === true) {
            const line = await ChaosProxy.start({ host: '127.0.0.1', port });
            this.#lines.set(`${name}>${other}`, line);
            port = line.address.port;
          }
          peers[other] = { dial: [`127.0.0.1:${port}`] };
        }
        const file = join(this.dir, `${name}.yaml`);
        const cluster = new TestCluster({
          name,
          server,
          file,
          daemon: new DaemonProcess({
            ...spec,
            cluster: name,
            file,
            monitorPort: monitor.get(name)!,
            logFile: join(this.dir, `${name}.log`),
          }),
          topology: {
            version: 1,
            cluster: name,
            trustDomain,
            tls: { cert: `${name}.crt`, key: `${name}.key`, ca: 'ca.crt' },
            nats: { servers: [server.url] },
            ...(dialled.includes(name) ? { listen: `127.0.0.1:${listen.get(name)}` } : {}),
            monitor: `127.0.0.1:${monitor.get(name)}`,
            peers,
            links: spec.links ?? {},
            grants: spec.grants ?? [],
            ...spec.topology,
          },
        });
        this.#clusters.set(name, cluster);
        await cluster.write(cluster.topology);
        for (const [stream, config] of Object.entries(spec.streams ?? {})) await cluster.addStream(stream, config);
      }),
    );
  }

  cluster(name: string): TestCluster {
    const found = this.#clusters.get(name);
    if (found === undefined) throw new Error(`this world has no cluster ${name}`);
    return found;
  }

  /** The line that `from` dials `to` over, in a world with lines. */
  line(from: string, to: string): ChaosProxy {
    const found = this.#lines.get(`${from}>${to}`);
    if (found === undefined) throw new Error(`${from} does not dial ${to} over a line`);
    return found;
  }

  /** Starts daemons, all by default, and waits until they are ready; that they have found each other is not waited for. */
  async start(...names: readonly string[]): Promise<void> {
    const chosen = names.length === 0 ? [...this.#clusters.keys()] : names;
    await Promise.all(chosen.map((name) => this.cluster(name).daemon.start()));
  }

  /** Waits until the receiving end has stored the lane up to `sequence` of its source. */
  async stored(lane: string, sequence: number, deadlineMs = 60_000): Promise<void> {
    const receiver = this.cluster(lane.split('/')[2]!);
    let last = 'nothing known';
    await until(
      async () => {
        const status = await receiver.daemon.lane(lane);
        last = JSON.stringify(status);
        return (status.storedSequence ?? 0) >= sequence;
      },
      { deadlineMs, everyMs: 50, what: () => `${lane} to be stored up to ${sequence}: ${last}` },
    );
  }

  /** Waits until every lane of every daemon is live and its sink holds all that its source has. */
  async level(deadlineMs = 60_000): Promise<void> {
    let last = '';
    await until(
      async () => {
        const all = await Promise.all([...this.#clusters.values()].map(({ daemon }) => daemon.status()));
        const behind = all.flatMap(({ lanes }) =>
          lanes.filter(({ state, lagRecords }) => state !== 'live' || lagRecords !== 0),
        );
        last = JSON.stringify(behind);
        return behind.length === 0;
      },
      { deadlineMs, everyMs: 100, what: () => `every lane to be level: ${last}` },
    );
  }

  /** Reads the sink and all sources of its lanes, and judges. */
  async judge(
    sink: { readonly cluster: string; readonly stream: string },
    lanes: readonly (Omit<JudgedLane, 'source' | 'subject'> & {
      readonly stream: string;
      readonly subject?: JudgedLane['subject'];
    })[],
  ): Promise<{ readonly verdicts: Readonly<Record<string, Verdict>>; readonly foreign: readonly Stored[] }> {
    const judged: JudgedLane[] = [];
    for (const { stream, ...lane } of lanes) {
      const from = lane.lane.split('/')[1]!;
      const subject = (record: Stored) => `fleet.${from}.${record.subject}`;
      judged.push({ subject, ...lane, source: await this.cluster(from).read(stream) });
    }
    return judge(await this.cluster(sink.cluster).read(sink.stream), `${sink.cluster}/${sink.stream}`, judged);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // The daemons first, or they would fill their logs with the loss of the servers.
    await Promise.all([...this.#clusters.values()].map(({ daemon }) => daemon.kill()));
    for (const { daemon } of this.#clusters.values()) logs.push(daemon.log());
    await Promise.all([...this.#clusters.values()].map((cluster) => cluster.close()));
    await Promise.all([...this.#lines.values()].map((line) => line.stop()));
    await this.#dir.remove();
  }
}

/** Two plants that dial a hub, whose link `telemetry` collects their streams TELEMETRY into its stream FLEET. */
export function fanIn(plants: readonly string[] = ['plant-a', 'plant-b']): Record<string, ClusterSpec> {
  const plant: ClusterSpec = {
    dial: ['hub'],
    streams: { TELEMETRY: { subjects: ['telemetry.>'] } },
    grants: [{ to: 'hub', read: { stream: 'TELEMETRY' } }],
  };
  return {
    hub: {
      // Shorter than any outage: nothing may depend on the server's own memory of message ids. In nanoseconds.
      streams: { FLEET: { subjects: ['fleet.>'], duplicate_window: 1e9 } },
      links: {
        telemetry: {
          kind: 'fan-in',
          from: { cluster: plants, stream: 'TELEMETRY' },
          to: { stream: 'FLEET', subject: 'fleet.{origin}.{subject}' },
        },
      },
    },
    ...Object.fromEntries(plants.map((name) => [name, plant])),
  };
}
