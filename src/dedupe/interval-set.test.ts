import fc from 'fast-check';
import { expect, test } from 'vitest';
import { IntervalSet } from './interval-set.ts';

/** Whether it holds just these numbers, in as few intervals as can be. */
function check(set: IntervalSet, model: ReadonlySet<number>, upTo: number): void {
  for (let value = 0; value <= upTo; value++)
    if (set.has(value) !== model.has(value)) expect([value, set.has(value)]).toBe('');
  let runs = 0;
  for (const value of model) if (!model.has(value - 1)) runs++;
  expect(set.intervals).toBe(runs);
  expect([...set.bounds()].length).toBe(2 * runs);
  expect(set.last).toBe(Math.max(0, ...model));
}

test('behaves as a set of numbers under any order of adding and deleting, and so does a copy of it', () => {
  const step = fc.record({
    op: fc.constantFrom('add', 'delete', 'range', 'copy'),
    value: fc.integer({ min: 1, max: 30 }),
    more: fc.integer({ min: 0, max: 8 }),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 80 }), (steps) => {
      const set = new IntervalSet();
      const model = new Set<number>();
      const copies: [IntervalSet, Set<number>][] = [];
      for (const { op, value, more } of steps) {
        if (op === 'add') {
          expect(set.add(value)).toBe(!model.has(value));
          model.add(value);
        } else if (op === 'range') {
          set.addRange(value, value + more);
          for (let i = value; i <= value + more; i++) model.add(i);
        } else if (op === 'copy') {
          copies.push([set.copy(), new Set(model)]);
        } else {
          set.delete(value);
          model.delete(value);
        }
      }
      for (const [one, its] of [...copies, [set, model] as const]) check(one, its, 40);
    }),
  );
});

test('the same with so many holes that they take many blocks', () => {
  const upTo = 12_000;
  const set = new IntervalSet();
  const model = new Set<number>();
  const change = (value: number, add: boolean) => {
    if (add) expect(set.add(value)).toBe(!model.has(value));
    else set.delete(value);
    if (add) model.add(value);
    else model.delete(value);
  };
  for (let i = 1; i <= upTo; i += 2) change(i, true);
  const [copy, before] = [set.copy(), new Set(model)];
  // All over the place, and back and forth.
  for (let i = 0; i < upTo; i++) change(1 + ((i * 7919) % upTo), i % 3 !== 0);
  check(set, model, upTo);
  check(copy, before, upTo);
  for (const [first, last] of [
    [2, 9000],
    [1, 1],
    [11_990, 13_000],
  ] as const) {
    set.addRange(first, last);
    for (let i = first; i <= last; i++) model.add(i);
  }
  check(set, model, 13_001);
});

test('numbers added in order take one interval', () => {
  const set = new IntervalSet();
  for (let value = 5; value < 10_000; value++) set.add(value);
  expect(set.intervals).toBe(1);
});
