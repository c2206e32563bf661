import { describe, expect, test } from 'vitest';
import { call, messageAt } from '../../src/brokers/nats/api.ts';
import { JetStreamSinkLog } from '../../src/brokers/nats/js-sink-log.ts';
import { JetStreamSource } from '../../src/brokers/nats/js-source.ts';
import { eachServer } from '../support/each-server.ts';
import { plentyOfMemory } from '../support/memory.ts';
import { api, changeStream, infoOf, makeStream, numbered, publishAll, readAll } from '../support/nats-rig.ts';
import { type DrivenLane, expectAll, laneOf, outcome, SinkDriver, upTo } from '../support/sink-driver.ts';
import { describeSinkLog } from '../support/sink-log-conformance.ts';
import { SourceProbe } from '../support/source-probe.ts';
import { onOneServer, type SuiteRig } from '../support/suite-rig.ts';
import { until } from '../support/until.ts';

const a = laneOf('plant-a');

await eachServer('ends', (binary) => {
  describe('a server that is shared', () => {
    let { server, nc, fixture, stream } = {} as SuiteRig;
    onOneServer(
      binary,
      (rig) => ({ server, nc, fixture, stream } = rig),
      (stream) => ({ subjects: [`${stream}.>`] }),
    );

    const make = async () => {
      const logs: JetStreamSinkLog[] = [];
      await call(nc, `${api}.STREAM.DELETE.${stream}`);
      const root = `${stream}a`;
      await makeStream(nc, { name: stream, subjects: [`${root}.>`] });
      return {
        log: (events: ConstructorParameters<typeof JetStreamSinkLog>[0]['events']) => {
          const log = new JetStreamSinkLog({ link: fixture.link, cluster: 'hub', stream, events });
          logs.push(log);
          const { append } = log;
          // The suite writes below `a`; here every test has a stream of its own.
          log.append = (view, lane, ...rest) =>
            append.call(
              log,
              view,
              { ...lane, map: (subject, origin) => lane.map(subject, origin)?.replace(/^a\./, `${root}.`) },
              ...rest,
            );
          return log;
        },
        foreign: async () => void (await nc.request(`${root}.foreign`, 'foreign')),
        tooManyBytes: 1024 * 1024,
        [Symbol.asyncDispose]: async () => {
          for (const log of logs) log.close();
        },
      };
    };
    describeSinkLog('JetStream', make);

    test('the tail of a stream whose newest messages are deleted is known at once', async () => {
      await using driver = new SinkDriver(fixture.link, stream);
      driver.feed(laneOf('plant-a', `${stream}.x`), 300);
      await driver.untilStored(a.id, 300);
      const read = async (after: number) => {
        const seen: number[] = [];
        const last = await driver.sink.tail(after, (sequence) => seen.push(sequence));
        return [last, seen.length, seen.at(-1)];
      };
      expect(await read(100)).toEqual([300, 200, 300]);
      for (const seq of [300, 299, 250]) await call(nc, `${api}.STREAM.MSG.DELETE.${stream}`, { seq });
      expect(await read(100)).toEqual([300, 197, 298]);
      expect(await read(298)).toEqual([300, 0, undefined]);
      await publishAll(nc, 301, 400, numbered(`${stream}.late`));
      await call(nc, `${api}.STREAM.PURGE.${stream}`, { filter: `${stream}.late` });
      expect(await read(0)).toEqual([400, 297, 298]);
      await call(nc, `${api}.STREAM.PURGE.${stream}`);
      expect(await read(0)).toEqual([400, 0, undefined]);
    });

    test('a daemon whose turn is over sends nothing any more, whatever it still has to do', async () => {
      await using driver = new SinkDriver(fixture.link, stream);
      const lane = laneOf('plant-a', `${stream}.x`);
      driver.feed(lane, 300);
      await driver.untilStored(a.id, 300);
      driver.turn = false;
      driver.feed(lane, 600);
      await fixture.link.require().flush();
      expect((await infoOf(nc, stream)).state.last_seq).toBe(300);
      driver.turn = true;
      await driver.untilStored(a.id, 600);
      await expectAll(nc, lane, 600, stream);
    });

    test('other answers on the subject are not taken for those of JetStream', async () => {
      const lane = laneOf('plant-a', `${stream}.x`);
      const replies = ['', 'ok', '{"ok":true}', '{"error":"no"}', '{', 'null', '[1]'];
      let answered = 0;
      const service = nc.subscribe(`${stream}.>`, {
        callback: (_error, message) => void message.respond(replies[answered++ % replies.length]),
      });
      await nc.flush();
      await using driver = new SinkDriver(fixture.link, stream);
      driver.feed(lane, 500);
      await driver.untilStored(lane.id, 500);
      service.unsubscribe();
      expect(answered).toBeGreaterThan(0);
      await expectAll(nc, lane, 500, stream);
      expect(driver.failure).toBeUndefined();
    });

    test('headers: ours in front, the application’s behind', async () => {
      const block = Buffer.from('NATS/1.0\r\nA:1\r\nA: 2\r\nNats-Msg-Id: app\r\nNats-Expected-Stream: OTHER\r\n\r\n');
      const lane = { ...a, record: () => ({ subject: `${stream}.x`, payload: Buffer.from('x'), headers: block }) };
      await using driver = new SinkDriver(fixture.link, stream);
      driver.feed(lane, 2);
      await driver.untilStored(lane.id, 2);
      const records = await readAll(nc, stream);
      expect(records).toHaveLength(2);
      const second = records[1]!;
      expect(second.header('Nats-Expected-Last-Sequence')).toEqual(['1']);
      expect(second.header('Causeway-Lane')).toEqual(['fleet/plant-a/hub;inc.2;1']);
      expect(second.header('Causeway-Origin')[0]).toMatch(/^plant-a\/S\/inc\/2\/1700000000\d{9}$/);
      expect(second.header('Causeway-At')).toEqual([`hub/${stream}/2`]);
      expect(second.header('A')).toEqual(['1', '2']);
      expect(second.header('Causeway-Msg-Id')).toEqual(['app']);
      expect(second.header('Nats-Msg-Id')).toEqual([]);
      expect(second.header('Nats-Expected-Stream')).toEqual([]);
    });

    test('what a lane wrote is read on with its origin, where it was written and nowhere else', async () => {
      const headers = Buffer.from('NATS/1.0\r\nA: 1\r\n\r\n');
      const lane = { ...a, record: () => ({ subject: `${stream}.x`, payload: Buffer.from('x'), headers }) };
      await using driver = new SinkDriver(fixture.link, stream);
      driver.feed(lane, 3);
      await driver.untilStored(lane.id, 3);
      // The application copies a record, headers and all.
      const stored = await messageAt(nc, api, stream, 2);
      await publishAll(nc, 1, 1, () => ({
        subject: `${stream}.copy`,
        payload: stored!.payload,
        headers: Buffer.from(stored!.headers.toString('latin1').replace(/Nats-Expected[^\r]*\r\n/, ''), 'latin1'),
      }));
      const read = async (cluster: string) => {
        const options = {
          link: fixture.link,
          cluster,
          stream,
          batchBytes: 65_536,
          prefetchBytes: 65_536,
          memory: plentyOfMemory(),
        };
        const probe = new SourceProbe(new JetStreamSource(options)).open();
        await probe.untilRecords(4);
        probe.close();
        expect(probe.records.map((record) => record.headers)).toEqual([headers, headers, headers, headers]);
        return probe.records.map(({ identity }) => identity);
      };
      const origins = [1, 2, 3].map((n) => expect.stringMatching(new RegExp(`^plant-a/S/inc/${n}/1700000000\\d{9}$`)));
      expect(await read('hub')).toEqual([...origins, '']);
    });

    test('I3: what is a copy of a record in another stream, message id and all, takes nothing from the lane', async () => {
      // As a JetStream source makes it, or an application.
      await makeStream(nc, { name: `${stream}b`, subjects: [`${stream}b.>`] });
      const lane = laneOf('plant-a', 'x');
      const into = (name: string) => ({ ...lane, map: (subject: string) => `${name}.${subject}` });
      await using other = new SinkDriver(fixture.link, `${stream}b`, { shared: true });
      await until(() => other.writer.mode === 'id', { what: 'id mode' });
      other.feed(into(`${stream}b`), 10);
      await other.untilStored(lane.id, 10);
      await using driver = new SinkDriver(fixture.link, stream, { shared: true });
      await until(() => driver.writer.mode === 'id', { what: 'id mode' });
      driver.feed(into(stream), 2);
      await driver.untilStored(lane.id, 2);
      for (const sequence of [1, 2, 5, 10]) {
        const { headers, payload } = (await messageAt(nc, api, `${stream}b`, sequence))!;
        expect(headers.toString()).toContain('Nats-Msg-Id');
        await publishAll(nc, 1, 1, () => ({ subject: `${stream}.copy`, payload, headers }));
      }
      driver.feed(into(stream), 10);
      await driver.untilStored(lane.id, 10);
      expect([driver.refused, driver.health]).toEqual([[], []]);
      const subjects = (await readAll(nc, stream)).map(({ subject }) => subject);
      expect(subjects.filter((subject) => subject === `${stream}.copy`)).toHaveLength(4);
      expect(subjects.filter((subject) => subject === `${stream}.x`)).toHaveLength(10);
    });

    test('a value that names the chain’s header does not switch the chain off', async () => {
      // Servers look for a header by the first occurrence of its name.
      const block = Buffer.from('NATS/1.0\r\nA: Nats-Expected-Last-Sequence: 7\r\n\r\n');
      const lane = { ...a, record: () => ({ subject: `${stream}.x`, payload: Buffer.from('x'), headers: block }) };
      await using driver = new SinkDriver(fixture.link, stream);
      await until(() => driver.writer.isOpen, { what: 'an open writer' });
      const { reads } = driver;
      await nc.request(`${stream}.foreign`, 'foreign');
      driver.feed(lane, 3);
      await driver.untilStored(lane.id, 3);
      // The foreign record was noticed, which only the chain can do.
      expect(driver.reads).toBeGreaterThan(reads);
      expect((await infoOf(nc, stream)).state.last_seq).toBe(4);
    });

    test('a full sink is told, and nothing is lost when it has room again', async () => {
      const lanes = [laneOf('plant-a', `${stream}.x`), laneOf('plant-b', `${stream}.y`)];
      await changeStream(nc, stream, { max_msgs: 500, discard: 'new' });
      await using driver = new SinkDriver(fixture.link, stream);
      for (const lane of lanes) driver.feed(lane, 1000);
      await until(() => driver.failure?.reason === 'sink-full', { what: 'a full sink' });
      expect((await infoOf(nc, stream)).state.messages).toBe(500);
      await changeStream(nc, stream, { max_msgs: 5000 });
      for (const lane of lanes) await driver.untilStored(lane.id, 1000);
      for (const lane of lanes) await expectAll(nc, lane, 1000, stream);
      expect(driver.failure).toBeUndefined();
      expect(driver.refused).toEqual([]);
    });

    test('a record that the stream will never take is set aside, and nothing else', async () => {
      await changeStream(nc, stream, { max_msg_size: 4000 });
      const good = laneOf('plant-a', `${stream}.x`);
      const bad: DrivenLane = {
        ...laneOf('plant-b', `${stream}.y`),
        record: (number) => ({
          subject: `${stream}.y`,
          payload: Buffer.from(`plant-b:${number}`.padEnd(number === 50 ? 8000 : 1)),
        }),
      };
      await using driver = new SinkDriver(fixture.link, stream);
      driver.feed(bad, 100);
      driver.feed(good, 500);
      await driver.untilStored(good.id, 500);
      await driver.untilStored(bad.id, 100);
      const failure = { reason: 'record-refused', detail: expect.stringContaining('10054') };
      expect(driver.quarantined).toMatchObject([{ lane: { id: bad.id }, position: { sequence: 50 }, failure }]);
      expect(driver.refused).toEqual([]);
      await expectAll(nc, good, 500, stream);
      expect((await outcome(nc, bad, stream)).numbers).toEqual(upTo(100).filter((number) => number !== 50));
    });

    test('a header block beyond 64 KiB is set aside without being sent', async () => {
      const headers = Buffer.from(`NATS/1.0\r\nA: ${'x'.repeat(65_500)}\r\n\r\n`);
      const lane = { ...a, record: () => ({ subject: `${stream}.x`, payload: Buffer.from('x'), headers }) };
      await using driver = new SinkDriver(fixture.link, stream);
      driver.feed(lane, 1);
      await driver.untilStored(lane.id, 1);
      expect(driver.quarantined[0]!.failure.detail).toContain('bytes of headers');
      expect((await infoOf(nc, stream)).state.messages).toBe(0);
    });

    test('a subject that the sink does not own ends its lane, and goes to no other stream', async () => {
      await makeStream(nc, { name: `${stream}o`, subjects: [`other${stream}.>`] });
      await using driver = new SinkDriver(fixture.link, stream);
      driver.feed(laneOf('plant-a', `other${stream}.x`), 1);
      await until(() => driver.refused.length > 0, { what: 'the refusal' });
      expect(driver.refused).toMatchObject([{ reason: 'sink-subject' }]);
      expect((await infoOf(nc, `${stream}o`)).state.last_seq).toBe(0);
    });

    test('a sink that goes away is missing', async () => {
      await using driver = new SinkDriver(fixture.link, stream);
      driver.feed(laneOf('plant-a', `${stream}.x`), 10);
      await driver.untilStored(a.id, 10);
      await call(nc, `${api}.STREAM.DELETE.${stream}`);
      driver.feed(laneOf('plant-a', `${stream}.x`), 20);
      await until(() => driver.failure?.reason === 'sink-missing', {
        what: () => `it: ${JSON.stringify(driver.health)}`,
      });
    });
  });
});
