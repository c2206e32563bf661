import { describe, expect, test } from 'vitest';
import type { Source } from '../../src/brokers/broker.ts';
import { payloadDigest } from '../../src/wire/position.ts';
import { SourceProbe } from './source-probe.ts';
import { until } from './until.ts';

/** A stream of some broker, empty at first. */
export interface SourceHarness extends AsyncDisposable {
  /** Appends records whose payloads are `payload(from)` to `payload(to)`; they get the sequences from the next one on. */
  append(from: number, to: number, payload: (number: number) => Buffer, headers?: Buffer): Promise<void>;
  /** A source on the stream that reads ahead so many bytes; `ahead` tells how many it has read or asked for. */
  source(options: { readonly batchBytes: number; readonly prefetchBytes: number }): {
    readonly source: Source;
    readonly ahead: () => number;
  };
  /** Takes the stream away. */
  destroy(): Promise<void>;
}

const KiB = 1024;
const plain = { batchBytes: 64 * KiB, prefetchBytes: 512 * KiB };

/** Payloads of 0 bytes to 1 MiB, most of them small, the same for the same number. */
export function mixedPayload(number: number): Buffer {
  const bytes = number % 97 === 0 ? 1024 * KiB : number % 13 === 0 ? 40 * KiB : number % 5 === 0 ? 0 : number % 400;
  return Buffer.alloc(bytes, String(number));
}

