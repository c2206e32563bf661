import { create, fromBinary, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { BatchBuilder, decodeBatch } from './batch.ts';
import { deflate, maxInflatedBytes } from './compression.ts';
import { type BatchSchema, Compression, FrameSchema } from './gen/causeway/v1/causeway_pb.ts';

/** A batch of records with these payloads. */
function batchOf(payloads: readonly Uint8Array[]): BatchBuilder {
  const builder = new BatchBuilder('inc', 41, 2 * maxInflatedBytes);
  for (const [i, payload] of payloads.entries())
    builder.append(42 + i, 7, 8, Buffer.from('a.b'), new Uint8Array(), payload);
  return builder;
}

test('a batch that is compressed says the same as one that is not', () => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ maxLength: 2000 }), { minLength: 1, maxLength: 20 }), (payloads) => {
      const plain = batchOf(payloads);
      const packed = Buffer.from(plain.packed);
      const frame = batchOf(payloads).frame(3, 4, 0, deflate(packed));
      const { wireBytes, ...batch } = decodeBatch(frame);
      expect(wireBytes).toBe(frame.length);
      const { wireBytes: _, ...same } = decodeBatch(plain.frame(3, 4, 0));
      expect(batch).toEqual(same);
      expect(batch.packed).toEqual(packed);
      const { value } = fromBinary(FrameSchema, frame).body;
      expect(value).toMatchObject({ compression: Compression.DEFLATE, rawBytes: packed.length });
    }),
  );
});

describe('a compressed batch is bad-frame', () => {
  const { packed } = batchOf([Buffer.alloc(5000, 'x')]);
  const frameOf = (change: MessageInitShape<typeof BatchSchema>): Buffer => {
    const batch = {
      epoch: 1n,
      frame: 1n,
      incarnation: 'inc',
      firstSequence: 42n,
      lastSequence: 42n,
      count: 1,
      compression: Compression.DEFLATE,
      rawBytes: packed.length,
      packed: deflate(packed),
      ...change,
    };
    return Buffer.from(toBinary(FrameSchema, create(FrameSchema, { body: { case: 'batch', value: batch } })));
  };

  test('unless it is sound', () => {
    expect(decodeBatch(frameOf({})).packed).toEqual(packed);
  });

  test.each([
    ['that holds more than it declares', { rawBytes: packed.length - 1 }],
    ['that holds much more than it declares', { rawBytes: 1 }],
    ['that holds less than it declares', { rawBytes: packed.length + 1 }],
    ['that declares nothing', { rawBytes: 0 }],
    ['that declares more than any may hold', { rawBytes: maxInflatedBytes + 1 }],
    ['that is a bomb', { rawBytes: maxInflatedBytes, packed: deflate(Buffer.alloc(64 * 1024 * 1024)) }],
    ['that ends too early', { packed: deflate(packed).subarray(0, -3) }],
    ['that is none', { packed: Buffer.from('not deflated at all') }],
    ['in a way that nobody knows', { compression: 2 as Compression }],
  ])('%s', (_, change) => {
    expect(() => decodeBatch(frameOf(change))).toThrow(
      expect.objectContaining({ failure: expect.objectContaining({ reason: 'bad-frame' }) }),
    );
  });
});
