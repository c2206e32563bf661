import { RetentionPolicy } from '@nats-io/jetstream';
import { expect, test } from 'vitest';
import { eachServer } from '../support/each-server.ts';
import { Outages, type Victim } from '../support/outages.ts';
import { Seed } from '../support/seed.ts';
import { Worker } from '../support/worker.ts';
import { type ClusterSpec, fanIn, World } from '../support/world.ts';

const plants = ['plant-a', 'plant-b'];
const laneOf = (plant: string) => `telemetry/${plant}/hub`;

/** The hub's stream is a queue: what was worked on is gone. */
function queue(): Record<string, ClusterSpec> {
  const clusters = fanIn(plants);
  const subjects = ['fleet.>'];
  const FLEET = { subjects, retention: RetentionPolicy.Workqueue, duplicate_window: 1e9 };
  return { ...clusters, hub: { ...clusters.hub, streams: { FLEET } } };
}

await eachServer('newest', (binary) => {
  test('a queue that is worked on at once, while the hub and its server are killed: each record handed out once, in order', async () => {
    const perPlant = 4_000;
    const seed = Seed.announced('queue');
    await using world = await World.make(queue(), { binary });
    const hub = world.cluster('hub');
    await using worker = await Worker.start(hub.server.url, 'FLEET');
    await world.start();
    const options = { count: perPlant, perSecond: 800, payloadBytes: 200 };
    await using first = await world.cluster('plant-a').feed('TELEMETRY', options);
    await using second = await world.cluster('plant-b').feed('TELEMETRY', options);
    await using outages = new Outages(world, () => `${worker.count} worked on`);
    const victims = seed.shuffled<Victim>(['daemon hub', 'server hub', 'daemon hub', 'server hub']);
    try {
      for (const victim of victims) {
        const goal = Math.min(2 * perPlant - 1, worker.count + seed.between(100, 1_200));
        await outages.kill(victim, () => worker.count >= goal, seed.between(0, 100));
      }
      await Promise.all([first.reached(), second.reached()]);
      await worker.has(2 * perPlant);
      for (const plant of plants) await world.stored(laneOf(plant), perPlant);
    } finally {
      console.info(outages.story);
    }
    const all = Array.from({ length: perPlant }, (_, i) => i + 1);
    for (const plant of plants) expect(worker.positions(laneOf(plant))).toEqual(all);
    expect(worker.count).toBe(2 * perPlant);
  });
});
