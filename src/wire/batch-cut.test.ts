import fc from 'fast-check';
import { expect, test } from 'vitest';
import { BatchBuilder, decodeBatch, type InBatch } from './batch.ts';
import { RecordView } from './record-view.ts';

const item = fc.record({
  step: fc.integer({ min: 1, max: 3 }),
  bytes: fc.integer({ min: 0, max: 300 }),
  leftOut: fc.boolean(),
});

/** What a batch says of each of its records, as bytes and in words. */
function recordsOf({ packed }: InBatch): string[] {
  const view = new RecordView(packed);
  const records: string[] = [];
  for (let at = 0; view.next(); at = view.nextAt) records.push(packed.toString('hex', at, view.nextAt));
  return records;
}

test('a batch that is cut says in pieces what it said as a whole, each piece of itself', () => {
  const whole = (items: readonly { step: number; bytes: number; leftOut: boolean }[]) => {
    const builder = new BatchBuilder('inc', 41, 20_000);
    builder.headSequence = 900;
    let sequence = 41;
    for (const { step, bytes, leftOut } of items) {
      sequence += step;
      if (leftOut) builder.pass(sequence, 1000 + sequence, 1, Buffer.alloc(bytes, sequence));
      else
        builder.append(sequence, 1000 + sequence, 1, Buffer.from('s'), new Uint8Array(), Buffer.alloc(bytes, sequence));
    }
    return builder;
  };
  fc.assert(
    fc.property(fc.array(item, { minLength: 1, maxLength: 40 }), fc.integer({ min: 1, max: 2000 }), (items, size) => {
      const rest = whole(items);
      const pieces: BatchBuilder[] = [];
      for (let piece = rest.cut(size); piece !== undefined; piece = rest.cut(size)) pieces.push(piece);
      pieces.push(rest);
      // In no order of making the frames may one write over another.
      const frames = pieces
        .map((piece, i) => ({ i, first: piece.firstSeconds, frame: piece.frame(7, i + 1, 0) }))
        .toReversed();
      const batches = frames.toReversed().map(({ frame }) => decodeBatch(frame));
      const uncut = decodeBatch(whole(items).frame(7, 1, 0));

      expect(batches.flatMap(recordsOf)).toEqual(recordsOf(uncut));
      let sequence = 41;
      for (const [i, batch] of batches.entries()) {
        expect(batch.firstSequence).toBe(sequence + 1);
        const here = items.filter((_, at) => {
          const position = 41 + items.slice(0, at + 1).reduce((sum, { step }) => sum + step, 0);
          return position > sequence && position <= batch.lastSequence;
        });
        expect(batch.count).toBe(here.filter(({ leftOut }) => !leftOut).length);
        expect(batch.filtered).toBe(here.filter(({ leftOut }) => leftOut).length);
        expect(batch.packed.length <= size || batch.count === 1).toBe(true);
        expect(batch.headSequence).toBe(900);
        sequence = batch.lastSequence;
        if (i < batches.length - 1) expect(batch.seen).toBeUndefined();
      }
      expect(sequence).toBe(uncut.lastSequence);
      expect(batches.at(-1)!.seen).toEqual(uncut.seen);
    }),
  );
});

test('nothing is cut off a batch that fits, nor off one record', () => {
  const builder = new BatchBuilder('i', 0, 1000);
  builder.append(1, 1, 1, Buffer.from('s'), new Uint8Array(), Buffer.alloc(500));
  expect(builder.cut(100)).toBeUndefined();
  builder.append(2, 2, 1, Buffer.from('s'), new Uint8Array(), Buffer.alloc(100));
  expect(builder.cut(1000)).toBeUndefined();
  expect(builder.cut(builder.rawBytes)).toBeUndefined();
  expect(builder.cut(builder.rawBytes - 1)).toMatchObject({
    firstSequence: 1,
    lastSequence: 1,
    count: 1,
    lastSeconds: 1,
  });
  expect(builder).toMatchObject({ firstSequence: 2, lastSequence: 2, count: 1, firstSeconds: 2 });
});
