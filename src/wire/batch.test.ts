import { fromBinary } from '@bufbuild/protobuf';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { BatchBuilder, decodeBatch } from './batch.ts';
import { decodeFrame } from './frame.ts';
import { FrameSchema, RecordListSchema } from './gen/causeway/v1/causeway_pb.ts';
import { FailureError } from './reasons.ts';
import { RecordView } from './record-view.ts';

const bytes = (max: number) => fc.uint8Array({ maxLength: max });
const record = fc.record({
  step: fc.integer({ min: 1, max: 2 ** 40 }),
  seconds: fc.integer({ min: 0, max: 2 ** 32 - 1 }),
  nanos: fc.integer({ min: 0, max: 999_999_999 }),
  subject: fc.uint8Array({ minLength: 1, maxLength: 40 }),
  headers: bytes(200),
  payload: bytes(300),
  identity: bytes(60),
  path: bytes(60),
});

test('what is packed by hand is what generated code and the view read', () => {
  fc.assert(
    fc.property(fc.array(record, { maxLength: 20 }), fc.nat(2 ** 31), (records, epoch) => {
      const builder = new BatchBuilder('inc', 41, 64 * 1024);
      builder.headSequence = 2 ** 45 + 7;
      let sequence = 41;
      for (const r of records) {
        sequence += r.step;
        expect(builder.append(sequence, r.seconds, r.nanos, r.subject, r.headers, r.payload, r.identity, r.path)).toBe(
          true,
        );
      }
      const frame = builder.frame(epoch, 3, 0);

      const generated = fromBinary(FrameSchema, frame).body;
      if (generated.case !== 'batch') throw new Error('not a batch');
      expect(generated.value.count).toBe(records.length);
      expect(generated.value.firstSequence).toBe(42n);
      expect(generated.value.lastSequence).toBe(BigInt(sequence));
      expect(generated.value.headSequence).toBe(2n ** 45n + 7n);
      const list = fromBinary(RecordListSchema, generated.value.packed).records;

      const batch = decodeBatch(frame);
      expect(batch).toMatchObject({ epoch, frame: 3, incarnation: 'inc', firstSequence: 42, lastSequence: sequence });
      const view = new RecordView(batch.packed);
      let at = 41;
      records.forEach((r, i) => {
        expect(view.next()).toBe(true);
        at += r.step;
        const slice = (a: number, b: number) => Uint8Array.from(view.buffer.subarray(a, b));
        expect([view.sequence, view.seconds, view.nanos]).toEqual([at, r.seconds, r.nanos]);
        expect(slice(view.subjectStart, view.subjectEnd)).toEqual(r.subject);
        expect(slice(view.headersStart, view.headersEnd)).toEqual(r.headers);
        expect(slice(view.payloadStart, view.payloadEnd)).toEqual(r.payload);
        expect(slice(view.identityStart, view.identityEnd)).toEqual(r.identity);
        expect(slice(view.pathStart, view.pathEnd)).toEqual(r.identity.length === 0 ? new Uint8Array() : r.path);
        expect(Uint8Array.from(list[i]!.payload)).toEqual(r.payload);
        expect(list[i]!.sequence).toBe(BigInt(at));
      });
      expect(view.next()).toBe(false);
    }),
  );
});

test('a full batch refuses, and a record larger than the target travels alone', () => {
  const builder = new BatchBuilder('i', 0, 1000);
  const empty = new Uint8Array();
  expect(builder.append(1, 1, 1, Buffer.from('a'), empty, Buffer.alloc(900))).toBe(true);
  expect(builder.append(2, 1, 1, Buffer.from('a'), empty, Buffer.alloc(900))).toBe(false);
  expect(builder.lastSequence).toBe(1);
  const large = new BatchBuilder('i', 1, 1000);
  expect(large.append(2, 1, 1, Buffer.from('a'), empty, Buffer.alloc(50_000, 7))).toBe(true);
  const view = new RecordView(decodeBatch(large.frame(1, 1, 0)).packed);
  expect(view.next()).toBe(true);
  expect(view.payloadEnd - view.payloadStart).toBe(50_000);
});

test('whatever bytes arrive, decoding answers with a frame or with bad-frame', () => {
  const valid = new BatchBuilder('inc', 0, 1000);
  valid.append(1, 2, 3, Buffer.from('s'), Buffer.from('h'), Buffer.from('p'), Buffer.from('id'), Buffer.from('path'));
  const frame = valid.frame(1, 1, 0);
  const decode = (input: Buffer) => {
    try {
      const decoded = decodeFrame(input);
      if (decoded?.kind === 'batch') {
        const view = new RecordView(decoded.batch.packed);
        while (view.next());
      }
    } catch (error) {
      if (!(error instanceof FailureError)) throw error;
      expect(error.failure.reason).toBe('bad-frame');
    }
  };
  fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), (noise) => decode(Buffer.from(noise))));
  fc.assert(
    fc.property(fc.nat(frame.length - 1), fc.nat(255), fc.nat(frame.length), (at, value, length) => {
      const mutated = Buffer.from(frame);
      mutated[at] = value;
      decode(mutated.subarray(0, length));
    }),
  );
});
