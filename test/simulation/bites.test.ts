import { expect, test } from 'vitest';
import { breaks } from './breaks.ts';
import { simulate } from './simulation.ts';

/** No more than each world has in the other tests. */
const seeds = 340;

test('a variant for each invariant', () => {
  const broken = new Set(breaks.map((one) => one.breaks));
  expect([...broken].toSorted()).toEqual(['I1', 'I2', 'I3', 'I4', 'I5', 'I6', 'I7', 'I8', 'I9']);
});

test.each(breaks)('$breaks: a product that $name is caught', async (broken) => {
  // A record that is wrongly taken for held is missing in the end.
  const sign = broken.breaks === 'I3' ? 'I2' : broken.breaks;
  for (let seed = 1; seed <= seeds; seed++) {
    const { violations } = await simulate({ world: broken.world, seed, broken });
    if (violations.some((violation) => violation.startsWith(sign))) return;
  }
  expect.fail(`${seeds} seeds of ${broken.world} saw nothing`);
});
