import { describe, expect, it } from 'vitest';
import { numberOf, orderOf, readingOf, recipeOf, type SentRecord } from './records.ts';
import { isClean, Tally } from './tally.ts';

const pace = { startMs: Date.UTC(2026, 0, 1), perSecond: 1000 };
const begins = 'fleet.plant-a.';
const record = (n: number): SentRecord => {
  const { subject, payload } = readingOf('plant-a', n, pace);
  return { subject: `${begins}${subject}`, payload };
};

/** The verdict over a sink that holds the records with these numbers, in this order. */
function verdictOf(sent: number, numbers: readonly number[], more: readonly SentRecord[] = []) {
  const tally = new Tally({ lane: 'telemetry/plant-a/hub', begins, record });
  for (const { subject, payload } of [...numbers.map(record), ...more]) tally.observe(subject, payload);
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
    const { subject, payload } = record(2);
    const changed = { subject, payload: payload.replace('"unit"', '"Unit"') };
    expect(verdictOf(2, [1], [changed])).toMatchObject({ stored: 2, altered: 1, lost: 1 });
    expect(verdictOf(2, [1], [{ subject: `${begins}press.other`, payload }])).toMatchObject({ altered: 1, lost: 1 });
  });

  it('leaves the records of another lane alone', () => {
    const tally = new Tally({ lane: 'telemetry/plant-a/hub', begins, record });
    expect(tally.observe('fleet.plant-b.press.1.temperature', record(1).payload)).toBe(false);
    expect(tally.verdict(1)).toMatchObject({ stored: 0, lost: 1 });
  });
});

describe.each([
  ['readingOf', readingOf, /^press\.\d+\.(temperature|pressure|vibration)$/],
  ['recipeOf', recipeOf, /^recipe\.[a-z]+$/],
  ['orderOf', orderOf, /^order\.plant-a\.[a-z]+$/],
])('%s', (_, make, subject) => {
  it('makes the same record from the same number, and says which it is', () => {
    for (const n of [1, 2, 500, 1_234_567]) {
      expect(make('plant-a', n, pace)).toEqual(make('plant-a', n, pace));
      expect(numberOf(make('plant-a', n, pace).payload)).toBe(n);
      expect(JSON.parse(make('plant-a', n, pace).payload)).toMatchObject({ n, from: 'plant-a' });
      expect(make('plant-a', n, pace).subject).toMatch(subject);
    }
    expect(numberOf('hello')).toBeUndefined();
  });
});
