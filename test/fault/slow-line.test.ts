import { expect, test } from 'vitest';
import { perfect } from '../support/oracle.ts';
import { Outages } from '../support/outages.ts';
import { until } from '../support/until.ts';
import { type ClusterSpec, fanIn, World } from '../support/world.ts';

/** 50 kbit/s, in each direction. */
const slow = 50_000 / 8;
const ups = ['A', 'B', 'C'];
const up = (stream: string) => `up-${stream.toLowerCase()}/plant-a/hub`;
const down = 'recipes/hub/plant-a';
const lanes = [...ups.map(up), down];

/** A plant with three streams that go up, and one that comes down. */
function plantAndHub(): Record<string, ClusterSpec> {
  const streams = (names: readonly string[]) =>
    Object.fromEntries(names.map((name) => [name, { subjects: [`${name.toLowerCase()}.>`] }]));
  return {
    hub: {
      streams: { ...streams(['RECIPES']), FLEET: { subjects: ['fleet.>'], duplicate_window: 1e9 } },
      links: {
        ...Object.fromEntries(
          ups.map((stream) => [
            `up-${stream.toLowerCase()}`,
            {
              kind: 'fan-in',
              from: { cluster: ['plant-a'], stream },
              to: { stream: 'FLEET', subject: 'fleet.{origin}.{subject}' },
            },
          ]),
        ),
        recipes: { kind: 'fan-out', from: { stream: 'RECIPES' }, to: { cluster: ['plant-a'], stream: 'RECIPES' } },
      },
    },
    'plant-a': {
      dial: ['hub'],
      streams: { ...streams(ups), RECIPES: { subjects: ['recipes.>'], duplicate_window: 1e9 } },
      grants: [...ups.map((stream) => ({ to: 'hub', read: { stream } })), { to: 'hub', append: { stream: 'RECIPES' } }],
    },
  };
}

test('a line of 50 kbit/s at ten times the load moves on with every lane, oldest first, over one connection', async () => {
  const [upCount, downCount] = [1_000, 2_500];
  await using world = await World.make(plantAndHub(), { lines: true });
  const [hub, plant] = [world.cluster('hub'), world.cluster('plant-a')];
  const line = world.line('plant-a', 'hub');
  line.shape({ bytesPerSecond: slow, delayMs: 20, jitterMs: 10 });
  await world.start();
  const receiver = (lane: string) => (lane === down ? plant : hub).daemon.lane(lane);
  for (const lane of lanes)
    await until(async () => (await receiver(lane)).state === 'live', { what: `${lane} to be live` });
  // The plant may have tried before the hub was there.
  const { connections } = line;
  const feeds = await Promise.all([
    ...ups.map((stream) => plant.feed(stream, { count: upCount, perSecond: 80, payloadBytes: 256, noise: true })),
    hub.feed('RECIPES', { count: downCount, perSecond: 200, payloadBytes: 256, noise: true }),
  ]);
  await using story = new Outages(world, () => feeds.map(({ accepted }) => accepted).join('/'));
  const stored = async (): Promise<number[]> =>
    Promise.all(lanes.map(async (lane) => (await receiver(lane)).storedSequence ?? 0));

  // Longer than any keepalive, and than the beats are waited for: had the line taken in all that it was offered, neither would come.
  let before = await stored();
  for (let round = 1; round <= 6; round++) {
    const upTo = { up: line.passed('to-target') + 24_000, down: line.passed('from-target') + 24_000 };
    await until(() => line.passed('to-target') >= upTo.up && line.passed('from-target') >= upTo.down, {
      what: 'the line to pass 24 kB in each direction',
    });
    const now = await stored();
    story.tell(`${now}; round trip ${(await plant.daemon.peer('hub')).rttMs} ms`);
    for (const [i, lane] of lanes.entries())
      expect({ lane, moved: now[i]! > before[i]! }).toEqual({ lane, moved: true });
    before = now;
  }
  console.info(story.story);
  for (const feed of feeds) await feed.reached();
  // It could not keep up.
  expect(before[0]).toBeLessThan(upCount);
  for (const lane of lanes) {
    expect(await receiver(lane)).toMatchObject({ lane, reconnectsTotal: 0 });
    expect((await plant.daemon.lane(lane)).reconnectsTotal).toBe(0);
  }
  expect(line.connections).toBe(connections);

  line.shape({ bytesPerSecond: Number.POSITIVE_INFINITY });
  await Promise.all(ups.map((stream) => world.stored(up(stream), upCount)));
  await world.stored(down, downCount);
  expect(line.connections).toBe(connections);
  const fleet = await world.judge(
    { cluster: 'hub', stream: 'FLEET' },
    ups.map((stream) => ({ lane: up(stream), stream })),
  );
  expect(fleet.verdicts).toEqual(Object.fromEntries(ups.map((stream) => [up(stream), perfect(upCount)])));
  const recipes = await world.judge({ cluster: 'plant-a', stream: 'RECIPES' }, [
    { lane: down, stream: 'RECIPES', subject: ({ subject }) => subject },
  ]);
  expect(recipes.verdicts).toEqual({ [down]: perfect(downCount) });
});

test('on a line that is full, what shrinks is compressed', async () => {
  const count = 600;
  const lane = 'telemetry/plant-a/hub';
  await using world = await World.make(fanIn(['plant-a']), { lines: true });
  const [hub, plant] = [world.cluster('hub'), world.cluster('plant-a')];
  world.line('plant-a', 'hub').shape({ bytesPerSecond: 4 * slow, delayMs: 20 });
  await using feed = await plant.feed('TELEMETRY', { count, payloadBytes: 1024 });
  await feed.reached();
  await world.start();
  await world.stored(lane, count);
  for (const { daemon } of [hub, plant]) {
    // The sender hears of it a little later.
    const known = async () => (await daemon.lane(lane)).recordsTotal === count;
    await until(known, { what: 'all to be counted' });
    const { bytesTotal, wireBytesTotal } = await daemon.lane(lane);
    expect(bytesTotal).toBeGreaterThan(1024 * count);
    expect(wireBytesTotal).toBeLessThan(bytesTotal / 4);
  }
  const { verdicts } = await world.judge({ cluster: 'hub', stream: 'FLEET' }, [{ lane, stream: 'TELEMETRY' }]);
  expect(verdicts).toEqual({ [lane]: perfect(count) });
});
