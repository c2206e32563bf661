import { setTimeout as delay } from 'node:timers/promises';
import { expect, test } from 'vitest';
import type { ChaosProxy } from '../support/chaos-proxy.ts';
import { perfect } from '../support/oracle.ts';
import { Outages } from '../support/outages.ts';
import { Seed } from '../support/seed.ts';
import { fanIn, World } from '../support/world.ts';

const lane = 'telemetry/plant-a/hub';

/** Does one thing to a line, and says what it was. */
async function strike(line: ChaosProxy, seed: Seed): Promise<string> {
  switch (seed.pick(['another line', 'cut', 'cut in the middle', 'frozen', 'half open'] as const)) {
    case 'another line': {
      const shape = {
        delayMs: seed.pick([0, 5, 40]),
        jitterMs: seed.pick([0, 10, 80]),
        bytesPerSecond: seed.pick([150_000, 1_000_000, Number.POSITIVE_INFINITY]),
      };
      line.shape(shape);
      return JSON.stringify(shape);
    }
    case 'cut':
      line.cut();
      return 'cut';
    case 'cut in the middle': {
      const way = seed.pick(['to-target', 'from-target'] as const);
      const bytes = way === 'to-target' ? seed.between(1, 60_000) : seed.between(1, 2_000);
      line.cutAfter(bytes, way);
      return `cut after ${bytes} bytes ${way}`;
    }
    case 'frozen': {
      const way = seed.pick(['both', 'to-target', 'from-target'] as const);
      line.freeze(way);
      await delay(seed.between(50, 800));
      line.thaw();
      return `frozen, ${way}`;
    }
    case 'half open':
      // The hub goes on with a connection that is gone, while the plant makes another one.
      line.halfOpen('dialler');
      return 'the plant lost its connection, and the hub knows nothing of it';
  }
}

test('a line that is slow, uneven, cut in the middle of frames, frozen and half open by turns costs no record', async () => {
  const count = 15_000;
  const seed = Seed.announced('chaos');
  await using world = await World.make(fanIn(['plant-a']), { lines: true });
  const plant = world.cluster('plant-a');
  const line = world.line('plant-a', 'hub');
  await world.start();
  await using feed = await plant.feed('TELEMETRY', { count, perSecond: 2_000, payloadBytes: 300 });
  await using story = new Outages(world, () => `${feed.accepted} published`);
  try {
    let stored = 200;
    for (let i = 0; i < 10; i++) {
      // It comes through, whatever the line is like by now, and is struck while it moves.
      await world.stored(lane, Math.min(stored, feed.accepted));
      stored += seed.between(50, 500);
      story.tell(await strike(line, seed));
    }
    line.shape({ delayMs: 0, jitterMs: 0, bytesPerSecond: Number.POSITIVE_INFINITY });
    await feed.reached();
    await world.stored(lane, count);
  } finally {
    console.info(story.story);
  }
  const { verdicts, foreign } = await world.judge({ cluster: 'hub', stream: 'FLEET' }, [{ lane, stream: 'TELEMETRY' }]);
  expect(verdicts).toEqual({ [lane]: perfect(count) });
  expect(foreign).toEqual([]);
});
