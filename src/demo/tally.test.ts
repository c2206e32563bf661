import { describe, expect, it } from 'vitest';
import { numberOf, type Reading, readingOf } from './reading.ts';
import { isClean, Tally } from './tally.ts';

const reading = (n: number): Reading => readingOf('plant-a', n, Date.UTC(2026, 0, 1), 1000);
const prefix = 'fleet.plant-a.';

/** The verdict over a sink that holds the readings with these numbers, in this order. */
function verdictOf(sent: number, numbers: readonly number[], more: readonly Reading[] = []) {
  const tally = new Tally({ lane: 'telemetry/plant-a/hub', subjectPrefix: prefix, reading });
  for (const { subject, payload } of [...numbers.map(reading), ...more]) tally.observe(`${prefix}${subject}`, payload);
  return tally.verdict(sent);
}

const upTo = (count: number): number[] => Array.from({ length: count }, (_, i) => i + 1);

describe('Tally', () => {
  it('is clean when every record is there once and in order', () => {
    const verdict = verdictOf(3000, upTo(3000));
    expect(verdict).toMatchObject({ sent: 3000, stored: 3000, duplicates: 0, outOfOrder: 0, lost: 0, altered: 0 });
    expect(isClean(verdict)).toBe(true);
  });

  it.each([
    ['lost', 4, [1, 2, 4], { stored: 3, lost: 1 }],
    ['lost at the end', 4, [1, 2], { stored: 2, lost: 2 }],
    ['twice', 3, [1, 2, 2, 3], { stored: 4, duplicates: 1, lost: 0 }],
    ['out of order', 3, [1, 3, 2], { stored: 3, outOfOrder: 1, lost: 0 }],
    ['never sent', 2, [1, 2, 3], { stored: 3, altered: 1, lost: 0 }],
    ['nothing sent', 0, [], { stored: 0 }],
  ])('tells what is %s', (_, sent, numbers, expected) => {
    const verdict = verdictOf(sent, numbers);
    expect(verdict).toMatchObject(expected);
    expect(isClean(verdict)).toBe(false);
  });

  it('tells a record that came through changed', () => {
    const { subject, payload } = reading(2);
    const changed = { subject, payload: payload.replace('"unit"', '"Unit"') };
    expect(verdictOf(2, [1], [changed])).toMatchObject({ stored: 2, altered: 1, lost: 1 });
    expect(verdictOf(2, [1], [{ subject: 'press.other', payload }])).toMatchObject({ altered: 1, lost: 1 });
  });

  it('leaves the records of another lane alone', () => {
    const tally = new Tally({ lane: 'telemetry/plant-a/hub', subjectPrefix: prefix, reading });
    expect(tally.observe('fleet.plant-b.press.1.temperature', reading(1).payload)).toBe(false);
    expect(tally.verdict(1)).toMatchObject({ stored: 0, lost: 1 });
  });
});

describe('readingOf', () => {
  it('makes the same reading from the same number, and says which it is', () => {
    for (const n of [1, 2, 500, 1_234_567]) {
      expect(reading(n)).toEqual(reading(n));
      expect(numberOf(reading(n).payload)).toBe(n);
      expect(JSON.parse(reading(n).payload)).toMatchObject({ plant: 'plant-a', n });
      expect(reading(n).subject).toMatch(/^press\.\d+\.(temperature|pressure|vibration)$/);
    }
    expect(numberOf('hello')).toBeUndefined();
  });
});
