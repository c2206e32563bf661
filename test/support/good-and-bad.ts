/** A world for tests of what is wrong: the hub and `plant-a` are well throughout, `plant-b` is what a test makes of it. */
import type { Feed } from './feed.ts';
import { authorityIn, ScriptedPeer, type ScriptedPeerOptions } from './scripted-peer.ts';
import { fanIn, type TestCluster, World } from './world.ts';

export const goodLane = 'telemetry/plant-a/hub';
export const badLane = 'telemetry/plant-b/hub';
/** Of the link that the hub declares with the scripted peer `ghost`. */
export const ghostLane = 'ghostly/ghost/hub';
/** Of a link whose sink stream SECOND is not there. */
export const sinklessLane = 'second/plant-a/hub';

type Topology = Readonly<Record<string, unknown>>;

export class GoodAndBad implements AsyncDisposable {
  readonly world: World;
  readonly hub: TestCluster;
  readonly plantA: TestCluster;
  readonly plantB: TestCluster;
  /** `127.0.0.1:PORT` where the hub listens. */
  readonly listen: string;
  readonly #feed: Feed;
  #fed = 0;

  private constructor(world: World, feed: Feed, listen: string) {
    this.world = world;
    this.hub = world.cluster('hub');
    this.plantA = world.cluster('plant-a');
    this.plantB = world.cluster('plant-b');
    this.#feed = feed;
    this.listen = listen;
  }

  /** The daemons of the hub and of plant-a run. */
  static async start(): Promise<GoodAndBad> {
    const specs = fanIn();
    const world = await World.make({
      ...specs,
      hub: {
        ...specs.hub,
        peers: ['ghost'],
        streams: { ...specs.hub!.streams, GHOSTLY: { subjects: ['ghostly.>'] } },
        links: {
          ...specs.hub!.links,
          ghostly: { kind: 'fan-in', from: { cluster: 'ghost', stream: 'S' }, to: { stream: 'GHOSTLY' } },
          second: {
            kind: 'fan-in',
            from: { cluster: 'plant-a', stream: 'TELEMETRY' },
            to: { stream: 'SECOND', subject: 'second.{subject}' },
          },
        },
      },
    });
    try {
      await world.start('hub', 'plant-a');
      const feed = await world.cluster('plant-a').feed('TELEMETRY', { count: 0 });
      const all = new GoodAndBad(world, feed, (await world.cluster('hub').daemon.status()).listen!);
      await all.goesOn();
      return all;
    } catch (error) {
      await world[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** Records that plant-a has published. */
  get fed(): number {
    return this.#fed;
  }

  /** The good plant publishes some more, and they arrive. */
  async goesOn(): Promise<void> {
    this.#fed += 50;
    this.#feed.allow(this.#fed);
    await this.#feed.reached();
    await this.world.stored(goodLane, this.#fed);
  }

  /** Starts the daemon of plant-b with a changed file; at the end it is killed, and its file as it was. */
  async plantBWith(change: Topology): Promise<AsyncDisposable> {
    const { plantB } = this;
    const before = plantB.topology;
    await plantB.edit(change);
    await plantB.daemon.start();
    return {
      [Symbol.asyncDispose]: async () => {
        await plantB.daemon.kill();
        await plantB.write(before);
      },
    };
  }

  /** Runs the daemon of plant-b with a changed file until it gives up, and returns what it says. */
  async plantBRefuses(change: Topology): Promise<{ readonly code: number | null; readonly said: string }> {
    const { plantB } = this;
    const before = plantB.topology;
    await plantB.edit(change);
    try {
      await plantB.daemon.launch();
      const { code } = await plantB.daemon.exited;
      return { code, said: plantB.daemon.lastRun() };
    } finally {
      await plantB.write(before);
    }
  }

  /** A peer that dials the hub as `ghost`, unless told otherwise. */
  async ghost(change: Partial<ScriptedPeerOptions> = {}): Promise<ScriptedPeer> {
    return ScriptedPeer.make({
      address: this.listen,
      expect: 'hub',
      authority: await authorityIn(this.world.dir),
      certificate: { cluster: 'ghost' },
      ...change,
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#feed[Symbol.asyncDispose]();
    await this.world[Symbol.asyncDispose]();
  }
}
