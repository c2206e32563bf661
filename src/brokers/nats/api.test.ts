import { expect, test } from 'vitest';
import { parseTime } from './api.ts';

test.each([
  ['2026-11-22T16:45:02.459767676Z', 1795365902, 459767676],
  ['2026-11-22T16:45:02.4Z', 1795365902, 400000000],
  ['2026-11-22T16:45:02.000000001Z', 1795365902, 1],
  ['2026-11-22T16:45:02Z', 1795365902, 0],
  ['2026-11-22T18:45:02.5+02:00', 1795365902, 500000000],
  ['1970-01-01T00:00:00Z', 0, 0],
])('%s', (text, seconds, nanos) => {
  expect(parseTime(text)).toEqual({ seconds, nanos });
});

test('what is no time is an error', () => {
  expect(() => parseTime('yesterday')).toThrow('not a time: yesterday');
});
