import { setTimeout as delay } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { atLeast, type ServerBinary } from '../../src/brokers/nats/server-binary.ts';
import { freePorts } from '../../src/lib/free-ports.ts';
import { eachServer } from '../support/each-server.ts';
import { changeStream, infoOf, makeStream, publishAll } from '../support/nats-rig.ts';
import { header, type Stored } from '../support/oracle.ts';
import { until } from '../support/until.ts';
import { type ClusterSpec, fanIn, type TestCluster, World } from '../support/world.ts';

const laneOf = (plant: string): string => `telemetry/${plant}/hub`;
const external = (domain: string) => ({ name: 'TELEMETRY', external: { api: `$JS.${domain}.API` } });

/** Plants whose servers are leaf nodes of the hub's, each in a domain of its own: what JetStream needs to source across. */
async function leafWorld(plants: readonly string[], binary: ServerBinary): Promise<World> {
  const [port] = await freePorts(1);
  const specs = fanIn(plants);
  const clusters: Record<string, ClusterSpec> = {
    hub: {
      ...specs.hub,
      streams: {},
      server: { jetstream: { domain: 'hub' }, config: `leafnodes { listen: "127.0.0.1:${port}" }` },
    },
  };
  for (const plant of plants)
    clusters[plant] = {
      ...specs[plant],
      // A leaf node's subjects are the hub's too, and so those of the other plant: each has its own.
      streams: { TELEMETRY: { subjects: [`telemetry.${plant}`] } },
      server: { jetstream: { domain: plant }, leafRemotes: [{ url: `nats-leaf://127.0.0.1:${port}` }] },
    };
  const world = await World.make(clusters, { binary });
  for (const name of ['hub', ...plants]) {
    const cluster = world.cluster(name);
    await cluster.edit({ nats: { servers: [cluster.server.url], domain: name } });
  }
  await world.cluster('hub').link('telemetry', { start: 'fromMirror' });
  return world;
}

/** An application that goes on through it all. Every payload is the same; a header has the number. */
class Application {
  count = 0;
  #stopped = false;
  readonly #running: Promise<void>;

  constructor(plant: TestCluster) {
    this.#running = this.#run(plant);
  }

  async #run(plant: TestCluster): Promise<void> {
    const client = await plant.client();
    while (!this.#stopped) {
      await publishAll(client, this.count + 1, this.count + 20, (number) => ({
        subject: `telemetry.${plant.name}`,
        payload: Buffer.from('all is well'),
        headers: Buffer.from(`NATS/1.0\r\nNumber: ${number}\r\n\r\n`),
      }));
      this.count += 20;
      await delay(50);
    }
  }

  async stop(): Promise<number> {
    this.#stopped = true;
    await this.#running;
    return this.count;
  }
}

/**
 * Numbers of a plant's records, whoever brought them. Sorted: while JetStream still sources from the other plant the sink has two
 * writers, and a crash may leave records out of order (docs/delivery.md, id mode).
 */
function numbers(records: readonly Stored[], plant: string): number[] {
  const own = records.filter(({ subject }) => subject.endsWith(`telemetry.${plant}`));
  return own.map((one) => Number(header(one, 'Number'))).sort((a, b) => a - b);
}

function range(first: number, last: number): number[] {
  return Array.from({ length: last - first + 1 }, (_, i) => first + i);
}

/** Waits until the lane knows where it begins, and kills the hub's daemon before anything else. */
async function crashAtDecision(hub: TestCluster, lane: string): Promise<void> {
  await until(async () => (await hub.daemon.lane(lane)).storedSequence !== undefined, {
    what: () => `${lane} to begin\n${hub.daemon.log()}`,
    deadlineMs: 60_000,
    everyMs: 2,
  });
  await hub.daemon.kill();
  await hub.daemon.start();
}

