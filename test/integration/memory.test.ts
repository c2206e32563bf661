/** Many lanes on little memory: one of them stands still, its neighbours go on, and nobody holds more than the budget. */
import { jetstreamManager } from '@nats-io/jetstream';
import { expect, test } from 'vitest';
import type { DaemonStatus } from '../../src/ops/status.ts';
import { perfect } from '../support/oracle.ts';
import { reload } from '../support/reload.ts';
import { until } from '../support/until.ts';
import { type TestCluster, World } from '../support/world.ts';

const MiB = 1024 * 1024;
const numbers = Array.from({ length: 24 }, (_, i) => i + 1);
const laneOf = (number: number) => `l${number}/plant/hub`;
const payloadBytes = 4096;
/** Of the lane that stands still, and of each of the others. */
const [many, few] = [6000, 300];
const all = many + 100;
const budgetBytes = 8 * MiB;
/** A batch that was handed to the transport when there was room for a part of it. */
const batchBytes = 128 * 1024;

/** 24 links from streams of the plant to streams of the hub, of which the first one takes next to nothing. */
function laneForLane(): Promise<World> {
  const topology = { memory: `${budgetBytes / MiB}MiB` };
  const streams = (name: string, of: (number: number) => object) =>
    Object.fromEntries(numbers.map((number) => [`${name}${number}`, of(number)]));
  return World.make({
    hub: {
      topology,
      streams: streams('T', (number) => ({
        subjects: [`t${number}.>`],
        ...(number === 1 ? { max_bytes: 250_000, discard: 'new' } : {}),
      })),
      links: Object.fromEntries(
        numbers.map((number) => {
          const to = { stream: `T${number}`, subject: `t${number}.{subject}` };
          return [`l${number}`, { kind: 'fan-in', from: { cluster: 'plant', stream: `S${number}` }, to }];
        }),
      ),
    },
    plant: {
      topology,
      dial: ['hub'],
      streams: streams('S', (number) => ({ subjects: [`s${number}.>`] })),
      grants: numbers.map((number) => ({ to: 'hub', read: { stream: `S${number}` } })),
    },
  });
}

/** How far the plant's daemon has read the source of the lane that stands still. */
async function readUpTo(plant: TestCluster): Promise<number> {
  const consumers = await (await jetstreamManager(await plant.client())).consumers.list('S1').next();
  return Math.max(0, ...consumers.map(({ delivered }) => delivered.stream_seq));
}

test('a lane whose sink is full takes its part and no more, while 23 others finish; then everything arrives once', async () => {
  await using world = await laneForLane();
  const [hub, plant] = [world.cluster('hub'), world.cluster('plant')];
  for (const number of numbers) {
    await using feed = await plant.feed(`S${number}`, { count: number === 1 ? many : few, payloadBytes });
    await feed.reached();
  }
  const peak = { hub: 0, plant: 0 };
  const look = async (): Promise<readonly DaemonStatus[]> => {
    const both = await Promise.all([hub.daemon.status(), plant.daemon.status()]);
    for (const { cluster, memory } of both) {
      expect(memory.budgetBytes).toBe(budgetBytes);
      const name = cluster as keyof typeof peak;
      peak[name] = Math.max(peak[name], memory.usedBytes);
    }
    return both;
  };
  await world.start();
  let behind = '';
  await until(
    async () => {
      const [atHub] = await look();
      const others = atHub!.lanes.filter(({ lane, storedSequence }) => lane !== laneOf(1) && storedSequence !== few);
      behind = others.map(({ lane, storedSequence }) => `${lane} ${storedSequence}`).join(', ');
      return others.length === 0;
    },
    { deadlineMs: 60_000, everyMs: 20, what: () => `23 lanes to finish: ${behind}` },
  );
  await hub.shows(laneOf(1), 'sink-full');
  const blocked = (await hub.daemon.lane(laneOf(1))).storedSequence ?? 0;
  expect(blocked).toBeLessThan(100);

  // The slow sink holds its source: what is read and not stored fits into the memory of both ends.
  const held = (await readUpTo(plant)) - blocked;
  expect(held * payloadBytes).toBeLessThanOrEqual(2 * budgetBytes);
  await using more = await plant.feed('S1', { count: many, payloadBytes });
  more.allow(all);
  await until(async () => (await plant.daemon.lane(laneOf(1))).headSequence === all, {
    what: 'the plant to hear of more',
  });
  await look();
  expect((await readUpTo(plant)) - blocked).toBe(held);

  const manager = await jetstreamManager(await hub.client());
  await manager.streams.update('T1', { subjects: ['t1.>'], max_bytes: -1 });
  await until(
    async () => {
      const [atHub] = await look();
      return atHub!.lanes.find(({ lane }) => lane === laneOf(1))?.storedSequence === all;
    },
    { deadlineMs: 60_000, everyMs: 20, what: 'the lane that stood still to finish' },
  );
  for (const number of [1, 2, 13, 24]) {
    const lane = laneOf(number);
    const subject = ({ subject: at }: { readonly subject: string }) => `t${number}.${at}`;
    const { verdicts } = await world.judge({ cluster: 'hub', stream: `T${number}` }, [
      { lane, stream: `S${number}`, subject },
    ]);
    expect(verdicts).toEqual({ [lane]: perfect(number === 1 ? all : few) });
  }
  expect(peak.hub).toBeLessThanOrEqual(budgetBytes);
  expect(peak.plant).toBeLessThanOrEqual(budgetBytes + numbers.length * batchBytes);
  // It was short of memory, or else nothing was shown here.
  expect(peak.hub).toBeGreaterThan(budgetBytes / 2);
  await reload(hub, { memory: '32MiB' });
  expect((await hub.daemon.status()).memory.budgetBytes).toBe(32 * MiB);
});
