import { expect, it } from 'vitest';
import { startText } from './leaves.ts';

it.each([
  ['all', true],
  ['2026-11-01T00:00:00Z', true],
  ['2024-02-29T12:00:00.5+05:30', true],
  ['1970-01-01T00:00:00Z', true],
  ['9999-12-31T23:59:59Z', true],
  ['1969-12-31T23:59:59Z', false],
  ['9999-12-31T23:59:59-01:00', false],
  ['2026-02-29T00:00:00Z', false],
  ['2026-11-01T24:01:00Z', false],
  ['2026-11-01T00:00:00', false],
  ['2026-11-01', false],
  ['7', false],
])('%s as a start: %s', (text, sound) => {
  expect(startText.safeParse(text).success).toBe(sound);
});