await eachServer('ends', (binary) => {
  test('JetStream sources of two plants with one stream name, taken over one after the other while publishing goes on', async () => {
    const plants = ['plant-a', 'plant-b'];
    await using world = await leafWorld(plants, binary);
    const hub = world.cluster('hub');
    const client = await hub.client();
    const running = plants.map((plant) => new Application(world.cluster(plant)));
    await makeStream(client, { name: 'FLEET', subjects: ['fleet.>'], sources: plants.map(external) });
    const sourced = async () => {
      const soFar = await hub.read('FLEET');
      return plants.every((plant) => numbers(soFar, plant).length > 0);
    };
    await until(sourced, {
      what: 'JetStream to have sourced from both plants',
      deadlineMs: 60_000,
      everyMs: 500,
    });
    await world.start();
    for (const plant of plants) {
      await hub.shows(laneOf(plant), 'start-required', 'parked');
      expect((await hub.daemon.lane(laneOf(plant))).detail).toMatch(/still copies TELEMETRY by itself/);
    }
    await changeStream(client, 'FLEET', { sources: [external('plant-b')] });
    await crashAtDecision(hub, laneOf('plant-a'));
    await hub.shows(laneOf('plant-b'), 'start-required', 'parked');
    await changeStream(client, 'FLEET', { sources: [] });
    await crashAtDecision(hub, laneOf('plant-b'));
    const counts = await Promise.all(running.map((one) => one.stop()));
    for (const [i, plant] of plants.entries()) await world.stored(laneOf(plant), counts[i]!);
    const records = await hub.read('FLEET');
    for (const [i, plant] of plants.entries()) {
      expect(numbers(records, plant)).toEqual(range(1, counts[i]!));
      expect(records.some((one) => header(one, 'Causeway-Lane')?.startsWith(`${laneOf(plant)};`))).toBe(true);
      expect(await hub.daemon.lane(laneOf(plant))).toMatchObject({ gapsTotal: 0, lostTotal: 0, duplicatesTotal: 0 });
    }
  }, 180_000);
});

await eachServer('newest', (binary) => {
  test.runIf(atLeast(binary.version, 2, 12))(
    'a former mirror, in which others have written since, is taken over behind its last copy',
    async () => {
      await using world = await leafWorld(['plant-a'], binary);
      const [hub, plant] = [world.cluster('hub'), world.cluster('plant-a')];
      const client = await hub.client();
      const application = new Application(plant);
      await makeStream(client, { name: 'FLEET', subjects: undefined, mirror: external('plant-a') });
      await until(async () => (await infoOf(client, 'FLEET')).state.last_seq > 50, {
        what: 'JetStream to have mirrored something',
        deadlineMs: 60_000,
      });
      await changeStream(client, 'FLEET', { mirror: undefined, subjects: ['fleet.>'] });
      const mirrored = (await infoOf(client, 'FLEET')).state.last_seq;
      for (const text of ['one', 'two', 'three']) client.publish('fleet.other', text);
      await client.flush();
      await world.start();
      await crashAtDecision(hub, laneOf('plant-a'));
      const count = await application.stop();
      await world.stored(laneOf('plant-a'), count);
      const records = await hub.read('FLEET');
      expect(numbers(records, 'plant-a')).toEqual(range(1, count));
      expect(records.findIndex(({ subject }) => subject === 'fleet.other')).toBe(mirrored);
      expect(await hub.daemon.lane(laneOf('plant-a'))).toMatchObject({ gapsTotal: 0, duplicatesTotal: 0 });
    },
    120_000,
  );

  test('nothing that proves a copy parks the lane, and says what was found', async () => {
    await using world = await World.make(fanIn(['plant-a']), { binary });
    const [hub, plant] = [world.cluster('hub'), world.cluster('plant-a')];
    await hub.link('telemetry', { start: 'fromMirror' });
    const draft = () => ({ subject: 'telemetry.a', payload: Buffer.from('all is well') });
    await publishAll(await plant.client(), 1, 10, draft);
    await world.start();
    await hub.shows(laneOf('plant-a'), 'start-required', 'parked');
    expect((await hub.daemon.lane(laneOf('plant-a'))).detail).toMatch(
      /nothing that JetStream copied from a stream TELEMETRY/,
    );
    // The same sequences and payloads, stored at another time: no mirror.
    await publishAll(await hub.client(), 1, 5, () => ({ ...draft(), subject: 'fleet.other' }));
    await until(
      async () => /nothing is proven.*mirror up to 0/.test((await hub.daemon.lane(laneOf('plant-a'))).detail ?? ''),
      {
        what: 'the lane to look at what came since',
        deadlineMs: 40_000,
      },
    );
    expect(await hub.count('FLEET')).toBe(5);
  });
});
