import type { NatsConnection } from 'nats';
import { describe, expect, test } from 'vitest';
import { call } from '../../src/brokers/nats/api.ts';
import { eachServer } from '../support/each-server.ts';
import { api, infoOf, numbered, publishAll } from '../support/nats-rig.ts';
import { header, type Stored } from '../support/oracle.ts';
import { until } from '../support/until.ts';
import { fanIn, type TestCluster, World } from '../support/world.ts';

const lane = 'telemetry/plant-a/hub';

/** Positions of what a lane has stored, in the order of the sink. */
function positions(records: readonly Stored[], id = lane): number[] {
  return records.flatMap((record) => {
    const [from, position] = header(record, 'Causeway-Lane')?.split(';') ?? [];
    return from === id ? [Number(position!.slice(position!.lastIndexOf('.') + 1))] : [];
  });
}

function range(first: number, last: number): number[] {
  return Array.from({ length: last - first + 1 }, (_, i) => first + i);
}

const telemetry = numbered('telemetry.a');

async function publish(cluster: TestCluster, from: number, to: number): Promise<void> {
  await publishAll(await cluster.client(), from, to, telemetry);
}

/** The sequence up to which the receiving end knows the lane to be stored; undefined while it knows nothing. */
async function storedAt(hub: TestCluster, id = lane): Promise<number | undefined> {
  return (await hub.daemon.lane(id)).storedSequence;
}

async function decided(hub: TestCluster, sequence: number): Promise<void> {
  await until(async () => (await storedAt(hub)) === sequence, {
    what: () => `the lane to begin behind ${sequence}\n${hub.daemon.log()}`,
  });
}

async function twoClusters(binary: Parameters<typeof World.make>[1]) {
  const world = await World.make(fanIn(['plant-a']), binary);
  return { world, hub: world.cluster('hub'), plant: world.cluster('plant-a') };
}

/** Kills both ends after the decision, publishes, and starts them again: what was decided holds. */
async function crash(world: World, work: () => Promise<void>): Promise<void> {
  await Promise.all([world.cluster('hub').daemon.kill(), world.cluster('plant-a').daemon.kill()]);
  await work();
  await world.start('hub', 'plant-a');
}

async function noGap(hub: TestCluster): Promise<void> {
  expect(await hub.daemon.lane(lane)).toMatchObject({ gapsTotal: 0, lostTotal: 0, state: 'live' });
}

await eachServer('ends', (binary) => {
  test('new: what was there stays away, what is published after the first opening comes, be it during a crash', async () => {
    const { world, hub, plant } = await twoClusters({ binary });
    await using _ = world;
    await hub.link('telemetry', { start: 'new' });
    await publish(plant, 1, 100);
    await world.start();
    await decided(hub, 100);
    await crash(world, () => publish(plant, 101, 200));
    await world.stored(lane, 200);
    expect(positions(await hub.read('FLEET'))).toEqual(range(101, 200));
    await noGap(hub);
    // The sink is lost altogether: what was new once is new still.
    await hub.daemon.stop();
    await hub.deleteStream('FLEET');
    await hub.addStream('FLEET', { subjects: ['fleet.>'] });
    await hub.daemon.start();
    await until(async () => ((await hub.count('FLEET')) ?? 0) >= 100, { what: 'the sink to be filled again' });
    expect(positions(await hub.read('FLEET'))).toEqual(range(101, 200));
  });

  test('a sequence: at that record; one that is still to come is waited for', async () => {
    const { world, hub, plant } = await twoClusters({ binary });
    await using _ = world;
    await hub.link('telemetry', { start: 151 });
    await publish(plant, 1, 100);
    await world.start();
    await hub.shows(lane, 'start-required', 'parked');
    expect((await plant.daemon.lane(lane)).detail).toMatch(/ends at 100/);
    await publish(plant, 101, 170);
    await world.stored(lane, 170);
    await crash(world, () => publish(plant, 171, 200));
    await world.stored(lane, 200);
    expect(positions(await hub.read('FLEET'))).toEqual(range(151, 200));
    await noGap(hub);
  });

  test('a time: at the first record since', async () => {
    const { world, hub, plant } = await twoClusters({ binary });
    await using _ = world;
    await publish(plant, 1, 60);
    // Records before and behind differ by more than a millisecond.
    const between = await passes(plant);
    await publish(plant, 61, 100);
    await hub.link('telemetry', { start: new Date(between).toISOString() });
    await world.start();
    await world.stored(lane, 100);
    await crash(world, () => publish(plant, 101, 120));
    await world.stored(lane, 120);
    expect(positions(await hub.read('FLEET'))).toEqual(range(61, 120));
    await noGap(hub);
  });
});

