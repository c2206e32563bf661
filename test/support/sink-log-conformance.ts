import { describe, expect, test } from 'vitest';
import type { SinkLane, SinkLog, SinkLogEvents, TailRecord } from '../../src/brokers/broker.ts';
import { BatchBuilder, decodeBatch } from '../../src/wire/batch.ts';
import type { Failure } from '../../src/wire/reasons.ts';
import { RecordView } from '../../src/wire/record-view.ts';
import { until } from './until.ts';

/** A sink log on an empty stream of some broker, as the suite needs it. */
export interface ReadableSinkLog extends SinkLog {
  /** Tells every record behind `after`, and returns the last sequence there is. */
  tail(after: number, observe: (sinkSequence: number, record: TailRecord | undefined) => void): Promise<number>;
}

export interface SinkLogHarness extends AsyncDisposable {
  /** A log on the stream; several may be open on the same one. */
  log(events: SinkLogEvents): ReadableSinkLog;
  /** What somebody else appends, in one record. */
  foreign(): Promise<void>;
  /** Number of bytes that is too much for any record. */
  readonly tooManyBytes: number;
}

/** A log with what it said since the last `restart`. */
class Log implements SinkLogEvents {
  readonly log: ReadableSinkLog;
  count = 0;
  last = 0;
  readonly heldAlready: TailRecord[] = [];
  readonly unsureAbout: { failure: Failure; chainBroken: boolean }[] = [];
  #inside = false;
  synchronous = 0;

  constructor(harness: SinkLogHarness) {
    this.log = harness.log(this);
  }

