/** A hub whose NATS is a cluster of three, a plant that feeds it, and a daemon each. */
import { call } from '../../src/brokers/nats/api.ts';
import type { ServerBinary } from '../../src/brokers/nats/server-binary.ts';
import { Feed } from './feed.ts';
import { type NatsCluster, type NatsServer, startCluster } from './nats-launcher.ts';
import { api, type Client, client, makeStream } from './nats-rig.ts';
import { judge, readStream, type Stored, type Verdict } from './oracle.ts';
import { until } from './until.ts';
import { fanIn, type TestCluster, World } from './world.ts';

/** The lane from the plant's stream TELEMETRY into the hub's stream FLEET. */
export const hubLane = 'telemetry/plant-a/hub';
const toFleet = { stream: 'FLEET', subject: 'fleet.{origin}.{subject}' };

export class HubCluster implements AsyncDisposable {
  readonly world: World;
  readonly client: Client;
  readonly #cluster: NatsCluster;

  private constructor(world: World, cluster: NatsCluster, nc: Client) {
    this.world = world;
    this.#cluster = cluster;
    this.client = nc;
  }

  /** FLEET is an R3 stream. The line between the daemons leads through a proxy. */
  static async start(binary: ServerBinary, { shared = false } = {}): Promise<HubCluster> {
    const cluster = await startCluster({ binary });
    const nc = await client(cluster.urls);
    const subjects = ['fleet.>'];
    await makeStream(nc, { name: 'FLEET', subjects, num_replicas: 3, duplicate_window: 1e9 });
    const { hub, ...plants } = fanIn(['plant-a']);
    const topology = { nats: { servers: cluster.urls } };
    const world = await World.make({ hub: { ...hub, streams: {}, topology }, ...plants }, { binary, lines: true });
    if (shared) await world.cluster('hub').link('telemetry', { to: { ...toFleet, shared }, start: 'all' });
    await world.start();
    return new HubCluster(world, cluster, nc);
  }

  /** An application that writes FLEET too. */
  feedForeign(perSecond: number): Promise<Feed> {
    const [url] = this.#cluster.urls;
    return Feed.start({
      url: url!,
      stream: 'FLEET',
      own: 'fleet.local.>',
      subject: (number) => `fleet.local.${number % 7}`,
      label: 'local',
      payloadBytes: 128,
      headers: () => [],
      perSecond,
      count: Number.POSITIVE_INFINITY,
    });
  }

  /** How the hub writes FLEET. */
  async mode(): Promise<string | undefined> {
    return (await this.hub.daemon.lane(hubLane)).mode;
  }

  get plant(): TestCluster {
    return this.world.cluster('plant-a');
  }

  get hub(): TestCluster {
    return this.world.cluster('hub');
  }

  /** Records that FLEET holds; undefined while nobody says. */
  async count(): Promise<number | undefined> {
    try {
      return (await call<{ state: { messages: number } }>(this.client, `${api}.STREAM.INFO.FLEET`)).state.messages;
    } catch {
      // Between two leaders.
      return undefined;
    }
  }

  /** The server that leads FLEET. */
  async leader(): Promise<NatsServer> {
    const find = async () => {
      const info = await call<{ cluster: { leader?: string } }>(this.client, `${api}.STREAM.INFO.FLEET`);
      return this.#cluster.servers.find(({ name, running }) => running && name === info.cluster.leader);
    };
    const quiet = () => find().catch(() => undefined);
    return until(quiet, { what: 'a leader of FLEET', deadlineMs: 60_000 });
  }

  /** Reads FLEET and TELEMETRY, and judges. */
  async judge(): Promise<{ readonly verdict: Verdict; readonly foreign: readonly Stored[] }> {
    await this.#cluster.ready();
    const source = await this.plant.read('TELEMETRY');
    const subject = (record: Stored) => `fleet.plant-a.${record.subject}`;
    const { verdicts, foreign } = judge(await readStream((await this.leader()).url, 'FLEET'), 'hub/FLEET', [
      { lane: hubLane, source, subject },
    ]);
    return { verdict: verdicts[hubLane]!, foreign };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.world[Symbol.asyncDispose]();
    await this.client.close();
    await this.#cluster.dispose();
  }
}
