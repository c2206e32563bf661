import { setTimeout as delay } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { perfect } from '../support/oracle.ts';
import { Outages } from '../support/outages.ts';
import { Seed } from '../support/seed.ts';
import { fanIn, World } from '../support/world.ts';

const lanes = ['telemetry/plant-a/hub', 'telemetry/plant-b/hub'];

/** Longer than the sink's writer waits for an answer, and than any daemon waits for a server. */
const longMs = [6_000, 13_000] as const;
const shortMs = [200, 2_000] as const;

test('servers and daemons that stand still, for a moment or for long, cost time and nothing else', async () => {
  const count = 40_000;
  const seed = Seed.announced('freezes');
  await using world = await World.make(fanIn());
  const [hub, a, b] = ['hub', 'plant-a', 'plant-b'].map((name) => world.cluster(name));
  await world.start();
  const load = { count, perSecond: 1_500, payloadBytes: 512 };
  await using feedA = await a!.feed('TELEMETRY', load);
  await using feedB = await b!.feed('TELEMETRY', load);
  await using story = new Outages(world, () => `${feedA.accepted + feedB.accepted} published`);
  const still = async (name: string, range: readonly [number, number], ...victims: readonly Still[]): Promise<void> => {
    const ms = seed.between(...range);
    for (const victim of victims) await victim.freeze();
    story.tell(`${name} stands still for ${ms} ms`);
    await delay(ms);
    for (const victim of victims) victim.thaw();
    await delay(seed.between(0, 500));
  };
  try {
    await still('server hub', shortMs, hub!.server);
    await still('server hub', [longMs[0], 8_000], hub!.server);
    await still('daemon hub', shortMs, hub!.daemon);
    await still('daemon plant-a', shortMs, a!.daemon);
    await Promise.all([
      still('server hub', longMs, hub!.server),
      still('daemon plant-b', [longMs[0], 9_000], b!.daemon),
    ]);
    await still('server and daemon hub', shortMs, hub!.server, hub!.daemon);
    await Promise.all([feedA.reached(), feedB.reached()]);
    for (const lane of lanes) await world.stored(lane, count);
    story.tell('all stored');
  } finally {
    console.info(story.story);
  }
  const { verdicts } = await world.judge(
    { cluster: 'hub', stream: 'FLEET' },
    lanes.map((lane) => ({ lane, stream: 'TELEMETRY' })),
  );
  expect(verdicts).toEqual(Object.fromEntries(lanes.map((lane) => [lane, perfect(count)])));
});

interface Still {
  freeze(): Promise<void>;
  thaw(): void;
}
