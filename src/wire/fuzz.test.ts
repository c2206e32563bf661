import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { BatchBuilder, decodeBatch } from './batch.ts';
import { decodeControl, encodeControl, maxDeclaredLinks } from './control.ts';
import { decodeFrame, encodeFrame, type Opening } from './frame.ts';
import { FailureError } from './reasons.ts';
import { RecordView } from './record-view.ts';

/**
 * Bytes from a peer may be anything. Whatever they are: a value, or the failure `bad-frame`, and memory in the proportion of the bytes
 * that came, not of those that are declared. The corpus holds inputs that are worth their place, one per file, as hex; a name
 * says what is wrong with it. What the fuzzer finds goes there.
 */

const corpusDir = join(import.meta.dirname, 'fuzz-corpus');
const corpus = readdirSync(corpusDir).map((name) => ({
  name,
  bytes: Buffer.from(readFileSync(join(corpusDir, name), 'latin1').replace(/\s/g, ''), 'hex'),
}));

/** What a decoder says of bytes: nothing but a value or `bad-frame` is allowed. */
function verdict(decode: (bytes: Buffer) => unknown, bytes: Buffer): 'taken' | 'bad-frame' {
  try {
    decode(bytes);
    return 'taken';
  } catch (error) {
    if (!(error instanceof FailureError) || error.failure.reason !== 'bad-frame') throw error;
    return 'bad-frame';
  }
}

function walk(packed: Buffer): number {
  const view = new RecordView(packed);
  let records = 0;
  while (view.next()) {
    records++;
    for (const [start, end] of [
      [view.subjectStart, view.subjectEnd],
      [view.headersStart, view.headersEnd],
      [view.payloadStart, view.payloadEnd],
      [view.identityStart, view.identityEnd],
      [view.pathStart, view.pathEnd],
    ] as const)
      if (start > end || end > packed.length)
        throw new Error(`a field from ${start} to ${end} of ${packed.length} bytes`);
  }
  return records;
}

/** Everything that reads bytes of a peer. */
const decoders = {
  decodeFrame,
  decodeControl,
  decodeBatch,
  RecordView: walk,
  'a batch and its records': (bytes: Buffer) => {
    const frame = decodeFrame(bytes);
    if (frame?.kind === 'batch') walk(frame.batch.packed);
  },
} as const;

const opening: Opening = {
  epoch: 7,
  cursor: { incarnation: 'inc', sequence: 2 ** 40 },
  witnesses: [{ position: { incarnation: 'inc', sequence: 9 }, seconds: 1, nanos: 2, digest: Buffer.alloc(32, 3) }],
  creditLimit: 2 ** 33,
  maxFrameBytes: 1 << 24,
  start: {
    at: 'copies',
    copies: [{ index: 'A:b', active: true, records: [{ sequence: 5, digest: Buffer.alloc(32) }] }],
  },
};

/** Good frames of every kind, to be spoilt. */
const good: readonly Buffer[] = [
  encodeFrame({
    kind: 'hello',
    minVersion: 1,
    maxVersion: 2,
    lane: 'telemetry/plant-a/hub',
    role: 'receiver',
    node: 'n',
    session: '0123456789abcdef',
    linkHash: 'h',
    opening,
  }),
  encodeFrame({ kind: 'welcome', version: 2, node: 'n', opening }),
  encodeFrame({
    kind: 'gap',
    epoch: 7,
    frame: 3,
    stripe: 0,
    after: opening.cursor!,
    upTo: { incarnation: 'other', sequence: 1 },
    reason: 'expired',
  }),
  encodeFrame({
    kind: 'ack',
    epoch: 7,
    stored: opening.cursor,
    creditLimit: 2 ** 34,
    arrivedBytes: 2 ** 33,
    arrivedMs: 2 ** 40,
  }),
  encodeFrame({ kind: 'drain', reason: 'draining' }),
  encodeFrame({ kind: 'goodbye', reason: 'internal', detail: 'x'.repeat(600), retryAfterMs: 5 }),
  batchFrame(),
  encodeControl({
    kind: 'greeting',
    minVersion: 1,
    maxVersion: 2,
    cluster: 'hub',
    node: 'n',
    software: 's',
    fileHash: 'f',
    generation: 3,
    beatMs: 5000,
    file: 'hub.yaml',
  }),
  encodeControl({
    kind: 'declaration',
    generation: 3,
    fileHash: 'f',
    links: [{ name: 'telemetry', hash: 'h', body: '{"name":"telemetry"}' }],
  }),
  encodeControl({
    kind: 'verdicts',
    generation: 3,
    verdicts: [{ link: 'telemetry', hash: 'h', reason: 'not-granted', detail: 'd' }],
  }),
  encodeControl({ kind: 'beat', sentMs: 1, echoMs: 2, heldMs: 3, wallMs: 2 ** 41 }),
];

function batchFrame(): Buffer {
  const builder = new BatchBuilder('inc', 0, 1000);
  for (let i = 1; i < 4; i++) {
    const part = (text: string) => Buffer.from(text.repeat(i));
    builder.append(i, 2, 3, part('s'), part('h'), part('p'), part('id'), part('path'));
  }
  builder.headSequence = 99;
  return builder.frame(7, 3, 1);
}