/** A time behind everything stored so far and before everything that will be. */
async function passes(plant: TestCluster): Promise<number> {
  const at = Date.now() + 2;
  await until(() => Date.now() > at + 2, { what: 'some milliseconds' });
  expect(plant.server.running).toBe(true);
  return at;
}

describe('a file that does not say where', () => {
  test('a sink that holds what no lane wrote parks the lane at both ends, until the file says it', async () => {
    const { world, hub, plant } = await twoClusters({});
    await using _ = world;
    (await hub.client()).publish('fleet.other', 'not of a lane');
    await until(async () => (await hub.count('FLEET')) === 1, { what: 'a record of somebody else' });
    await publish(plant, 1, 50);
    await world.start();
    await Promise.all([hub, plant].map((cluster) => cluster.shows(lane, 'start-required', 'parked')));
    expect((await hub.daemon.lane(lane)).detail).toMatch(
      /FLEET holds records that no lane wrote, as at 1: say start: all/,
    );
    expect(await hub.count('FLEET')).toBe(1);
    await hub.daemon.stop();
    await hub.link('telemetry', { start: 'all' });
    await hub.daemon.start();
    await world.stored(lane, 50);
    // What the file said is of no interest any more.
    await hub.daemon.kill();
    await hub.link('telemetry', { start: 'new' });
    await publish(plant, 51, 100);
    await hub.daemon.start();
    await world.stored(lane, 100);
    expect(positions(await hub.read('FLEET'))).toEqual(range(1, 100));
  });

  test('the second plant of a fan-in just starts, on what the first one has filled', async () => {
    await using world = await World.make(fanIn());
    const hub = world.cluster('hub');
    await publish(world.cluster('plant-a'), 1, 500);
    await publish(world.cluster('plant-b'), 1, 300);
    await world.start('hub', 'plant-a');
    await world.stored(lane, 500);
    // By then it has a checkpoint to begin its next reading from: the lane that is new looks below.
    await hub.daemon.stop();
    await hub.daemon.start();
    await world.start('plant-b');
    await world.stored('telemetry/plant-b/hub', 300);
    const records = await hub.read('FLEET');
    expect(positions(records)).toEqual(range(1, 500));
    expect(positions(records, 'telemetry/plant-b/hub')).toEqual(range(1, 300));
  });

  test('a lane whose checkpoint was lost is found by its records, in a sink that others write too', async () => {
    await using world = await World.make(fanIn());
    const [hub, plant] = [world.cluster('hub'), world.cluster('plant-a')];
    const other = 'telemetry/plant-b/hub';
    await publish(plant, 1, 400);
    await publish(world.cluster('plant-b'), 1, 100);
    await world.start();
    await Promise.all([world.stored(lane, 400), world.stored(other, 100)]);
    const client = await hub.client();
    // What the other lane and the sink itself remember lets the daemon begin its reading behind the records of this one.
    await hub.daemon.stop();
    client.publish('fleet.other', 'not of a lane');
    await client.flush();
    await publish(plant, 401, 500);
    await forget(client, lane);
    await hub.daemon.start();
    await world.stored(lane, 500);
    await crash(world, async () => {
      await call(client, `${api}.STREAM.DELETE.KV_CAUSEWAY`);
      await publish(plant, 501, 600);
    });
    await world.stored(lane, 600);
    const records = await hub.read('FLEET');
    expect(positions(records)).toEqual(range(1, 600));
    expect(positions(records, other)).toEqual(range(1, 100));
  });
});

const checkpoint = (id: string): string => `$KV.CAUSEWAY.checkpoint.FLEET.${id}`;

