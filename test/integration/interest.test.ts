import { describe, expect, test } from 'vitest';
import { call } from '../../src/brokers/nats/api.ts';
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
import { api, client, infoOf, makeStream, numbered, openLink, publishAll } from '../support/nats-rig.ts';
import { onOneServer, type SuiteRig } from '../support/suite-rig.ts';
import { until } from '../support/until.ts';

const retention = 'interest';

await eachServer('all', (binary) => {
  describe('a server that is shared', () => {
    let { nc, fixture, stream } = {} as SuiteRig;
    onOneServer(
      binary,
      (rig) => ({ nc, fixture, stream } = rig),
      () => ({ retention }),
    );

    /** A lane that has begun, and wants what comes. */
    async function begun(): Promise<ReturnType<typeof drainProbe>> {
      const probe = drainProbe(fixture.link, stream, { settles: false }).open();
      await until(() => probe.openedAt, { what: 'the lane to begin' });
      return probe;
    }

    test('I1: a record goes when it is stored, and not before', async () => {
      const probe = await begun();
      await publishAll(nc, 1, 2000, numbered(`${stream}.a`, 100));
      await probe.untilRecords(2000);
      expect((await infoOf(nc, stream)).state.messages).toBe(2000);
      probe.source.settle({ ...probe.position!, sequence: 700 });
      await untilHolds(nc, stream, 1300);
      expect((await infoOf(nc, stream)).state.first_seq).toBe(701);
      probe.source.settle({ ...probe.position!, incarnation: 'other', sequence: 900 });
      probe.settle();
      await untilHolds(nc, stream, 0);
      probe.close();
      expectAll(probe, 1, 2000);
    });

    test('what is published while the lane has no session is kept, and what was stored before is not read again', async () => {
      const first = await begun();
      await publishAll(nc, 1, 500, numbered(`${stream}.a`));
      await first.untilRecords(500);
      first.source.settle({ ...first.position!, sequence: 100 });
      await untilHolds(nc, stream, 400);
      first.close();
      await publishAll(nc, 501, 1500, numbered(`${stream}.a`));
      const opening = { cursor: first.records[299]!.position, witnesses: [first.witness(299)] };
      const second = drainProbe(fixture.link, stream, { settles: false }).open(opening);
      await second.untilRecords(1200);
      await untilHolds(nc, stream, 1200);
      second.settle();
      await untilHolds(nc, stream, 0);
      second.close();
      expect(second.openedAt).toEqual(opening.cursor);
      expectAll(second, 301, 1500);
      // And with nothing left that could prove the cursor.
      await publishAll(nc, 1501, 1510, numbered(`${stream}.a`));
      const third = drainProbe(fixture.link, stream).open({ cursor: second.position!, witnesses: [second.witness()] });
      await third.untilRecords(10);
      await untilHolds(nc, stream, 0);
      third.close();
      expectAll(third, 1501, 1510);
    });

    test('a consumer that is deleted is said by name, and what went with it is a gap', async () => {
      const first = await begun();
      await publishAll(nc, 1, 100, numbered(`${stream}.a`));
      await first.untilRecords(100);
      first.settle();
      await untilHolds(nc, stream, 0);
      await deleteConsumerOf(nc, stream);
      const failed = first.untilFailed();
      first.source.settle({ ...first.position!, sequence: 101 });
      expect((await failed).reason).toBe('consumer-lost');
      await until(async () => (await consumers()) === 0, { what: 'no consumer' });
      // Nobody wants these.
      await publishAll(nc, 101, 120, numbered(`${stream}.a`));
      const second = drainProbe(fixture.link, stream).open({ cursor: first.position!, witnesses: [first.witness()] });
      await until(() => second.gaps.length === 1, { what: 'a gap' });
      await publishAll(nc, 121, 130, numbered(`${stream}.a`));
      await second.untilRecords(10);
      await untilHolds(nc, stream, 0);
      second.close();
      expect(second.gaps).toMatchObject([{ after: { sequence: 100 }, upTo: { sequence: 120 }, reason: 'taken' }]);
      expect(numbersOf(second)).toEqual(range(121, 130));
      expect(second.faults).toEqual([]);
    });

    async function consumers(): Promise<number> {
      return (
        (await call<{ consumers: string[] | null }>(nc, `${api}.CONSUMER.NAMES.${stream}`, {})).consumers?.length ?? 0
      );
    }

    test('others that want the records get them, however far the lane is, and a lane begins with what is left for them', async () => {
      const config = { durable_name: 'app', ack_policy: 'explicit' };
      await call(nc, `${api}.CONSUMER.DURABLE.CREATE.${stream}.app`, { stream_name: stream, config });
      await publishAll(nc, 1, 100, numbered(`${stream}.a`));
      for (const seq of [1, 2, 50]) await call(nc, `${api}.STREAM.MSG.DELETE.${stream}`, { seq });
      const probe = drainProbe(fixture.link, stream).open();
      await probe.untilRecords(97);
      await until(async () => (await info()).ack_floor.stream_seq === 100, { what: 'all to be acknowledged' });
      probe.close();
      expect([probe.gaps, probe.failures, probe.faults]).toEqual([[], [], []]);
      expect((await infoOf(nc, stream)).state.messages).toBe(97);
      // The cursor's own record is gone, an older one is not: that is somebody else's.
      await call(nc, `${api}.STREAM.MSG.DELETE.${stream}`, { seq: 100 });
      await publishAll(nc, 101, 110, numbered(`${stream}.a`));
      const next = drainProbe(fixture.link, stream).open({ cursor: probe.position!, witnesses: [probe.witness()] });
      await next.untilRecords(10);
      next.close();
      expectAll(next, 101, 110);
    });

    async function info(): Promise<{ ack_floor: { stream_seq: number } }> {
      return call(nc, `${api}.CONSUMER.INFO.${stream}.${drainConsumer}`);
    }

    test('positions at the end that are no record hold nothing back', async () => {
      const probe = await begun();
      await publishAll(nc, 1, 1200, numbered(`${stream}.a`));
      await probe.untilRecords(1200);
      for (const seq of [599, 600, 601]) await call(nc, `${api}.STREAM.MSG.DELETE.${stream}`, { seq });
      probe.source.settle({ ...probe.position!, sequence: 600 });
      await untilHolds(nc, stream, 599);
      probe.settle();
      await untilHolds(nc, stream, 0);
      probe.close();
      expect([probe.failures, probe.faults]).toEqual([[], []]);
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
    const probe = drainProbe(fixture.link, 'S', { pulse: () => 60_000 }).open();
    await until(() => probe.openedAt, { what: 'the lane to begin' });
    await publishAll(nc, 1, count, numbered('S.a', 200));
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
});

await eachServer('newest', (binary) => {
  test('leaders of stream and consumer step down under load: nothing lost, repeated or out of order', {
    timeout: 90_000,
  }, async () => {
    await using cluster = await startCluster({ binary });
    await using nc = await client(cluster.urls);
    await using fixture = await openLink(cluster.urls);
    await makeStream(nc, { name: 'S', retention, num_replicas: 3 });
    const count = 8000;
    const probe = drainProbe(fixture.link, 'S', { pulse: () => 30_000 }).open();
    await until(() => probe.openedAt, { what: 'the lane to begin' });
    await publishAll(nc, 1, count, numbered('S.a', 100));
    const stepDown = (subject: string) =>
      until(() => call(nc, `${api}.${subject}`, {}).catch(() => undefined), { what: subject });
    for (const [at, what] of [
      [1000, `CONSUMER.LEADER.STEPDOWN.S.${drainConsumer}`],
      [3000, 'STREAM.LEADER.STEPDOWN.S'],
      [5000, `CONSUMER.LEADER.STEPDOWN.S.${drainConsumer}`],
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