type Spoil =
  | { readonly do: 'set'; readonly at: number; readonly value: number }
  | { readonly do: 'cut'; readonly at: number }
  | { readonly do: 'insert'; readonly at: number; readonly bytes: Uint8Array }
  | { readonly do: 'double'; readonly at: number; readonly length: number };

/** Bytes that mean much in protobuf: largest numbers, tags, lengths that are none. */
const telling = fc
  .constantFrom(
    ...[
      'ffffffffffffffffff01',
      'ffffffff0f',
      'ffffffffffffff7f',
      '8080808080808080808000',
      '80',
      '7f',
      '0a00',
      '1a00',
      '0b0c',
    ],
  )
  .map((hex) => Buffer.from(hex, 'hex'));

const place = fc.nat(400);
const spoil: fc.Arbitrary<Spoil> = fc.oneof(
  fc.record({ do: fc.constant('set' as const), at: place, value: fc.nat(255) }),
  fc.record({ do: fc.constant('cut' as const), at: place }),
  fc.record({
    do: fc.constant('insert' as const),
    at: place,
    bytes: fc.oneof(telling, fc.uint8Array({ maxLength: 12 })),
  }),
  fc.record({ do: fc.constant('double' as const), at: place, length: fc.nat(60) }),
);

function spoilt(bytes: Buffer, spoils: readonly Spoil[]): Buffer {
  let made = Buffer.from(bytes);
  for (const one of spoils) {
    const at = one.at % (made.length + 1);
    if (one.do === 'set' && at < made.length) made[at] = one.value;
    else if (one.do === 'cut') made = made.subarray(0, at);
    else if (one.do === 'insert') made = Buffer.concat([made.subarray(0, at), one.bytes, made.subarray(at)]);
    else if (one.do === 'double') made = Buffer.concat([made, made.subarray(at, at + one.length)]);
  }
  return made;
}

describe.each(Object.entries(decoders))('%s', (_name, decode) => {
  it.each(corpus)('stands $name of the corpus', ({ bytes }) => {
    verdict(decode, bytes);
  });

  it('stands noise', () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 300 }), (noise) => void verdict(decode, Buffer.from(noise))));
  });

  it('stands what was good and is spoilt', () => {
    const input = fc.tuple(fc.constantFrom(...good), fc.array(spoil, { minLength: 1, maxLength: 6 }));
    fc.assert(
      fc.property(input, ([bytes, spoils]) => void verdict(decode, spoilt(bytes, spoils))),
      { numRuns: 2000 },
    );
  });
});

describe('what is declared', () => {
  it.each(corpus.filter(({ name }) => name.startsWith('declares-')))('in $name costs no memory', ({ bytes }) => {
    expect(bytes.length).toBeLessThan(200);
    const before = process.memoryUsage();
    for (let i = 0; i < 200; i++) for (const decode of Object.values(decoders)) verdict(decode, bytes);
    const after = process.memoryUsage();
    expect(after.arrayBuffers - before.arrayBuffers).toBeLessThan(16 * 1024 * 1024);
  });

  it('is refused beyond its bounds', () => {
    const link = { name: 'l', hash: 'h', body: '{}' };
    const declaration = (links: readonly (typeof link)[]) =>
      verdict(decodeControl, encodeControl({ kind: 'declaration', generation: 1, fileHash: '', links }));
    expect(declaration(Array(maxDeclaredLinks).fill(link))).toBe('taken');
    expect(declaration(Array(maxDeclaredLinks + 1).fill(link))).toBe('bad-frame');
    expect(declaration([{ ...link, body: 'x'.repeat(64 * 1024 + 1) }])).toBe('bad-frame');
    expect(declaration([{ ...link, name: 'x'.repeat(300) }])).toBe('bad-frame');
    expect(declaration([{ ...link, hash: 'x'.repeat(300) }])).toBe('bad-frame');
    const verdicts = Array(maxDeclaredLinks + 1).fill({ link: 'l', hash: 'h', detail: '' });
    expect(verdict(decodeControl, encodeControl({ kind: 'verdicts', generation: 1, verdicts }))).toBe('bad-frame');
    const witnesses = Array(17).fill(opening.witnesses[0]);
    const welcome = encodeFrame({ kind: 'welcome', version: 2, node: '', opening: { ...opening, witnesses } });
    expect(verdict(decodeFrame, welcome)).toBe('bad-frame');
  });

  it('as the time between beats is at most a minute: a peer has to be heard of some time', () => {
    const greeting = decodeControl(good[7]!);
    if (greeting?.kind !== 'greeting') throw new Error('not a greeting');
    expect(decodeControl(encodeControl({ ...greeting, beatMs: 4_000_000_000 }))).toMatchObject({ beatMs: 60_000 });
  });
});

it('kinds that this version does not know are skipped', () => {
  // Field 100, length-delimited: what a newer peer may send.
  const unknown = Buffer.from('a2060568656c6c6f', 'hex');
  expect(decodeFrame(unknown)).toBeUndefined();
  expect(decodeControl(unknown)).toBeUndefined();
  expect(decodeFrame(Buffer.alloc(0))).toBeUndefined();
});
