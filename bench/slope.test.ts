import fc from 'fast-check';
import { expect, test } from 'vitest';
import { slopePerMinute } from './slope.ts';

test('finds the rise of a straight line, wherever it begins', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: -1000, max: 1000 }),
      fc.integer({ min: -100, max: 100 }),
      fc.uniqueArray(fc.integer({ min: 0, max: 600 }), { minLength: 2, maxLength: 20 }),
      (begin, perMinute, seconds) => {
        const samples = seconds.map((second) => ({ atMs: second * 1000, value: begin + (perMinute * second) / 60 }));
        expect(slopePerMinute(samples)).toBeCloseTo(perMinute, 6);
      },
    ),
  );
});

test('noise on both sides of the line does not count, and one moment has no slope', () => {
  const saw = Array.from({ length: 601 }, (_, second) => ({ atMs: second * 1000, value: 100 + (second % 2) * 20 }));
  expect(Math.abs(slopePerMinute(saw))).toBeLessThan(0.01);
  expect(slopePerMinute([])).toBe(0);
  expect(slopePerMinute([{ atMs: 5, value: 7 }])).toBe(0);
  expect(slopePerMinute([5, 9].map((value) => ({ atMs: 5, value })))).toBe(0);
});
