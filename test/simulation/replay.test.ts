import { expect, test } from 'vitest';
import { simulate } from './simulation.ts';
import { worlds } from './worlds.ts';

test.each(Object.keys(worlds))('a seed of %s replays event for event', async (world) => {
  for (const seed of [7, 8]) {
    const first = await simulate({ world, seed, trace: true });
    // Something else in between.
    await simulate({ world: 'pair', seed: 3 });
    const again = await simulate({ world, seed, trace: true });
    expect(again).toEqual(first);
    expect(first.trace.length).toBeGreaterThan(50);
  }
});

test('another seed is another run', async () => {
  const [one, two] = [
    await simulate({ world: 'hub', seed: 1, trace: true }),
    await simulate({ world: 'hub', seed: 2, trace: true }),
  ];
  expect(one.trace).not.toEqual(two.trace);
});