/** What every Source does, whatever it reads. `make` is called per test. */
export function describeSource(name: string, make: () => Promise<SourceHarness>): void {
  describe(`source: ${name}`, () => {
    test('yields every record once, in order, as it was written', async () => {
      await using harness = await make();
      await harness.append(1, 300, mixedPayload);
      const { source } = harness.source(plain);
      const probe = new SourceProbe(source).open();
      await probe.untilRecords(300);
      await harness.append(301, 400, mixedPayload);
      await probe.untilRecords(400);
      probe.close();
      expect(probe.openedAt?.sequence).toBe(0);
      expect(probe.records.map(({ position }) => position.sequence)).toEqual(upTo(400));
      expect(probe.records.every(({ payload }, i) => payload.equals(mixedPayload(i + 1)))).toBe(true);
      expect(probe.faults).toEqual([]);
      expect(probe.gaps).toEqual([]);
    });

    test('never emits more than it was allowed but for one batch, and reads ahead within its bound', async () => {
      await using harness = await make();
      const count = 20_000;
      await harness.append(1, count, (number) => Buffer.alloc(100 + (number % 200), 'x'));
      const options = { batchBytes: 16 * KiB, prefetchBytes: 128 * KiB };
      const { source, ahead } = harness.source(options);
      let pulses = 0;
      // From one byte to several batches.
      const sizes = [1, 40_000, 7000, 16 * KiB, 1, 90_000];
      const pulse = () => sizes[pulses++ % sizes.length]!;
      const probe = new SourceProbe(source, { pulse, ahead, keepPayloads: false }).open();
      await probe.untilRecords(count);
      probe.close();
      expect(probe.records.map(({ position }) => position.sequence)).toEqual(upTo(count));
      expect(probe.faults).toEqual([]);
      expect(probe.largestBatchBytes).toBeLessThanOrEqual(options.batchBytes);
      expect(probe.peakAheadBytes).toBeLessThanOrEqual(options.prefetchBytes + options.batchBytes);
    });

    test('emits nothing until it is allowed to, however much there is', async () => {
      await using harness = await make();
      await harness.append(1, 2000, (number) => Buffer.alloc(1000, String(number)));
      const options = { batchBytes: 16 * KiB, prefetchBytes: 128 * KiB };
      const { source, ahead } = harness.source(options);
      const probe = new SourceProbe(source, { ahead, pulse: () => 0 }).open();
      // It is full when what it holds and what it asked for come to its bound, and stays there.
      await until(() => ahead() > options.prefetchBytes / 2, { what: 'reading ahead' });
      await harness.append(2001, 2100, (number) => Buffer.alloc(1000, String(number)));
      expect(ahead()).toBeLessThanOrEqual(options.prefetchBytes + options.batchBytes);
      expect(probe.records).toEqual([]);
      probe.pull(1);
      await probe.untilRecords(1);
      expect(probe.batches).toBe(1);
      probe.pull(1 << 30);
      await probe.untilRecords(2100);
      probe.close();
      expect(probe.faults).toEqual([]);
      expect(probe.records.map(({ position }) => position.sequence)).toEqual(upTo(2100));
    });

    test('goes on behind a cursor that its witness proves', async () => {
      await using harness = await make();
      await harness.append(1, 100, mixedPayload);
      const first = new SourceProbe(harness.source(plain).source, { settles: false }).open();
      await first.untilRecords(100);
      first.close();
      const cursor = first.records[59]!.position;
      const second = new SourceProbe(harness.source(plain).source);
      second.open({ cursor, witnesses: [first.witness(59)] });
      await second.untilRecords(40);
      second.close();
      expect(second.openedAt).toEqual(cursor);
      expect(second.records.map(({ position }) => position.sequence)).toEqual(upTo(100).slice(60));
      expect(second.records[0]!.position.incarnation).toBe(cursor.incarnation);
      expect(second.gaps).toEqual([]);
      expect([...first.faults, ...second.faults]).toEqual([]);
    });

    test('does not believe a cursor whose record is another one', async () => {
      await using harness = await make();
      await harness.append(1, 100, mixedPayload);
      const first = new SourceProbe(harness.source(plain).source, { settles: false }).open();
      await first.untilRecords(100);
      first.close();
      const cursor = first.records[79]!.position;
      const other = { ...first.witness(79), digest: payloadDigest(Buffer.from('other')) };
      const second = new SourceProbe(harness.source(plain).source);
      second.open({ cursor, witnesses: [other, first.witness(39)] });
      await second.untilRecords(60);
      second.close();
      const [gap] = second.gaps;
      expect(gap).toMatchObject({ after: cursor, upTo: { sequence: 40 }, reason: 'regressed', at: 0 });
      expect(gap!.upTo.incarnation).not.toBe(cursor.incarnation);
      expect(second.records.map(({ position }) => position.sequence)).toEqual(upTo(100).slice(40));
      expect(second.records.every(({ position }) => position.incarnation === gap!.upTo.incarnation)).toBe(true);
      expect(second.faults).toEqual([]);
    });

    test('hands on header blocks byte for byte', async () => {
      await using harness = await make();
      const headers = Buffer.concat([
        Buffer.from('NATS/1.0\r\nA:1\r\na:   two  \r\nA:3\r\nempty:\r\nbin: '),
        Buffer.from([0, 1, 0xff, 0x80]),
        Buffer.from('\r\n\r\n'),
      ]);
      await harness.append(1, 3, mixedPayload, headers);
      const probe = new SourceProbe(harness.source(plain).source).open();
      await probe.untilRecords(3);
      probe.close();
      for (const record of probe.records) expect(record.headers).toEqual(headers);
    });

    test('says nothing any more after close, in the middle of reading', async () => {
      await using harness = await make();
      await harness.append(1, 5000, (number) => Buffer.alloc(200, String(number)));
      const open = () => new SourceProbe(harness.source(plain).source, { settles: false }).open();
      const probes = Array.from({ length: 3 }, open);
      const [never, early, late] = probes as [SourceProbe, SourceProbe, SourceProbe];
      never.close();
      await until(() => early.openedAt !== undefined, { what: 'opened' });
      early.close();
      await late.untilRecords(100);
      late.close();
      const after = new SourceProbe(harness.source(plain).source).open();
      await after.untilRecords(5000);
      after.close();
      expect([...probes, after].flatMap(({ faults }) => faults)).toEqual([]);
    });

    test('fails once, by name, when there is nothing to read', async () => {
      await using harness = await make();
      await harness.destroy();
      const probe = new SourceProbe(harness.source(plain).source).open();
      expect((await probe.untilFailed()).reason).toBe('source-missing');
      probe.close();
      expect(probe.faults).toEqual([]);
    });
  });
}

function upTo(count: number): number[] {
  return Array.from({ length: count }, (_, i) => i + 1);
}
