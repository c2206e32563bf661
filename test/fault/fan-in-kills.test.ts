import { expect, test } from 'vitest';
import { perfect } from '../support/oracle.ts';
import { Outages, type Victim } from '../support/outages.ts';
import { Seed } from '../support/seed.ts';
import { fanIn, World } from '../support/world.ts';

const perPlant = 50_000;
const lanes = [
  { lane: 'telemetry/plant-a/hub', stream: 'TELEMETRY' },
  { lane: 'telemetry/plant-b/hub', stream: 'TELEMETRY' },
];
const victims: readonly Victim[] = [
  'server hub',
  'server plant-a',
  'daemon hub',
  'daemon plant-a',
  'daemon plant-b',
  'server hub',
  'daemon hub',
  'daemon plant-a',
];

test('100,000 records are stored exactly once, in order per plant, through kills of every server and daemon', async () => {
  const seed = Seed.announced('kills');
  await using world = await World.make(fanIn());
  await world.start();
  // Both plants use the same message ids, as sensors that count from 0 do.
  const load = { perSecond: 3_000, count: perPlant, payloadBytes: 1024 };
  await using a = await world.cluster('plant-a').feed('TELEMETRY', load);
  await using b = await world.cluster('plant-b').feed('TELEMETRY', load);
  const published = (): number => a.accepted + b.accepted;
  await using outages = new Outages(world, () => `${published()} published`);
  const at = Array.from({ length: victims.length + 1 }, () => seed.between(2_000, 2 * perPlant - 4_000));
  at.sort((x, y) => x - y);
  // One outage is longer than the sink's duplicate window of 1 s.
  const order = seed.shuffled([...victims, 'long']);
  const kills = order.map((victim, index) => {
    const due = () => published() >= at[index]!;
    if (victim === 'long') return outages.kill('server hub', due, 2_500);
    return outages.kill(victim as Victim, due, seed.between(0, 900));
  });
  try {
    await Promise.all([a.reached(), b.reached(), ...kills]);
    outages.tell('all published');
    for (const { lane } of lanes) await world.stored(lane, perPlant);
    outages.tell('all stored');
  } finally {
    console.info(outages.story);
  }
  const { verdicts, foreign } = await world.judge({ cluster: 'hub', stream: 'FLEET' }, lanes);
  expect(verdicts).toEqual({ [lanes[0]!.lane]: perfect(perPlant), [lanes[1]!.lane]: perfect(perPlant) });
  expect(foreign).toEqual([]);
});
