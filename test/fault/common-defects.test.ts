/**
 * What other bridges were seen to do wrong (R1 to R6, R10 to R12, R14, R16 of a study of one of them), done to Causeway: one source, fanned out
 * to two sinks. The tests go on from each other; the last one judges everything.
 */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Feed, payloadOf } from '../support/feed.ts';
import { perfect } from '../support/oracle.ts';
import { until } from '../support/until.ts';
import { type TestCluster, World } from '../support/world.ts';

const MiB = 1024 * 1024;
const budgetBytes = 16 * MiB;
const lanes = { berlin: 'orders/hub/berlin', paris: 'orders/hub/paris' } as const;
type Target = keyof typeof lanes;
const targets = Object.keys(lanes) as Target[];

let world: World;
let hub: TestCluster;
let feed: Feed;
let published = 0;

/** Publishes so many more, and waits until the source has them. */
async function publish(count: number): Promise<void> {
  published += count;
  feed.allow(published);
  await feed.reached();
}

/** Both targets, or those named, hold everything, each once. */
async function arrived(...names: readonly Target[]): Promise<void> {
  for (const name of names.length === 0 ? targets : names) {
    await world.stored(lanes[name], published, 120_000);
    expect(await world.cluster(name).count('ORDERS')).toBe(published);
  }
}

/** The sender knows that it is behind. */
async function isBehind(name: Target): Promise<void> {
  await until(async () => ((await hub.daemon.lane(lanes[name])).lagRecords ?? 0) > 0, { what: `a lag of ${name}` });
}

beforeAll(async () => {
  const target = {
    dial: ['hub'],
    streams: { ORDERS: { subjects: ['orders.>'], duplicate_window: 1e9 } },
    grants: [{ to: 'hub', append: { stream: 'ORDERS' } }],
    topology: { memory: '16MiB' },
  };
  world = await World.make({
    hub: {
      streams: { ORDERS: { subjects: ['orders.>'] } },
      links: {
        orders: { kind: 'fan-out', from: { stream: 'ORDERS' }, to: { cluster: targets, stream: 'ORDERS' } },
      },
      topology: { memory: '16MiB' },
    },
    berlin: target,
    paris: target,
  });
  hub = world.cluster('hub');
  await world.start();
  feed = await hub.feed('ORDERS', { count: 0, payloadBytes: 64 });
});

afterAll(async () => {
  await feed?.[Symbol.asyncDispose]();
  await world?.[Symbol.asyncDispose]();
});

test('R3: ten records, and nothing in the way: ten arrive', async () => {
  await publish(10);
  await arrived();
});

test('R1, R2: of two targets one has its broker down: the other gets everything at once, and that one when it is back', async () => {
  const berlin = world.cluster('berlin');
  await berlin.server.kill();
  await publish(50);
  await arrived('paris');
  await isBehind('berlin');
  await berlin.shows(lanes.berlin, 'nats-unreachable');
  await berlin.server.start();
  await arrived();
});

test('R4, R5: brokers that go and come back, again and again, strand nothing, and end no daemon', async () => {
  for (const name of [...targets, 'hub']) {
    const { server } = world.cluster(name);
    await server.kill();
    if (name !== 'hub') await publish(40);
    await server.start();
  }
  await publish(40);
  await arrived();
  // Whoever ended would not have been started again.
  for (const name of [...targets, 'hub']) expect(world.cluster(name).daemon.running).toBe(true);
});

test('R6: what a target publishes back under the same subjects does not go in circles', async () => {
  await world.cluster('paris').edit({
    links: {
      back: { kind: 'fan-in', from: { cluster: 'hub', stream: 'BACK' }, to: { stream: 'LOOP', subject: '{subject}' } },
      forth: {
        kind: 'fan-out',
        from: { stream: 'LOOP' },
        to: { cluster: 'hub', stream: 'BACK', subject: '{subject}' },
        start: 'all',
      },
    },
  });
  await hub.edit({
    grants: [
      { to: 'paris', read: { stream: 'BACK' } },
      { to: 'paris', append: { stream: 'BACK' } },
    ],
  });
  await hub.addStream('BACK', { subjects: ['back.>'] });
  await world.cluster('paris').addStream('LOOP', { subjects: ['back.>'] });
  for (const name of ['paris', 'hub']) world.cluster(name).daemon.hangUp();
  await until(async () => (await hub.daemon.status()).lanes.some(({ lane }) => lane === 'forth/paris/hub'), {
    what: 'the links',
  });
  const client = await hub.client();
  await client.request('back.event', 'once', { timeout: 5_000 });
  const paris = world.cluster('paris');
  await until(async () => (await paris.daemon.lane('forth/paris/hub')).loopDropsTotal === 1, {
    what: 'the record not to be sent where it began',
  });
  expect([await hub.count('BACK'), await world.cluster('paris').count('LOOP')]).toEqual([1, 1]);
});

test('R10, R12: tens of thousands by one publisher, at full speed, do not stop, and keep their order', async () => {
  await publish(30_000);
  await arrived();
});

test('R11: a target that is down costs no more memory than is configured, and loses nothing', async () => {
  const paris = world.cluster('paris');
  await paris.server.kill();
  const client = await hub.client();
  const count = 4_000;
  for (let number = 0; number < count; number += 100) {
    const batch = Array.from({ length: 100 }, (_, i) => number + i);
    await Promise.all(batch.map((n) => client.request('orders.large', payloadOf('large', n, 10_240, true))));
  }
  await arrivedLarge('berlin', count);
  const { memory } = await hub.daemon.status();
  expect(memory.budgetBytes).toBe(budgetBytes);
  expect(memory.usedBytes).toBeLessThanOrEqual(budgetBytes);
  await isBehind('paris');
  await paris.server.start();
  await arrivedLarge('paris', count);
});

async function arrivedLarge(name: Target, count: number): Promise<void> {
  await world.stored(lanes[name], published + count, 120_000);
  expect(await world.cluster(name).count('ORDERS')).toBe(published + count);
}

test('R14, R16: daemons that are down, or killed in the middle, catch up: everything once, in order', async () => {
  const client = await hub.client();
  const more = async (count: number) => {
    const all = Array.from({ length: count }, (_, i) => client.request('orders.more', String(i), { timeout: 20_000 }));
    await Promise.all(all);
  };
  const total = async () => (await hub.count('ORDERS'))!;
  await Promise.all([hub.daemon.kill(), world.cluster('berlin').daemon.kill()]);
  await more(200);
  await hub.daemon.start();
  await world.cluster('berlin').daemon.start();
  for (const victim of ['paris', 'hub', 'berlin'] as const) {
    await more(1_000);
    await world.cluster(victim).daemon.kill();
    await more(200);
    await world.cluster(victim).daemon.start();
  }
  const count = await total();
  for (const name of targets) {
    await world.stored(lanes[name], count, 120_000);
    const { verdicts, foreign } = await world.judge({ cluster: name, stream: 'ORDERS' }, [
      { lane: lanes[name], stream: 'ORDERS', subject: ({ subject }) => subject },
    ]);
    expect(verdicts).toEqual({ [lanes[name]]: perfect(count) });
    expect(foreign).toEqual([]);
  }
});
