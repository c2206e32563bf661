import { cp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { type ConsumerInfo, call } from '../../src/brokers/nats/api.ts';
import { maxAckPending } from '../../src/brokers/nats/queue-consumer.ts';
import {
  deleteConsumerOf,
  drainConsumer,
  drainProbe,
  expectAll,
  numbersOf,
  range,
  untilHolds,
} from '../support/drain-probe.ts';
import { eachServer } from '../support/each-server.ts';
import { startCluster, startNats } from '../support/nats-launcher.ts';
import { api, changeStream, client, infoOf, makeStream, numbered, openLink, publishAll } from '../support/nats-rig.ts';
import { onOneServer, type SuiteRig } from '../support/suite-rig.ts';
import { tempDir } from '../support/temp.ts';
import { until } from '../support/until.ts';

const retention = 'workqueue';

await eachServer('all', (binary) => {
  describe('a server that is shared', () => {
    let { nc, fixture, stream } = {} as SuiteRig;
    onOneServer(
      binary,
      (rig) => ({ nc, fixture, stream } = rig),
      () => ({ retention }),
    );

    test('I1: a record goes when it is stored, and not before', async () => {
      await publishAll(nc, 1, 1000, numbered(`${stream}.a`, 100));
      const probe = drainProbe(fixture.link, stream, { settles: false }).open();
      await probe.untilRecords(1000);
      expect((await infoOf(nc, stream)).state.messages).toBe(1000);
      probe.source.settle({ ...probe.position!, sequence: 400 });
      await untilHolds(nc, stream, 600);
      expect((await infoOf(nc, stream)).state.first_seq).toBe(401);
      probe.source.settle({ ...probe.position!, incarnation: 'other', sequence: 800 });
      probe.source.settle(probe.position!);
      await untilHolds(nc, stream, 0);
      probe.close();
      expectAll(probe, 1, 1000);
    });

    test('what was stored and not acknowledged goes at the next opening, and is not read again', async () => {
      await publishAll(nc, 1, 500, numbered(`${stream}.a`));
      const first = drainProbe(fixture.link, stream, { settles: false }).open();
      await first.untilRecords(500);
      first.close();
      const opening = { cursor: first.records[299]!.position, witnesses: [first.witness(299)] };
      const second = drainProbe(fixture.link, stream, { settles: false }).open(opening);
      await second.untilRecords(200);
      await untilHolds(nc, stream, 200);
      second.settle();
      await untilHolds(nc, stream, 0);
      second.close();
      expect(second.openedAt).toEqual(opening.cursor);
      expectAll(second, 301, 500);
      // And with nothing left that could prove the cursor.
      await publishAll(nc, 501, 510, numbered(`${stream}.a`));
      const third = drainProbe(fixture.link, stream).open({
        cursor: second.position!,
        witnesses: [second.witness(), first.witness(10)],
      });
      await third.untilRecords(10);
      third.close();
      expectAll(third, 501, 510);
    });

    test('what stands before a cursor and is not proven is read again, under another incarnation', async () => {
      await publishAll(nc, 1, 100, numbered(`${stream}.a`));
      const first = drainProbe(fixture.link, stream, { settles: false }).open();
      await first.untilRecords(100);
      first.close();
      // As if the numbers up to 80 had been used for other records, of which somebody took the last.
      await call(nc, `${api}.STREAM.MSG.DELETE.${stream}`, { seq: 80 });
      const opening = { cursor: first.records[79]!.position, witnesses: [first.witness(79), first.witness(59)] };
      const second = drainProbe(fixture.link, stream, { settles: false }).open(opening);
      await second.untilRecords(39);
      second.close();
      expect(second.gaps[0]).toMatchObject({ after: opening.cursor, upTo: { sequence: 60 }, reason: 'regressed' });
      expect(numbersOf(second)).toEqual([...range(61, 79), ...range(81, 100)]);
      expect(second.faults).toEqual([]);
    });

    test('a consumer that is deleted is made anew, and nothing is lost, repeated or out of order', async () => {
      const count = 20_000;
      await publishAll(nc, 1, count, numbered(`${stream}.a`, 100));
      const probe = drainProbe(fixture.link, stream, { pulse: () => 40_000 }).open();
      for (const at of [1, 4000, 9000, 15_000]) {
        await probe.untilRecords(at);
        await until(() => deleteConsumerOf(nc, stream), { what: 'a consumer to delete' });
      }
      await probe.untilRecords(count);
      await untilHolds(nc, stream, 0);
      probe.close();
      expectAll(probe, 1, count);
    });

    test('I5: the server gives out no more than so many that are not stored, and goes on when they are', async () => {
      const count = maxAckPending + 2000;
      await publishAll(nc, 1, count, numbered(`${stream}.a`));
      const probe = drainProbe(fixture.link, stream, { settles: false }).open();
      await probe.untilRecords(maxAckPending);
      const pending = async () =>
        (await call<ConsumerInfo>(nc, `${api}.CONSUMER.INFO.${stream}.${drainConsumer}`)).num_ack_pending;
      await until(async () => (await pending()) === maxAckPending, { what: 'all that may be given out' });
      expect(probe.records).toHaveLength(maxAckPending);
      probe.settle();
      await probe.untilRecords(count);
      probe.settle();
      await untilHolds(nc, stream, 0);
      probe.close();
      expectAll(probe, 1, count);
    });

    test('another consumer on its subjects is said by name, and the lane begins when that is gone', async () => {
      await publishAll(nc, 1, 10, numbered(`${stream}.a`));
      const config = { durable_name: 'app', ack_policy: 'explicit', filter_subject: `${stream}.a` };
      await call(nc, `${api}.CONSUMER.DURABLE.CREATE.${stream}.app`, { stream_name: stream, config });
      const probe = drainProbe(fixture.link, stream).open();
      const failure = await probe.untilFailed();
      expect(failure.reason).toBe('consumer-taken');
      await deleteConsumerOf(nc, stream, 'app');
      const next = drainProbe(fixture.link, stream).open();
      await next.untilRecords(10);
      next.close();
      expectAll(next, 1, 10);
    });

    test('what others took before the lane began is no gap; what is gone later is one', async () => {
      await publishAll(nc, 1, 100, numbered(`${stream}.a`));
      for (const seq of [1, 2, 50, 100]) await call(nc, `${api}.STREAM.MSG.DELETE.${stream}`, { seq });
      const first = drainProbe(fixture.link, stream, { settles: false }).open();
      await first.untilRecords(96);
      first.close();
      expect(first.gaps).toEqual([]);
      const [cursor, witness] = [first.records[9]!.position, first.witness(9)];
      await publishAll(nc, 101, 200, numbered(`${stream}.a`));
      for (const seq of [150, 151]) await call(nc, `${api}.STREAM.MSG.DELETE.${stream}`, { seq });
      const second = drainProbe(fixture.link, stream).open({ cursor, witnesses: [witness] });
      await second.untilRecords(96 - 10 + 98);
      expect(second.gaps).toMatchObject([{ after: { sequence: 149 }, upTo: { sequence: 151 }, reason: 'taken' }]);
      await untilHolds(nc, stream, 0);
      second.close();
      await publishAll(nc, 201, 210, numbered(`${stream}.a`));
      await call(nc, `${api}.STREAM.PURGE.${stream}`, { seq: 206 });
      const third = drainProbe(fixture.link, stream).open({ cursor: second.position!, witnesses: [] });
      await third.untilRecords(5);
      third.close();
      expect(third.gaps).toMatchObject([{ after: { sequence: 200 }, upTo: { sequence: 205 }, reason: 'taken' }]);
      expect([...first.faults, ...second.faults, ...third.faults]).toEqual([]);
    });

    test('a stream is drained only by a link that says so, and only one that can be', async () => {
      await makeStream(nc, { name: `${stream}L` });
      const limits = drainProbe(fixture.link, `${stream}L`).open();
      expect(await limits.untilFailed()).toMatchObject({
        reason: 'source-unsupported',
        detail: expect.stringContaining('limits'),
      });
    });

    test('a limit that deletes what is not carried yet is a gap', async () => {
      await changeStream(nc, stream, { max_msgs: 50 });
      await publishAll(nc, 1, 10, numbered(`${stream}.a`));
      const first = drainProbe(fixture.link, stream).open();
      await first.untilRecords(10);
      await untilHolds(nc, stream, 0);
      first.close();
      await publishAll(nc, 11, 100, numbered(`${stream}.a`));
      const second = drainProbe(fixture.link, stream).open({ cursor: first.position!, witnesses: [first.witness()] });
      await second.untilRecords(50);
      second.close();
      expect(second.gaps).toMatchObject([{ after: { sequence: 10 }, upTo: { sequence: 50 }, reason: 'taken' }]);
      expect(numbersOf(second)).toEqual(range(51, 100));
    });
  });

  test('a server that is killed again and again gives every record once, in order, and holds none in the end', {
    timeout: 60_000,
  }, async () => {
    await using server = await startNats({ binary });
    await using nc = await client(server.url);
    await using fixture = await openLink(server.url);
    await makeStream(nc, { name: 'S', retention });
    const count = 8000;
    await publishAll(nc, 1, count, numbered('S.a', 200));
    const probe = drainProbe(fixture.link, 'S', { pulse: () => 60_000 }).open();
    for (const at of [500, 2500, 5000]) {
      await probe.untilRecords(at);
      await server.kill();
      await server.start();
    }
    await probe.untilRecords(count);
    await untilHolds(nc, 'S', 0);
    probe.close();
    expectAll(probe, 1, count);
  });

  test('a tail that was lost and written anew is read, although its numbers were stored before', async () => {
    await using dir = await tempDir('store');
    const [store, copy] = [join(dir.path, 'store'), join(dir.path, 'copy')];
    await using server = await startNats({ binary, storeDir: store });
    await using nc = await client(server.url);
    await makeStream(nc, { name: 'S', retention });
    await publishAll(nc, 1, 50, numbered('S.a'));
    await server.stop();
    await cp(store, copy, { recursive: true });
    await server.start();
    await publishAll(nc, 51, 100, numbered('S.a'));
    await using before = await openLink(server.url);
    const first = drainProbe(before.link, 'S').open();
    await first.untilRecords(100);
    await untilHolds(nc, 'S', 0);
    first.close();
    await server.stop();
    await rm(store, { recursive: true });
    await cp(copy, store, { recursive: true });
    await server.start();
    await publishAll(nc, 1051, 1110, numbered('S.a'));
    await using after = await openLink(server.url);
    const witnesses = [first.witness(99), first.witness(79), first.witness(39)];
    const second = drainProbe(after.link, 'S').open({ cursor: first.position!, witnesses });
    await second.untilRecords(70);
    await untilHolds(nc, 'S', 0);
    second.close();
    expect(second.gaps).toMatchObject([{ after: { sequence: 100 }, upTo: { sequence: 40 }, reason: 'regressed' }]);
    // Those before the tail come again, and the sink knows them by their time.
    expect(numbersOf(second)).toEqual([...range(41, 50), ...range(1051, 1110)]);
    expect(second.records.slice(0, 10).map(({ nanos }) => nanos)).toEqual(
      first.records.slice(40, 50).map(({ nanos }) => nanos),
    );
    expect(second.faults).toEqual([]);
  });
});

await eachServer('newest', (binary) => {
  test('leaders of stream and consumer step down under load: nothing lost, repeated or out of order', {
    timeout: 90_000,
  }, async () => {
    await using cluster = await startCluster({ binary });
    await using nc = await client(cluster.urls);
    await using fixture = await openLink(cluster.urls);
    await makeStream(nc, { name: 'S', retention, num_replicas: 3 });
    const count = 12_000;
    await publishAll(nc, 1, count, numbered('S.a', 100));
    const probe = drainProbe(fixture.link, 'S', { pulse: () => 30_000 }).open();
    const stepDown = (subject: string) =>
      until(() => call(nc, `${api}.${subject}`, {}).catch(() => undefined), { what: subject });
    for (const [at, what] of [
      [1000, 'CONSUMER.LEADER.STEPDOWN.S.causeway_l_a_b'],
      [3000, 'STREAM.LEADER.STEPDOWN.S'],
      [6000, 'CONSUMER.LEADER.STEPDOWN.S.causeway_l_a_b'],
      [9000, 'STREAM.LEADER.STEPDOWN.S'],
    ] as const) {
      await probe.untilRecords(at);
      await stepDown(what);
    }
    await probe.untilRecords(count);
    await untilHolds(nc, 'S', 0);
    probe.close();
    expectAll(probe, 1, count);
  });
});
