import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { BatchBuilder, decodeBatch } from '../../wire/batch.ts';
import { RecordView } from '../../wire/record-view.ts';
import { provenanceFault, readProvenance, readTail, sinkHeaders } from './provenance.ts';

const labels = { lane: 'fleet/plant-a/hub', source: 'plant-a/SENSORS', place: 'hub/ALL' };
const none = Buffer.alloc(0);

interface Fields {
  readonly sequence?: number;
  readonly seconds?: number;
  readonly nanos?: number;
  readonly headers?: Buffer;
  readonly identity?: Buffer | undefined;
  readonly path?: Buffer | undefined;
}

/** A record as it stands in a batch that has arrived. */
function view(fields: Fields = {}): RecordView {
  const { sequence = 7, seconds = 1795365902, nanos = 12, headers = none, identity, path } = fields;
  const builder = new BatchBuilder('inc1', sequence - 1, 1 << 20);
  builder.append(sequence, seconds, nanos, Buffer.from('a.b'), headers, Buffer.from('x'), identity, path);
  const record = new RecordView(decodeBatch(builder.frame(1, 1, 0)).packed);
  record.next();
  return record;
}

function block(...lines: string[]): Buffer {
  return Buffer.from(`NATS/1.0\r\n${lines.map((line) => `${line}\r\n`).join('')}\r\n`, 'latin1');
}

function linesOf(headers: Buffer): string[] {
  const text = headers.toString('latin1');
  expect(text.startsWith('NATS/1.0\r\n')).toBe(true);
  expect(text.endsWith('\r\n\r\n')).toBe(true);
  return text.slice(10, -4).split('\r\n');
}

/** What of the application's headers arrives at the sink. */
function arrives(headers: Buffer): string[] {
  return linesOf(sinkHeaders(view({ headers }), labels, 'inc1', 6, 41)).slice(4);
}

describe('a record is found again in the sink', () => {
  test('by its headers, where the chain put it', () => {
    const headers = sinkHeaders(view(), labels, 'inc1', 6, 41);
    expect(linesOf(headers)).toEqual([
      'Nats-Expected-Last-Sequence: 41',
      'Causeway-Lane: fleet/plant-a/hub;inc1.7;6',
      'Causeway-Origin: plant-a/SENSORS/inc1/7/1795365902000000012',
      'Causeway-At: hub/ALL/42',
    ]);
    expect(readTail(headers, 'hub/ALL', 42)).toEqual({
      sinkSequence: 42,
      lane: 'fleet/plant-a/hub',
      position: { incarnation: 'inc1', sequence: 7 },
      previous: 6,
      origin: { space: 'plant-a/SENSORS/inc1', sequence: 7, time: 1795365902000000, seconds: 1795365902, nanos: 12 },
    });
  });

  test('anywhere, in id mode', () => {
    const headers = sinkHeaders(view(), labels, 'inc1', 6, undefined);
    expect(linesOf(headers)[0]).toBe('Nats-Msg-Id: plant-a/SENSORS/7/1795365902000000012@hub/ALL');
    expect(readTail(headers, 'hub/ALL', 99)?.position.sequence).toBe(7);
    expect(readTail(headers, 'hub/OTHER', 99)).toBeUndefined();
  });

  test('when it was relayed: the origin stays, the time is that of the lane, the path grows', () => {
    const identity = Buffer.from('edge/S/e1/3/1700000000000000001');
    const headers = sinkHeaders(view({ identity, path: Buffer.from('mid/M') }), labels, 'inc1', 6, 41);
    expect(linesOf(headers).slice(1)).toEqual([
      'Causeway-Lane: fleet/plant-a/hub;inc1.7;6;1795365902.000000012',
      'Causeway-Origin: edge/S/e1/3/1700000000000000001',
      'Causeway-At: hub/ALL/42',
      'Causeway-Path: mid/M,plant-a/SENSORS',
    ]);
    expect(readTail(headers, 'hub/ALL', 42)?.origin).toEqual({
      space: 'edge/S/e1',
      sequence: 3,
      time: 1700000000000000,
      seconds: 1795365902,
      nanos: 12,
    });
    const first = sinkHeaders(view({ identity }), labels, 'inc1', 6, 41);
    expect(linesOf(first).at(-1)).toBe('Causeway-Path: plant-a/SENSORS');
  });

  test('with any sequence, time and name', () => {
    const name = fc.stringMatching(/^[^\s.*>/\\;,\u{d800}-\u{dfff}]{1,12}$/u);
    const sequence = fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER });
    const uint32 = fc.integer({ min: 0, max: 0xffffffff });
    const nanos = fc.integer({ min: 0, max: 999_999_999 });
    fc.assert(
      fc.property(name, sequence, uint32, nanos, fc.boolean(), (stream, number, seconds, nano, chained) => {
        const lane = { ...labels, source: `plant-a/${stream}`, place: `hub/${stream}` };
        const record = view({ sequence: number, seconds, nanos: nano });
        const headers = sinkHeaders(record, lane, 'inc1', number - 1, chained ? 41 : undefined);
        expect(readTail(headers, lane.place, 42)).toMatchObject({
          position: { sequence: number },
          previous: number - 1,
          origin: { space: `plant-a/${stream}/inc1`, sequence: number, seconds, nanos: nano },
        });
        const { identity } = readProvenance(headers, lane.place, 42);
        const relayed = sinkHeaders(view({ identity }), lane, 'inc1', 0, 41);
        expect(readTail(relayed, lane.place, 42)?.origin.space).toBe(`plant-a/${stream}/inc1`);
      }),
      { numRuns: 200 },
    );
  });
});

