import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { payloadDigest } from '../../wire/position.ts';
import type { CopiedRecord } from '../../wire/start.ts';
import { chooseCopies, firstSince, type JudgedCopies, judgeCopies } from './source-start.ts';

describe('the first record since a time', () => {
  test('is the one that reading from the start would find, whatever was deleted, with few reads', async () => {
    const stream = fc.array(fc.record({ step: fc.nat(3), deleted: fc.boolean() }), { maxLength: 300 });
    await fc.assert(
      fc.asyncProperty(stream, fc.nat(900), fc.nat(50), async (drafts, since, skipped) => {
        let ms = 0;
        const all = drafts.map(({ step, deleted }, i) => {
          ms += step;
          return { sequence: skipped + i + 1, seconds: Math.floor(ms / 1000), nanos: (ms % 1000) * 1e6, ms, deleted };
        });
        const kept = all.filter(({ deleted }) => !deleted);
        const last = all.at(-1)?.sequence ?? skipped;
        let reads = 0;
        const found = await firstSince(since, kept[0]?.sequence ?? last + 1, last, async (from) => {
          reads++;
          return kept.find(({ sequence }) => sequence >= from);
        });
        expect(found).toBe(kept.find((record) => record.ms >= since)?.sequence);
        expect(reads).toBeLessThanOrEqual(10);
      }),
    );
  });

  test('counts nanoseconds', async () => {
    const record = { sequence: 1, seconds: 5, nanos: 999_999 };
    expect(await firstSince(5001, 1, 1, async () => record)).toBeUndefined();
    expect(await firstSince(5000, 1, 1, async () => record)).toBe(1);
  });
});

describe('copies', () => {
  const payload = (sequence: number): Buffer => Buffer.from(`record ${sequence}`);
  /** The own stream: records 50 to 100, of which 97 was deleted. */
  const read = async (sequence: number) =>
    sequence < 50 || sequence > 100 || sequence === 97
      ? undefined
      : { seconds: sequence, nanos: 7, payload: payload(sequence) };
  const copied = (sequence: number, text = payload(sequence)): CopiedRecord => ({
    sequence,
    digest: payloadDigest(text),
  });
  const mirrored = (sequence: number, nanos = 7): CopiedRecord => ({
    ...copied(sequence),
    time: { seconds: sequence, nanos },
  });
  const judge = (index: string, ...records: CopiedRecord[]) =>
    judgeCopies({ index, active: false, records }, 100, read);

  test('of a source are of this stream if one says so and none says otherwise', async () => {
    expect(await judge('S', copied(90), copied(89))).toMatchObject({ upTo: 90, proven: true });
    expect(await judge('S', copied(97), copied(96))).toMatchObject({ upTo: 97, proven: true });
    expect((await judge('S', copied(90), copied(89, payload(88)))).proven).toBe(false);
    expect((await judge('S', copied(101), copied(100))).proven).toBe(false);
    // Gone from here: nothing speaks for it.
    expect((await judge('S', copied(49), copied(48))).proven).toBe(false);
    expect((await judge('S')).proven).toBe(false);
  });

  test('of a mirror end at the newest record that is the same in time too', async () => {
    expect(await judge('', mirrored(90), mirrored(89))).toMatchObject({ upTo: 90, proven: true });
    // Others have written behind it since.
    expect(await judge('', mirrored(102), mirrored(92, 8), mirrored(91))).toMatchObject({ upTo: 91, proven: true });
    expect((await judge('', mirrored(90, 8), mirrored(49))).proven).toBe(false);
  });

  const judged = (index: string, proven: boolean, active = false): JudgedCopies => ({
    index,
    upTo: index.length,
    proven,
    active,
  });
  const choose = (...all: JudgedCopies[]) => chooseCopies(all, 'S', 'S:own');

  test('that are proven alone are taken over', () => {
    expect(choose(judged('S:other', true))).toBe(7);
    expect(choose(judged('S:other', true), judged('S:third', false), judged('', false))).toBe(7);
  });

  test('of several that look alike, those over the own domain are meant', () => {
    expect(choose(judged('S:other', true), judged('S:own', true))).toBe(5);
    expect(choose(judged('S:other', true, true), judged('', true))).toBe(0);
    expect(() => choose(judged('S:other', true), judged('S:th', true))).toThrow(/several streams.*S:other up to 7/);
    // One of them goes on by itself, and nothing tells which is which.
    expect(() => choose(judged('S:other', true), judged('S:th', true, true))).toThrow(/several streams/);
  });

  test('that go on by themselves, or are not proven, or are not there, are not', () => {
    expect(() => choose(judged('S:other', true), judged('S:own', true, true))).toThrow(/take the source out/);
    expect(() => choose(judged('S:other', true, true))).toThrow(/take the source out/);
    expect(() => choose(judged('S:own', false), judged('', false))).toThrow(/S:own up to 5; mirror up to 0/);
    expect(() => choose()).toThrow(/start-required: the sink holds nothing/);
  });
});