  stored(count: number, sinkSequence: number): void {
    if (this.#inside) this.synchronous++;
    expect(count).toBeGreaterThanOrEqual(this.count);
    this.count = count;
    this.last = sinkSequence;
  }

  held(record: TailRecord): void {
    this.heldAlready.push(record);
  }

  unsure(failure: Failure, chainBroken: boolean): void {
    if (this.#inside) this.synchronous++;
    this.unsureAbout.push({ failure, chainBroken });
  }

  restart(): void {
    this.log.restart();
    this.count = 0;
    this.last = 0;
    this.unsureAbout.length = 0;
  }

  append(sequence: number, expectLast: number | undefined, change: Partial<SinkLane> & { bytes?: number } = {}) {
    this.#inside = true;
    const failure = this.log.append(
      recordView(sequence, change.bytes ?? 10),
      { ...lane, ...change },
      'inc',
      sequence - 1,
      expectLast,
      false,
    );
    this.#inside = false;
    return failure;
  }

  async untilStored(count: number): Promise<void> {
    await until(() => this.count === count, {
      what: () => `${count} answers; there are ${this.count}; ${JSON.stringify(this.unsureAbout)}`,
    });
  }

  async untilUnsure(): Promise<{ failure: Failure; chainBroken: boolean }> {
    return until(() => this.unsureAbout[0], { what: 'a refusal' });
  }

  async tail(after = 0): Promise<{ last: number; records: [number, number | undefined][] }> {
    const records: [number, number | undefined][] = [];
    const last = await this.log.tail(after, (sinkSequence, record) =>
      records.push([sinkSequence, record?.position.sequence]),
    );
    return { last, records };
  }
}

const lane: SinkLane = {
  id: 'fleet/plant/hub',
  from: 'plant',
  sourceStream: 'S',
  map: (subject) => subject,
  allows: () => true,
  acceptsOrigin: () => true,
};

function recordView(sequence: number, bytes: number): RecordView {
  const builder = new BatchBuilder('inc', sequence - 1, bytes + 200);
  const none = Buffer.alloc(0);
  builder.append(sequence, 1_700_000_000, sequence, Buffer.from('a.b'), none, Buffer.alloc(bytes, 'x'));
  const view = new RecordView(decodeBatch(builder.frame(1, 1, 0)).packed);
  view.next();
  return view;
}

/** What every SinkLog does, whatever it writes to. The records go to subjects below `a`. */
export function describeSinkLog(name: string, make: () => Promise<SinkLogHarness>): void {
  describe(`sink log: ${name}`, () => {
    test('stores a chain in order, answers for all of it, and finds it again', async () => {
      await using harness = await make();
      const log = new Log(harness);
      expect(await log.tail()).toEqual({ last: 0, records: [] });
      log.restart();
      const count = 3000;
      for (let n = 1; n <= count; n++) expect(log.append(n, n - 1)).toBeUndefined();
      await log.untilStored(count);
      expect(log.last).toBe(count);
      const { last, records } = await log.tail();
      expect(last).toBe(count);
      expect(records).toEqual(Array.from({ length: count }, (_, i) => [i + 1, i + 1]));
      expect((await log.tail(count - 5)).records).toHaveLength(5);
      expect(await log.tail(count)).toEqual({ last: count, records: [] });
      // Another process finds the same.
      expect((await new Log(harness).tail()).records).toEqual(records);
      expect([log.unsureAbout, log.synchronous]).toEqual([[], 0]);
    });

    test('tells what a record says of itself', async () => {
      await using harness = await make();
      const log = new Log(harness);
      log.restart();
      log.append(7, 0);
      await log.untilStored(1);
      const found: (TailRecord | undefined)[] = [];
      await log.log.tail(0, (_sequence, record) => found.push(record));
      expect(found).toEqual([
        {
          sinkSequence: 1,
          lane: 'fleet/plant/hub',
          position: { incarnation: 'inc', sequence: 7 },
          previous: 6,
          origin: { space: 'plant/S/inc', sequence: 7, time: 1.7e15, seconds: 1_700_000_000, nanos: 7 },
        },
      ]);
    });

    test('refuses what stands on another last sequence, and says that the chain broke', async () => {
      await using harness = await make();
      const log = new Log(harness);
      await harness.foreign();
      log.restart();
      log.append(1, 0);
      expect((await log.untilUnsure()).chainBroken).toBe(true);
      expect(await log.tail()).toEqual({ last: 1, records: [[1, undefined]] });
      log.restart();
      log.append(1, 1);
      await log.untilStored(1);
      expect(log.last).toBe(2);
    });

    test('of two writers on one chain only one comes through', async () => {
      await using harness = await make();
      const logs = [new Log(harness), new Log(harness)] as const;
      for (const log of logs) log.restart();
      for (let n = 1; n <= 50; n++) for (const log of logs) log.append(n, n - 1);
      await until(() => logs.every((log) => log.count + log.unsureAbout.length >= 50), { what: 'all answers' });
      const { last, records } = await logs[0].tail();
      expect(last).toBe(50);
      expect(records.map(([, sequence]) => sequence)).toEqual(Array.from({ length: 50 }, (_, i) => i + 1));
    });

    test('takes a record with an id once, among those of others', async () => {
      await using harness = await make();
      const log = new Log(harness);
      log.restart();
      for (let n = 1; n <= 20; n++) {
        log.append(n, undefined);
        await log.untilStored(n);
        if (n % 5 === 0) await harness.foreign();
      }
      expect(log.last).toBe(23);
      log.restart();
      log.append(20, undefined);
      await log.untilStored(1);
      // At no place: what stands there may be another lane's.
      expect([log.last, log.unsureAbout]).toEqual([0, []]);
      expect(log.heldAlready).toMatchObject([{ sinkSequence: 23, lane: lane.id, position: { sequence: 20 } }]);
      const { last, records } = await log.tail();
      expect(last).toBe(24);
      const ours = records.flatMap(([, sequence]) => sequence ?? []);
      expect(ours).toEqual(Array.from({ length: 20 }, (_, i) => i + 1));
    });

    test('takes no answers of an earlier round for its own', async () => {
      await using harness = await make();
      const log = new Log(harness);
      log.restart();
      for (let n = 1; n <= 500; n++) log.append(n, n - 1);
      log.restart();
      await until(async () => (await log.tail()).last === 500, { what: 'the first round' });
      expect(log.count).toBe(0);
      log.append(501, 500);
      await log.untilStored(1);
      expect([log.last, log.unsureAbout]).toEqual([501, []]);
    });

    test('what can never be stored is a failure at once, and nothing is sent', async () => {
      await using harness = await make();
      const log = new Log(harness);
      log.restart();
      expect(log.append(1, 0, { bytes: harness.tooManyBytes })?.reason).toBe('record-refused');
      expect(log.append(1, 0, { map: () => undefined })?.reason).toBe('record-refused');
      expect(log.append(1, 0, { allows: () => false })?.reason).toBe('not-granted');
      // They take no place in the chain.
      expect(log.append(2, 0)).toBeUndefined();
      await log.untilStored(1);
      expect((await log.tail()).records).toEqual([[1, 2]]);
    });
  });
}
