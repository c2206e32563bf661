import { expect, test } from 'vitest';
import { describeSchedule, drawSchedule, faultKinds, publishedBy, shapes, usualSeeds } from './nemesis-schedule.ts';

test('a seed draws the same schedule each time, and another one another', () => {
  for (const seed of usualSeeds) expect(drawSchedule(seed)).toEqual(drawSchedule(seed));
  const all = Array.from({ length: 200 }, (_, seed) => describeSchedule(drawSchedule(seed)));
  expect(new Set(all).size).toBe(all.length);
});

test('the usual seeds have every shape, every kind of fault and a cluster of three', () => {
  const usual = usualSeeds.map((seed) => drawSchedule(seed));
  expect(new Set(usual.map(({ shape }) => shape))).toEqual(new Set(shapes));
  expect(new Set(usual.flatMap(({ faults }) => faults.map(({ kind }) => kind)))).toEqual(new Set(faultKinds));
  expect(usual.some(({ clusters }) => clusters.some(({ nodes }) => nodes === 3))).toBe(true);
  const turns = usual.flatMap(({ feeds }) => feeds.flatMap(({ generations }) => generations.map(({ turn }) => turn)));
  expect(new Set(turns)).toEqual(new Set(['nothing', 'purged', 'restored']));
});

test('every fault strikes while something is still to be published', () => {
  for (let seed = 0; seed < 200; seed++) {
    const { feeds, faults } = drawSchedule(seed);
    for (const { at } of faults) expect(at).toBeLessThan(publishedBy(feeds));
    for (const { generations } of feeds)
      for (const { count, copyAt = 1 } of generations) expect(copyAt).toBeLessThanOrEqual(count);
  }
});