/** Takes the checkpoint of a lane away. */
async function forget(client: NatsConnection, id: string): Promise<void> {
  await call(client, `${api}.STREAM.PURGE.KV_CAUSEWAY`, { filter: checkpoint(id) });
}

/** The checkpoint of a lane as it stands; undefined if there is none, or it was deleted. */
async function checkpointText(client: NatsConnection, id: string): Promise<string | undefined> {
  const answer = await client.request(
    `${api}.STREAM.MSG.GET.KV_CAUSEWAY`,
    JSON.stringify({ last_by_subj: checkpoint(id) }),
  );
  const { message } = answer.json<{ readonly message?: { readonly data?: string } }>();
  return message?.data === undefined ? undefined : Buffer.from(message.data, 'base64').toString();
}

describe('a link that has another name now', () => {
  const renamed = 'uplink/plant-a/hub';

  async function rename(hub: TestCluster, previously: string | undefined): Promise<void> {
    const links = hub.topology.links as Readonly<Record<string, Readonly<Record<string, unknown>>>>;
    const { previously: _, ...link } = links.telemetry ?? links.uplink!;
    await hub.edit({ links: { uplink: { ...link, ...(previously === undefined ? {} : { previously }) } } });
  }

  async function all(hub: TestCluster): Promise<number[]> {
    const records = await hub.read('FLEET');
    return [...positions(records), ...positions(records, renamed)];
  }

  test('goes on where it was, through a crash at any moment, and the old checkpoint goes', async () => {
    const { world, hub, plant } = await twoClusters({});
    await using _ = world;
    await publish(plant, 1, 300);
    await world.start();
    await world.stored(lane, 300);
    const client = await hub.client();
    await hub.daemon.stop();
    const old = await checkpointText(client, lane);
    expect(old).toContain('"sequence":300');
    await rename(hub, 'telemetry');
    await hub.daemon.start();
    await until(async () => (await storedAt(hub, renamed)) === 300, { what: 'the cursor to be taken over' });
    await until(async () => (await checkpointText(client, lane)) === undefined, { what: 'the old checkpoint to go' });
    // A crash between the two writes: the new one is there, the old one still too.
    await crash(world, async () => {
      await publish(plant, 301, 400);
      client.publish(checkpoint(lane), old);
      await client.flush();
    });
    await world.stored(renamed, 400);
    await until(async () => (await checkpointText(client, lane)) === undefined, { what: 'the old checkpoint to go' });
    // The old name is of no use any more.
    await crash(world, async () => {
      await publish(plant, 401, 500);
      await rename(hub, undefined);
    });
    await world.stored(renamed, 500);
    expect(await all(hub)).toEqual(range(1, 500));
    expect(await hub.daemon.lane(renamed)).toMatchObject({ gapsTotal: 0, duplicatesTotal: 0 });
  });

  test('finds where it was by its records, if the checkpoints are lost; and its witnesses prove the source', async () => {
    const { world, hub, plant } = await twoClusters({});
    await using _ = world;
    await publish(plant, 1, 300);
    await world.start();
    await world.stored(lane, 300);
    await hub.daemon.stop();
    const client = await hub.client();
    await call(client, `${api}.STREAM.DELETE.KV_CAUSEWAY`);
    await rename(hub, 'telemetry');
    await hub.daemon.start();
    await until(async () => (await storedAt(hub, renamed)) === 300, { what: 'the cursor to be taken over' });
    expect(JSON.parse((await checkpointText(client, renamed))!).witnesses).toHaveLength(1);
    await hub.daemon.kill();
    // Another stream under the same name: the witness of the old name tells.
    await plant.daemon.kill();
    await plant.deleteStream('TELEMETRY');
    await plant.addStream('TELEMETRY', { subjects: ['telemetry.>'] });
    await publish(plant, 1, 350);
    await world.start();
    await until(async () => (await hub.daemon.lane(renamed)).gapsTotal === 1, { what: 'the gap to be seen' });
    await until(async () => (await hub.count('FLEET')) === 650, { what: 'the new stream to be stored' });
    expect((await infoOf(client, 'FLEET')).state.last_seq).toBe(650);
  });
});
