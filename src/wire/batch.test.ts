import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { BatchBuilder, decodeBatch, maxIncarnationBytes } from './batch.ts';
import { decodeFrame } from './frame.ts';
import { BatchSchema, FrameSchema, RecordListSchema } from './gen/causeway/v1/causeway_pb.ts';
import { payloadDigest } from './position.ts';
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

test('a batch without records says how far its source has come, and how many it left out', () => {
  const builder = new BatchBuilder('i', 41, 1000);
  builder.pass(43, 100, 1, Buffer.from('x'));
  builder.pass(50, 101, 2, Buffer.from('y'));
  expect(builder).toMatchObject({ count: 0, filtered: 2, rawBytes: 0, capacityBytes: 0, firstSeconds: 100 });
  expect([builder.lastSeconds, builder.lastNanos]).toEqual([101, 2]);
  builder.headSequence = 60;
  const batch = decodeBatch(builder.frame(3, 9, 0));
  expect(batch).toMatchObject({ epoch: 3, frame: 9, firstSequence: 42, lastSequence: 50, count: 0, headSequence: 60 });
  expect(new RecordView(batch.packed).next()).toBe(false);
  // And it may still take some in.
  expect(builder.append(51, 102, 3, Buffer.from('a'), new Uint8Array(), Buffer.alloc(5000))).toBe(true);
  builder.pass(52, 103, 4, Buffer.from('z'));
  expect(builder).toMatchObject({ count: 1, filtered: 3, firstSeconds: 100, lastSeconds: 103, lastSequence: 52 });
  const view = new RecordView(decodeBatch(builder.frame(3, 9, 0)).packed);
  expect([view.next(), view.sequence, view.next()]).toEqual([true, 51, false]);
});

test('where the last record is left out, the batch says which one it was; where it holds that record, it does not', () => {
  const at = (sequence: number) => ({ incarnation: 'i', sequence });
  const seenBy = (builder: BatchBuilder) => decodeBatch(builder.frame(1, 1, 0)).seen;
  const builder = new BatchBuilder('i', 0, 1000);
  expect(seenBy(builder)).toBeUndefined();
  builder.pass(1, 100, 1, Buffer.from('x'));
  builder.pass(3, 0xfffffffe, 999_999_999, Buffer.alloc(0));
  const empty = { position: at(3), seconds: 0xfffffffe, nanos: 999_999_999, digest: payloadDigest(Buffer.alloc(0)) };
  expect(seenBy(builder)).toEqual(empty);
  builder.append(4, 101, 2, Buffer.from('a'), new Uint8Array(), Buffer.from('p'));
  expect(seenBy(builder)).toBeUndefined();
  builder.pass(9, 102, 3, Buffer.from('z'));
  expect(seenBy(builder)).toEqual({ position: at(9), seconds: 102, nanos: 3, digest: payloadDigest(Buffer.from('z')) });
  const packed = new BatchBuilder('other', 0, 1000);
  packed.append(11, 103, 4, Buffer.from('a'), new Uint8Array(), Buffer.from('p'));
  const { packed: buffer } = packed;
  const records = {
    buffer,
    start: 0,
    end: buffer.length,
    count: 1,
    firstSeconds: 103,
    sequence: 11,
    seconds: 103,
    nanos: 4,
  };
  expect(builder.copy(records)).toBe(true);
  expect(seenBy(builder)).toBeUndefined();
});

test('the longest header there can be fits in front of the records, and generated code reads it', () => {
  const most = Number.MAX_SAFE_INTEGER;
  const incarnation = 'i'.repeat(maxIncarnationBytes);
  const builder = new BatchBuilder(incarnation, most - 3, 1000);
  builder.append(most - 1, 1, 2, Buffer.from('s'), new Uint8Array(), Buffer.alloc(300_000, 7));
  builder.pass(most, 0xffffffff, 999_999_999, Buffer.from('left out'));
  builder.headSequence = most;
  builder.count = 0xffffffff;
  const frame = builder.frame(most, most, 0xffffffff);
  // What is left of the room: more than the 2 bytes that each of 3 sizes would take if they were of 32 bits.
  expect(frame.byteOffset).toBeGreaterThanOrEqual(3 * 2);
  const digest = payloadDigest(Buffer.from('left out'));
  const seen = { position: { incarnation, sequence: most }, seconds: 0xffffffff, nanos: 999_999_999, digest };
  const numbers = { epoch: most, frame: most, stripe: 0xffffffff, firstSequence: most - 2, lastSequence: most };
  expect(decodeBatch(frame)).toMatchObject({ ...numbers, count: 0xffffffff, headSequence: most, seen });
  const generated = fromBinary(FrameSchema, frame).body;
  if (generated.case !== 'batch') throw new Error('not a batch');
  expect(generated.value).toMatchObject({ lastSeconds: 0xffffffff, lastNanos: 999_999_999 });
  expect(Buffer.from(generated.value.lastDigest)).toEqual(digest);
});

test.each([0, 15, 17])('a digest of %d bytes is a bad frame', (length) => {
  const batch = { incarnation: 'i', firstSequence: 1n, lastSequence: 1n, lastSeconds: 1 };
  const bytes = toBinary(BatchSchema, create(BatchSchema, batch));
  const body = Buffer.concat([bytes, Buffer.from([0x6a, length]), Buffer.alloc(length)]);
  const frame = (content: Buffer) => Buffer.concat([Buffer.from([0x1a, content.length]), content]);
  expect(() => decodeBatch(frame(body))).toThrow(
    expect.objectContaining({ failure: { reason: 'bad-frame', detail: 'not a digest' } }),
  );
  expect(decodeBatch(frame(Buffer.from(bytes))).seen).toBeUndefined();
});

test('records copied from batches are the same bytes', () => {
  fc.assert(
    fc.property(fc.array(record, { minLength: 1, maxLength: 20 }), fc.nat(19), (records, split) => {
      const whole = new BatchBuilder('i', 0, 64 * 1024);
      const parts = [new BatchBuilder('i', 0, 64 * 1024), new BatchBuilder('i', 0, 64 * 1024)];
      let sequence = 0;
      records.forEach((r, i) => {
        sequence += r.step;
        for (const builder of [whole, parts[i < split ? 0 : 1]!])
          builder.append(sequence, r.seconds, r.nanos, r.subject, r.headers, r.payload, r.identity, r.path);
      });
      const copy = new BatchBuilder('i', 0, 64 * 1024);
      for (const part of parts) {
        if (part.count === 0) continue;
        const { packed: buffer, count, firstSeconds, lastSequence, lastSeconds: seconds, lastNanos: nanos } = part;
        const records = {
          buffer,
          start: 0,
          end: buffer.length,
          count,
          firstSeconds,
          sequence: lastSequence,
          seconds,
          nanos,
        };
        expect(copy.copy(records)).toBe(true);
      }
      expect(copy.frame(1, 1, 0)).toEqual(whole.frame(1, 1, 0));
      const { firstSeconds, lastSeconds, lastNanos } = whole;
      expect(copy).toMatchObject({ firstSeconds, lastSeconds, lastNanos });
    }),
  );
});

test('whatever bytes arrive, decoding answers with a frame or with bad-frame', () => {
  const valid = new BatchBuilder('inc', 0, 1000);
  valid.append(1, 2, 3, Buffer.from('s'), Buffer.from('h'), Buffer.from('p'), Buffer.from('id'), Buffer.from('path'));
  valid.pass(2, 4, 5, Buffer.from('left out'));
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