describe('the way out of a stream', () => {
  const written = sinkHeaders(view({ headers: block('App: 1') }), labels, 'inc1', 6, 41);

  test('takes our headers off, and they prove the origin where they were written', () => {
    const { headers, identity, path } = readProvenance(written, 'hub/ALL', 42);
    expect(linesOf(headers)).toEqual(['App: 1']);
    expect(identity?.toString()).toBe('plant-a/SENSORS/inc1/7/1795365902000000012');
    expect(path).toBeUndefined();
  });

  test('takes off the message id that was ours', () => {
    const inIdMode = sinkHeaders(view({ headers: block('Nats-Msg-Id: app') }), labels, 'inc1', 6, undefined);
    expect(linesOf(readProvenance(inIdMode, 'hub/ALL', 42).headers)).toEqual(['Causeway-Msg-Id: app']);
  });

  test.each([
    ['another stream', 'hub/COPY', 42],
    ['another sequence', 'hub/ALL', 43],
    ['another cluster', 'edge/ALL', 42],
  ])('a copy in %s proves nothing, and our headers go all the same', (_name, place, sequence) => {
    const { headers, identity } = readProvenance(written, place, sequence);
    expect(identity).toBeUndefined();
    expect(linesOf(headers)).toEqual(['Nats-Expected-Last-Sequence: 41', 'App: 1']);
    expect(readTail(written, place, sequence)).toBeUndefined();
  });

  test('a block without anything of ours is the same bytes', () => {
    const headers = block('A:1', 'A:  2 ', 'bin: \x00\xff');
    expect(readProvenance(headers, 'hub/ALL', 1).headers).toBe(headers);
    expect(readTail(headers, 'hub/ALL', 1)).toBeUndefined();
  });

  test('a block of nothing but ours becomes none', () => {
    const headers = block('Causeway-At: hub/ALL/1', 'Causeway-Origin: a/b/c/1/1000000000');
    expect(readProvenance(headers, 'hub/ALL', 1).headers).toHaveLength(0);
  });

  test.each([
    ['lane', 'Causeway-Lane: nonsense'],
    ['origin', 'Causeway-Origin: a/b/1/2'],
  ])('a record with an unreadable %s is not ours', (_name, line) => {
    const key = line.slice(0, line.indexOf(':'));
    const lines = linesOf(written).map((own) => (own.startsWith(key) ? line : own));
    expect(readTail(block(...lines), 'hub/ALL', 42)).toBeUndefined();
  });
});

