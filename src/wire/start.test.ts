import { create, toBinary } from '@bufbuild/protobuf';
import { describe, expect, test } from 'vitest';
import { decodeFrame, encodeFrame, type Opening } from './frame.ts';
import { FrameSchema, OpeningSchema, StartSchema, WelcomeSchema } from './gen/causeway/v1/causeway_pb.ts';
import { payloadDigest } from './position.ts';
import { maxCopiedRecords, maxCopies, type Start } from './start.ts';

const opening: Opening = { epoch: 3, witnesses: [], creditLimit: 8, maxFrameBytes: 9 };

function sent(start: Start | undefined): Opening | undefined {
  const bytes = encodeFrame({
    kind: 'welcome',
    version: 2,
    node: 'n',
    opening: start === undefined ? opening : { ...opening, start },
  });
  const frame = decodeFrame(bytes);
  return frame?.kind === 'welcome' ? frame.opening : undefined;
}

describe('the start of a lane on the wire', () => {
  const record = { sequence: 77, digest: payloadDigest(Buffer.from('x')) };
  const starts: Start[] = [
    { at: 'all' },
    { at: 'new' },
    { at: 'sequence', sequence: 2 ** 40 },
    { at: 'sequence', sequence: 0 },
    { at: 'time', timeMs: Date.UTC(2026, 10, 1) },
    { at: 'copies', copies: [] },
    {
      at: 'copies',
      copies: [
        { index: 'TELEMETRY:LTXMcqHH', active: true, records: [record] },
        { index: '', active: false, records: [{ ...record, time: { seconds: 1_700_000_000, nanos: 5 } }] },
      ],
    },
  ];
  test.each(starts.map((start) => [start.at, start] as const))('%s arrives as it was', (_at, start) => {
    expect(sent(start)).toEqual({ ...opening, start });
  });

  test('none stays none', () => {
    expect(sent(undefined)).toEqual(opening);
  });

  test.each([
    ['too many copies', Array.from({ length: maxCopies + 1 }, () => ({ index: 'S', active: false, records: [] }))],
    ['too many records', [{ index: 'S', active: false, records: Array(maxCopiedRecords + 1).fill(record) }]],
    ['a name of any length', [{ index: 'S'.repeat(1000), active: false, records: [] }]],
  ])('%s is refused', (_name, copies) => {
    expect(() => sent({ at: 'copies', copies })).toThrow(/bad-frame/);
  });

  test('a kind of start from a later version is refused, not taken for another one', () => {
    const start = create(StartSchema, {});
    const welcome = create(WelcomeSchema, { version: 2, opening: create(OpeningSchema, { epoch: 1n, start }) });
    const bytes = toBinary(FrameSchema, create(FrameSchema, { body: { case: 'welcome', value: welcome } }));
    expect(() => decodeFrame(Buffer.from(bytes))).toThrow(/bad-frame/);
  });
});
