import { cp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { call } from '../../src/brokers/nats/api.ts';
import type { NatsLink } from '../../src/brokers/nats/connection.ts';
import { JetStreamSource } from '../../src/brokers/nats/js-source.ts';
import type { ReaderTiming } from '../../src/brokers/nats/stream-reader.ts';
import { eachServer } from '../support/each-server.ts';
import { plentyOfMemory } from '../support/memory.ts';
import { startNats } from '../support/nats-launcher.ts';
import {
  api,
  changeStream,
  client,
  infoOf,
  makeStream,
  numbered,
  numberOf,
  openLink,
  publishAll,
  untilUp,
} from '../support/nats-rig.ts';
import { type ProbeOptions, SourceProbe } from '../support/source-probe.ts';
import { onOneServer, type SuiteRig } from '../support/suite-rig.ts';
import { tempDir } from '../support/temp.ts';
import { until } from '../support/until.ts';

const KiB = 1024;
const timing: ReaderTiming = { expiresMs: 600, heartbeatMs: 250, patienceMs: 30_000 };

function probeOf(
  link: NatsLink,
  stream: string,
  options: ProbeOptions & { readonly prefetchBytes?: number } = {},
): SourceProbe {
  const { prefetchBytes = 256 * KiB } = options;
  const source = new JetStreamSource({
    link,
    cluster: 'c',
    stream,
    batchBytes: 32 * KiB,
    prefetchBytes,
    memory: plentyOfMemory(),
    timing,
  });
  return new SourceProbe(source, { ahead: () => source.prefetchedBytes, ...options });
}

function sequencesOf(probe: SourceProbe): number[] {
  return probe.records.map(({ position }) => position.sequence);
}

function numbersOf(probe: SourceProbe): number[] {
  return probe.records.map(({ payload }) => numberOf(payload));
}

function range(from: number, to: number): number[] {
  return Array.from({ length: Math.max(0, to - from + 1) }, (_, i) => from + i);
}

/** The oracle of a stream whose record number n holds n: nothing lost, nothing twice, in order. */
function expectAll(probe: SourceProbe, count: number): void {
  expect(sequencesOf(probe)).toEqual(range(1, count));
  expect(numbersOf(probe)).toEqual(range(1, count));
  expect(probe.gaps).toEqual([]);
  expect(probe.failures).toEqual([]);
  expect(probe.faults).toEqual([]);
}

await eachServer('ends', (binary) => {
  describe('a server that is shared', () => {
    let { server, nc, fixture, stream } = {} as SuiteRig;
    onOneServer(binary, (rig) => ({ server, nc, fixture, stream } = rig));

    test('records deleted one by one are no gap: the cursor passes them', async () => {
      await publishAll(nc, 1, 6000, (number) => numbered(`${stream}.${number % 3}`, 100)(number));
      await call(nc, `${api}.STREAM.PURGE.${stream}`, { filter: `${stream}.1` });
      for (const seq of [2, 3, 5999]) await call(nc, `${api}.STREAM.MSG.DELETE.${stream}`, { seq });
      const probe = probeOf(fixture.link, stream).open();
      const left = range(1, 6000).filter((number) => number % 3 !== 1 && ![2, 3, 5999].includes(number));
      await probe.untilRecords(left.length);
      expect(numbersOf(probe)).toEqual(left);
      expect(probe.gaps).toEqual([]);
      // And those that vanish while it reads: whatever was read ahead comes, nothing is called lost.
      await publishAll(nc, 6001, 6100, (number) => numbered(`${stream}.${number % 3}`)(number));
      await probe.untilRecords(left.length + 100);
      probe.close();
      expect(probe.position?.sequence).toBe(6100);
      expect([probe.gaps, probe.faults]).toEqual([[], []]);
    });

    test('records purged before they were read are a gap, from the last one read to the first one left', async () => {
      await publishAll(nc, 1, 5000, numbered(`${stream}.a`, 500));
      const probe = probeOf(fixture.link, stream, { prefetchBytes: 64 * KiB, pulse: () => 0 }).open();
      await until(() => (probe.source as JetStreamSource).prefetchedBytes > 32 * KiB, { what: 'reading ahead' });
      await call(nc, `${api}.STREAM.PURGE.${stream}`, { seq: 4001 });
      probe.pull(1 << 30);
      await until(() => probe.position?.sequence === 5000, { what: 'the end' });
      probe.close();
      const [gap] = probe.gaps;
      expect(probe.gaps).toHaveLength(1);
      expect(gap).toMatchObject({ upTo: { sequence: 4000 }, reason: 'expired' });
      const read = gap!.after.sequence;
      expect(read).toBeGreaterThan(0);
      expect(read).toBeLessThan(4000);
      expect(sequencesOf(probe)).toEqual([...range(1, read), ...range(4001, 5000)]);
      expect(gap!.at).toBe(read);
      expect(probe.faults).toEqual([]);
    });

    test('records that expire behind a cursor are a gap at the next opening', async () => {
      await publishAll(nc, 1, 100, numbered(`${stream}.a`));
      const first = probeOf(fixture.link, stream).open();
      await first.untilRecords(100);
      first.close();
      await changeStream(nc, stream, { max_msgs: 30 });
      await publishAll(nc, 101, 150, numbered(`${stream}.a`));
      const opening = { cursor: first.records[99]!.position, witnesses: [first.witness(99), first.witness(50)] };
      const second = probeOf(fixture.link, stream).open(opening);
      await second.untilRecords(30);
      second.close();
      expect(second.gaps).toMatchObject([{ after: { sequence: 100 }, upTo: { sequence: 120 }, reason: 'expired' }]);
      expect(second.gaps[0]!.upTo.incarnation).toBe(opening.cursor.incarnation);
      expect(numbersOf(second)).toEqual(range(121, 150));
      expect(second.faults).toEqual([]);
    });

    test('a stream that is emptied goes on', async () => {
      await publishAll(nc, 1, 100, numbered(`${stream}.a`));
      const probe = probeOf(fixture.link, stream).open();
      await probe.untilRecords(100);
      await call(nc, `${api}.STREAM.PURGE.${stream}`);
      await publishAll(nc, 101, 200, numbered(`${stream}.a`));
      await probe.untilRecords(200);
      probe.close();
      expectAll(probe, 200);
    });

    test('what is deleted while it waits for records is told when there is one', async () => {
      await changeStream(nc, stream, { max_msgs: 50 });
      const probe = probeOf(fixture.link, stream, { pulse: () => 0, prefetchBytes: 16 * KiB }).open();
      await until(() => probe.openedAt !== undefined, { what: 'opened' });
      await publishAll(nc, 1, 2000, numbered(`${stream}.a`, 200));
      probe.pull(1 << 30);
      await until(() => probe.position?.sequence === 2000, { what: 'the end' });
      probe.close();
      // Every position is either a record or in a gap, in order.
      const covered = probe.gaps.flatMap(({ after, upTo }) => range(after.sequence + 1, upTo.sequence));
      expect([...sequencesOf(probe), ...covered].sort((a, b) => a - b)).toEqual(range(1, 2000));
      expect(probe.gaps.length).toBeGreaterThan(0);
      expect(probe.gaps.every(({ reason }) => reason === 'expired')).toBe(true);
      expect(probe.faults).toEqual([]);
    });

    test('a deleted stream is missing', async () => {
      await publishAll(nc, 1, 10, numbered(`${stream}.a`));
      const probe = probeOf(fixture.link, stream).open();
      await probe.untilRecords(10);
      await call(nc, `${api}.STREAM.DELETE.${stream}`);
      expect((await probe.untilFailed()).reason).toBe('source-missing');
      expect(probe.faults).toEqual([]);
    });

    test('a stream made anew under its name is another one, at once and at the next opening', async () => {
      await publishAll(nc, 1, 50, numbered(`${stream}.a`));
      const first = probeOf(fixture.link, stream, { pulse: () => 1 << 30 }).open();
      await first.untilRecords(50);
      const opening = { cursor: first.position!, witnesses: [first.witness(49), first.witness(20)] };
      await call(nc, `${api}.STREAM.DELETE.${stream}`);
      await makeStream(nc, { name: stream });
      await publishAll(nc, 1001, 1200, numbered(`${stream}.a`));
      const { reason } = await first.untilFailed();
      expect(['regressed', 'recreated', 'source-missing']).toContain(reason);
      expect(numbersOf(first)).toEqual(range(1, 50));
      const second = probeOf(fixture.link, stream).open(opening);
      await second.untilRecords(200);
      second.close();
      expect(second.openedAt).toEqual(opening.cursor);
      expect(second.gaps).toMatchObject([{ after: opening.cursor, upTo: { sequence: 0 }, reason: 'recreated', at: 0 }]);
      expect(numbersOf(second)).toEqual(range(1001, 1200));
      expect(second.position?.incarnation).not.toBe(opening.cursor.incarnation);
      // The daemon stops before a record of the new incarnation is stored: the old witnesses say nothing of it.
      const third = probeOf(fixture.link, stream).open({ ...opening, cursor: second.records[99]!.position });
      await third.untilRecords(100);
      third.close();
      expect(third.gaps).toEqual([]);
      expect(numbersOf(third)).toEqual(range(1101, 1200));
      expect([first, second, third].flatMap(({ faults }) => faults)).toEqual([]);
    });

    test.each(['workqueue', 'interest'])('a stream with %s retention is refused', async (retention) => {
      await call(nc, `${api}.STREAM.DELETE.${stream}`);
      await makeStream(nc, { name: stream, retention });
      const probe = probeOf(fixture.link, stream).open();
      const failure = await probe.untilFailed();
      expect(failure.reason).toBe('source-unsupported');
      expect(failure.detail).toContain(retention);
      expect(probe.openedAt).toBeUndefined();
    });

    test('a mirror is read like its stream', async () => {
      await publishAll(nc, 1, 500, numbered(`${stream}.a`));
      const first = probeOf(fixture.link, stream).open();
      await first.untilRecords(500);
      first.close();
      const mirror = `${stream}M`;
      await makeStream(nc, { name: mirror, subjects: [], mirror: { name: stream } });
      await until(async () => (await infoOf(nc, mirror)).state.last_seq === 500, { what: 'the mirror' });
      const opening = { cursor: first.records[299]!.position, witnesses: [first.witness(299)] };
      const second = probeOf(fixture.link, mirror).open(opening);
      await second.untilRecords(200);
      second.close();
      expect(numbersOf(second)).toEqual(range(301, 500));
      expect(second.gaps).toEqual([]);
    });

    test('the newest sequence is told', async () => {
      await publishAll(nc, 1, 50, numbered(`${stream}.a`));
      const probe = probeOf(fixture.link, stream, { pulse: () => 0 }).open();
      await until(() => probe.newest === 50, { what: 'the head' });
      await publishAll(nc, 51, 80, numbered(`${stream}.a`));
      await until(() => probe.newest === 80, { what: 'the new head' });
      probe.close();
      expect(probe.faults).toEqual([]);
    });
  });

  describe('a server that is killed', () => {
    test('in the middle of 50,000 records, twice: each of them comes once', async () => {
      await using server = await startNats({ binary });
      await using nc = await client(server.url);
      await using fixture = await openLink(server.url);
      await makeStream(nc, { name: 'S' });
      const count = 50_000;
      await publishAll(nc, 1, count, numbered('S.a', 64));
      const probe = probeOf(fixture.link, 'S', { prefetchBytes: 128 * KiB, pulse: () => 100 * KiB }).open();
      for (const share of [0.2, 0.6]) {
        await probe.untilRecords(count * share);
        await server.kill();
        await until(() => fixture.link.connection === undefined, { what: 'the end of the connection' });
        await server.start();
      }
      await probe.untilRecords(count);
      probe.close();
      expectAll(probe, count);
      expect(probe.peakAheadBytes).toBeLessThanOrEqual(128 * KiB + 32 * KiB);
    });

    test('and restored to an older state: what is new comes under a new incarnation', async () => {
      await using server = await startNats({ binary });
      await using dir = await tempDir('older');
      await using nc = await client(server.url);
      await using fixture = await openLink(server.url);
      await makeStream(nc, { name: 'S' });
      await publishAll(nc, 1, 100, numbered('S.a'));
      await server.stop();
      await cp(server.storeDir, join(dir.path, 'store'), { recursive: true });
      await server.start();
      await untilUp(fixture);
      const probe = probeOf(fixture.link, 'S').open();
      await publishAll(nc, 101, 200, numbered('S.a'));
      await probe.untilRecords(200);
      const opening = { cursor: probe.position!, witnesses: [199, 149, 99, 49].map((index) => probe.witness(index)) };

      await server.stop();
      await rm(server.storeDir, { recursive: true });
      await cp(join(dir.path, 'store'), server.storeDir, { recursive: true });
      await server.start();
      await publishAll(nc, 1001, 1300, numbered('S.a'));
      // The running session notices, rather than wait for number 201 and call that the next one.
      expect((await probe.untilFailed()).reason).toBe('regressed');
      const again = probeOf(fixture.link, 'S').open(opening);
      await again.untilRecords(300);
      again.close();
      // The witness at 100 still stands: that is where the two histories part.
      expect(again.gaps).toMatchObject([
        { after: opening.cursor, upTo: { sequence: 100 }, reason: 'regressed', at: 0 },
      ]);
      expect(again.gaps[0]!.upTo.incarnation).not.toBe(opening.cursor.incarnation);
      expect(numbersOf(probe)).toEqual(range(1, 200));
      expect(numbersOf(again)).toEqual(range(1001, 1300));
      expect([...probe.faults, ...again.faults]).toEqual([]);
    });

    test('while the client has given up: the reader goes on over the connection made in its place', async () => {
      await using server = await startNats({ binary });
      await using nc = await client(server.url);
      process.env.CAUSEWAY_TEST_TOKEN = 'anything';
      await using fixture = await openLink(server.url, { token: { env: 'CAUSEWAY_TEST_TOKEN' } });
      await makeStream(nc, { name: 'S' });
      await publishAll(nc, 1, 100, numbered('S.a'));
      const probe = probeOf(fixture.link, 'S').open();
      await probe.untilRecords(100);
      const before = fixture.link.require();
      await server.kill();
      delete process.env.CAUSEWAY_TEST_TOKEN;
      await server.start();
      await until(() => fixture.link.failure?.reason === 'nats-auth', { what: 'the missing token to be noticed' });
      process.env.CAUSEWAY_TEST_TOKEN = 'anything';
      await publishAll(nc, 101, 200, numbered('S.a'));
      await probe.untilRecords(200);
      expect(fixture.link.require()).not.toBe(before);
      probe.close();
      expectAll(probe, 200);
    });

    test('and stays away: the session waits, and closing it is clean', async () => {
      await using server = await startNats({ binary });
      await using nc = await client(server.url);
      await using fixture = await openLink(server.url);
      await makeStream(nc, { name: 'S' });
      await publishAll(nc, 1, 10, numbered('S.a'));
      const probe = probeOf(fixture.link, 'S').open();
      await probe.untilRecords(10);
      await server.kill();
      await until(() => fixture.link.failure?.reason === 'nats-unreachable', { what: 'the outage' });
      probe.close();
      const next = probeOf(fixture.link, 'S').open();
      expect((await next.untilFailed()).reason).toBe('nats-unreachable');
      expect([...probe.failures, ...probe.faults, ...next.faults]).toEqual([]);
    });
  });
});