describe('headers of the application', () => {
  test('arrive byte for byte behind ours', () => {
    const headers = Buffer.concat([
      Buffer.from('NATS/1.0\r\nA:1\r\na:   two  \r\nA:3\r\nempty:\r\nbin: '),
      Buffer.from([0, 1, 0xff, 0x80]),
      Buffer.from('\r\n\r\n'),
    ]);
    const result = sinkHeaders(view({ headers }), labels, 'inc1', 6, 41);
    expect(result.subarray(-(headers.length - 10))).toEqual(headers.subarray(10));
    expect(linesOf(result)).toHaveLength(9);
  });

  test('up to 64 KiB', () => {
    const headers = block(...Array.from({ length: 64 }, (_, i) => `K${i}: ${'v'.repeat(1000)}`));
    expect(arrives(headers)).toEqual(linesOf(headers));
    const { headers: back } = readProvenance(sinkHeaders(view({ headers }), labels, 'inc1', 6, 41), labels.place, 42);
    expect(back).toEqual(headers);
  });

  test('go to a sink that takes TTLs with what is left of theirs', () => {
    const seconds = Math.floor(Date.now() / 1000) - 1000;
    const headers = block('A: 1', 'Nats-TTL: 1h');
    const stored = sinkHeaders(view({ seconds, headers }), labels, 'inc1', 6, 41, { ttl: true, bucket: false });
    const left = /^Nats-TTL: (\d+)s$/.exec(linesOf(stored)[5]!)?.[1];
    expect(Number(left)).toBeLessThanOrEqual(2600);
    expect(Number(left)).toBeGreaterThan(2500);
    // The next hop goes on from there.
    expect(linesOf(readProvenance(stored, labels.place, 42).headers)).toEqual(['A: 1', `Nats-TTL: ${left}s`]);
    expect(arrives(headers)).toEqual(['A: 1', 'Causeway-TTL: 1h']);
  });

  test('are left as they are where nothing stands in the way, a status included', () => {
    const headers = Buffer.from('NATS/1.0 404 Not there \xff\r\nA: 1\r\nNats-Msg-Id: x\r\n\r\n', 'latin1');
    const stored = sinkHeaders(view({ headers }), labels, 'inc1', 6, 41);
    const text = stored.toString('latin1');
    expect(text.startsWith('NATS/1.0 404 Not there \xff\r\nNats-Expected-Last-Sequence: 41\r\n')).toBe(true);
    expect(text.endsWith('\r\nA: 1\r\nCauseway-Msg-Id: x\r\n\r\n')).toBe(true);
    expect(readTail(stored, labels.place, 42)?.position.sequence).toBe(7);
    const back = readProvenance(stored, labels.place, 42).headers.toString('latin1');
    expect(back).toBe('NATS/1.0 404 Not there \xff\r\nA: 1\r\nCauseway-Msg-Id: x\r\n\r\n');
    const alone = sinkHeaders(view({ headers: Buffer.from('NATS/1.0 503\r\n\r\n') }), labels, 'inc1', 6, 41);
    expect(readProvenance(alone, labels.place, 42).headers.toString()).toBe('NATS/1.0 503\r\n\r\n');
  });

  test('cannot pass for ours: neither what a peer left in nor what a new name makes of them', () => {
    const forged = [
      'Causeway-Origin: x/y/z/1/1000000000',
      'Causeway-Lane: other/a/b;i.5;4',
      'Causeway-At: hub/ALL/-',
      'Causeway-Path: q/r',
      'Nats-Origin: x/y/z/1/1000000000',
      'Nats-At: hub/ALL/-',
      'Nats-Lane: other/a/b;i.5;4',
    ];
    expect(arrives(block('A: 1', ...forged))).toEqual(['A: 1']);
  });

  test('a block without its empty line is given one', () => {
    expect(arrives(Buffer.from('NATS/1.0\r\nA: 1'))).toEqual(['A: 1']);
    expect(arrives(Buffer.from('NATS/1.0\r\nA: 1\r\n'))).toEqual(['A: 1']);
  });
});

describe('what cannot be written down is a fault', () => {
  const identity = Buffer.from('edge/S/e1/3/1700000000000000001');
  test.each([
    ['an incarnation that is no label', view(), 'a\r\nb'],
    ['an incarnation that is no label', view(), ''],
    ['a time with 4000000000 nanoseconds', view({ nanos: 4_000_000_000 }), 'inc1'],
    ['an origin that cannot be read', view({ identity: Buffer.from('edge/S/1') }), 'inc1'],
    [
      'an origin that cannot be read',
      view({ identity: Buffer.from('edge\r\nNats-TTL: 1/S/e1/3/1700000000000000001') }),
      'inc1',
    ],
    ['a path that cannot be written', view({ identity, path: Buffer.from('a/b\r\nNats-Rollup: all') }), 'inc1'],
  ])('%s', (fault, record, incarnation) => {
    expect(provenanceFault(record, incarnation)).toBe(fault);
  });

  test('all others are none', () => {
    expect(provenanceFault(view(), 'inc1')).toBeUndefined();
    expect(provenanceFault(view({ identity, path: Buffer.from('mid/M,far/F') }), 'lx2k9_-A')).toBeUndefined();
  });
});
