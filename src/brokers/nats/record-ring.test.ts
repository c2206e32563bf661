import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { BatchBuilder, decodeBatch } from '../../wire/batch.ts';
import { payloadDigest, type Witness } from '../../wire/position.ts';
import { RecordView } from '../../wire/record-view.ts';
import type { ExportRules } from '../broker.ts';
import { placesOf, wasAt } from './export-rules.ts';
import { Imports, RecordRing } from './record-ring.ts';

const none = Buffer.alloc(0);
const second = 1_700_000_000;

/** A record of the model: `step` behind the one before it; over a lane it comes from a place, perhaps through another, by JetStream's sources from nowhere. */
interface Drawn {
  readonly step: number;
  readonly bytes: number;
  readonly lane?: 'l/a/x' | 'l/b/x' | 'm/a/x' | 'sources' | undefined;
  readonly from: 'a/S' | 'b/S';
  readonly path: '' | 'c/S' | 'd/S,b/S';
}
type Known = Drawn & { readonly sequence: number };

const drawn: fc.Arbitrary<Drawn> = fc.record({
  step: fc.constantFrom(1, 1, 1, 2, 40),
  bytes: fc.constantFrom(0, 10, 100, 3000),
  lane: fc.constantFrom(undefined, undefined, 'l/a/x', 'l/b/x', 'm/a/x', 'sources'),
  from: fc.constantFrom('a/S', 'b/S'),
  path: fc.constantFrom('', '', 'c/S', 'd/S,b/S'),
});

const identityOf = (record: Known) =>
  record.lane === undefined || record.lane === 'sources'
    ? ''
    : `${record.from}/i/${record.sequence}/${second}000000001`;

function append(batch: BatchBuilder, record: Known): boolean {
  const identity = Buffer.from(identityOf(record));
  const path = identity.length === 0 ? none : Buffer.from(record.path);
  const payload = Buffer.alloc(record.bytes, String(record.sequence));
  return batch.append(record.sequence, second, record.sequence, Buffer.from('s'), none, payload, identity, path);
}

/** Puts records into a ring in batches of so many, or so many bytes, and returns what it took in. */
function fill(ring: RecordRing, records: readonly Drawn[], perBatch: number, batchBytes = 1 << 20): Known[] {
  let sequence = ring.end;
  const known = records.map((record) => {
    sequence += record.step;
    return { ...record, sequence };
  });
  const left = [...known];
  while (left.length > 0) {
    const batch = new BatchBuilder('i', ring.end, batchBytes);
    const imports = new Imports();
    while (left.length > 0 && batch.count < perBatch && append(batch, left[0]!)) {
      const one = left.shift()!;
      if (one.lane === undefined) continue;
      if (one.lane === 'sources') imports.add({ sequence: one.sequence, lane: undefined, places: [] });
      else imports.add({ sequence: one.sequence, lane: one.lane, places: placesOf(identityOf(one), one.path) });
    }
    ring.push(batch, imports.sequences.length === 0 ? undefined : imports);
  }
  return known;
}

/** Everything that a lane gets out of a ring from a position on, batch by batch. */
function take(ring: RecordRing, after: number, rules: ExportRules | undefined, batchBytes: number) {
  const sequences: number[] = [];
  const payloads: Buffer[] = [];
  /** By the last sequence of each batch. */
  const ends = new Map<number, Witness | undefined>();
  let filtered = 0;
  let sourced = 0;
  let largest = 0;
  for (let at = after; at < ring.end; ) {
    const builder = new BatchBuilder('lane', at, batchBytes);
    ring.fill(builder, rules);
    filtered += builder.filtered;
    sourced += builder.sourced;
    if (builder.count > 1) largest = Math.max(largest, builder.rawBytes);
    const batch = decodeBatch(builder.frame(1, 1, 0));
    expect(batch.firstSequence).toBe(at + 1);
    expect(batch.lastSequence).toBeGreaterThan(at);
    expect([builder.lastSeconds, builder.lastNanos]).toEqual([second, batch.lastSequence]);
    const view = new RecordView(batch.packed);
    let count = 0;
    while (view.next()) {
      count++;
      sequences.push(view.sequence);
      payloads.push(Buffer.from(view.buffer.subarray(view.payloadStart, view.payloadEnd)));
    }
    expect(batch.count).toBe(count);
    ends.set(batch.lastSequence, batch.seen);
    at = batch.lastSequence;
  }
  return { sequences, payloads, ends, filtered, sourced, largest };
}

const rules: fc.Arbitrary<ExportRules | undefined> = fc
  .option(
    fc.record({
      sink: fc.constantFrom('a/S', 'b/S', 'c/S', 'z/S'),
      link: fc.constantFrom('l/', 'm/', 'none/'),
      sourced: fc.boolean(),
    }),
    { nil: undefined },
  )
  .map(
    (drawn) =>
      drawn && { sink: drawn.sink, sourced: drawn.sourced, imported: (lane: string) => lane.startsWith(drawn.link) },
  );

