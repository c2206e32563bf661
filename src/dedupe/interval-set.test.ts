import fc from 'fast-check';
import { expect, test } from 'vitest';
import { IntervalSet } from './interval-set.ts';

test('behaves as a set of numbers under any order of adding and deleting', () => {
  const step = fc.record({ op: fc.constantFrom('add', 'delete'), value: fc.integer({ min: 1, max: 30 }) });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 80 }), (steps) => {
      const set = new IntervalSet();
      const model = new Set<number>();
      for (const { op, value } of steps) {
        if (op === 'add') {
          expect(set.add(value)).toBe(!model.has(value));
          model.add(value);
        } else {
          set.delete(value);
          model.delete(value);
        }
      }
      for (let value = 0; value <= 31; value++) expect(set.has(value)).toBe(model.has(value));
      let runs = 0;
      for (const value of model) if (!model.has(value - 1)) runs++;
      expect(set.intervals).toBe(runs);
    }),
  );
});

test('numbers added in order take one interval', () => {
  const set = new IntervalSet();
  for (let value = 5; value < 10_000; value++) set.add(value);
  expect(set.intervals).toBe(1);
});