test('whatever the rules and wherever it begins, a lane gets every record that is not left out, once and in order', () => {
  fc.assert(
    fc.property(
      fc.array(drawn, { minLength: 1, maxLength: 60 }),
      fc.integer({ min: 1, max: 20 }),
      rules,
      fc.integer({ min: 0, max: 60 }),
      fc.constantFrom(50, 500, 5000, 1 << 20),
      (records, perBatch, rule, begin, batchBytes) => {
        const ring = new RecordRing(1 << 30, 100, { seconds: second, nanos: 100 });
        const known = fill(ring, records, perBatch, batchBytes);
        const after = [100, ...known.map(({ sequence }) => sequence)][begin % (known.length + 1)]!;
        const behind = known.filter(({ sequence }) => sequence > after);
        const kept = behind.filter(
          (record) =>
            rule === undefined ||
            record.lane === undefined ||
            (record.lane === 'sources'
              ? rule.sourced
              : !(rule.imported(record.lane) || wasAt(rule.sink, identityOf(record), record.path))),
        );
        const taken = take(ring, after, rule, batchBytes);
        expect(taken.sequences).toEqual(kept.map(({ sequence }) => sequence));
        expect(taken.payloads).toEqual(kept.map(({ sequence, bytes }) => Buffer.alloc(bytes, String(sequence))));
        const left = behind.filter((record) => !kept.includes(record));
        expect(taken.sourced).toBe(left.filter(({ lane }) => lane === 'sources').length);
        expect(taken.filtered).toBe(left.length - taken.sourced);
        expect(taken.largest).toBeLessThanOrEqual(batchBytes);
        for (const { sequence, bytes } of behind) {
          if (!taken.ends.has(sequence)) continue;
          const position = { incarnation: 'lane', sequence };
          const digest = payloadDigest(Buffer.alloc(bytes, String(sequence)));
          const sent = kept.some((record) => record.sequence === sequence);
          const seen = sent ? undefined : { position, seconds: second, nanos: sequence, digest };
          expect(taken.ends.get(sequence)).toEqual(seen);
        }
      },
    ),
  );
});

describe('a bound', () => {
  test('I5: the oldest make room, and what stands before them is told apart', () => {
    const maxBytes = 20_000;
    const ring = new RecordRing(maxBytes, 0, { seconds: second, nanos: 0 });
    const record: Drawn = { step: 1, bytes: 100, from: 'a/S', path: '' };
    fill(
      ring,
      Array.from({ length: 1000 }, () => record),
      3,
    );
    expect(ring.bytes).toBeLessThanOrEqual(maxBytes);
    expect(ring.end).toBe(1000);
    expect(ring.start).toBeGreaterThan(800);
    expect(take(ring, ring.start, undefined, 1 << 20).sequences[0]).toBe(ring.start + 1);
    expect(() => ring.fill(new BatchBuilder('i', ring.start - 1, 100), undefined)).toThrow(RangeError);
    expect(ring.bytesAfter(ring.end)).toBe(0);
    expect(ring.bytesAfter(ring.start)).toBe(ring.bytes);
    expect(ring.bytesAfter(997)).toBeLessThan(2 * (3 * 150 + 300));
  });

  test('one batch is held, however large', () => {
    const ring = new RecordRing(1000, 0, { seconds: second, nanos: 0 });
    fill(
      ring,
      [10, 50_000, 20].map((bytes): Drawn => ({ step: 1, bytes, from: 'a/S', path: '' })),
      1,
    );
    expect([ring.start, ring.end]).toEqual([2, 3]);
  });

  test('small batches do not keep the room that was made for large ones', () => {
    const ring = new RecordRing(1 << 20, 0, { seconds: second, nanos: 0 });
    fill(
      ring,
      Array.from({ length: 100 }, (): Drawn => ({ step: 1, bytes: 10, from: 'a/S', path: '' })),
      1,
    );
    expect(ring.start).toBe(0);
    expect(ring.bytes).toBeLessThan(100 * 400);
  });
});

test('a record is known by its time, the one before the first too; a number without a record is not', () => {
  const ring = new RecordRing(4000, 100, { seconds: second, nanos: 100 });
  const at = (sequence: number, nanos = sequence) => ring.holds(sequence, { seconds: second, nanos });
  expect([at(100), at(100, 7), at(99), at(101)]).toEqual([true, false, false, false]);
  fill(
    ring,
    Array.from({ length: 6 }, (): Drawn => ({ step: 2, bytes: 10, from: 'a/S', path: '' })),
    3,
  );
  expect([100, 101, 102, 103, 104, 106, 108, 112, 113].map((sequence) => at(sequence))).toEqual([
    true,
    false,
    true,
    false,
    true,
    true,
    true,
    true,
    false,
  ]);
  expect([at(104, 1), at(112, 1)]).toEqual([false, false]);
  // When older ones have gone, the last of them is still known.
  fill(
    ring,
    Array.from({ length: 60 }, (): Drawn => ({ step: 1, bytes: 100, from: 'a/S', path: '' })),
    5,
  );
  expect(ring.start).toBeGreaterThan(112);
  expect([at(ring.start), at(ring.start, 1), at(ring.start - 1)]).toEqual([true, false, false]);
});

test('a batch that does not follow is a mistake', () => {
  const ring = new RecordRing(4000, 5, { seconds: 1, nanos: 1 });
  const batch = new BatchBuilder('i', 6, 100);
  append(batch, { step: 1, bytes: 1, from: 'a/S', path: '', sequence: 7 });
  expect(() => ring.push(batch, undefined)).toThrow(RangeError);
  expect(() => ring.push(new BatchBuilder('i', 5, 100), undefined)).toThrow(RangeError);
});
