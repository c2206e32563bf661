import { afterEach, beforeEach, expect, test } from 'vitest';
import { call } from '../../src/brokers/nats/api.ts';
import { eachServer } from '../support/each-server.ts';
import { type NatsServer, startNats } from '../support/nats-launcher.ts';
import {
  api,
  type Client,
  client,
  infoOf,
  type LinkFixture,
  makeStream,
  openLink,
  untilUp,
} from '../support/nats-rig.ts';
import { RigSession, SinkRig } from '../support/sink-rig.ts';
import { until } from '../support/until.ts';
import { Worker } from '../support/worker.ts';

const lane = { id: 'one/plant/hub' };
const other = { id: 'two/mill/hub' };
const upTo = (last: number, first = 1): number[] => Array.from({ length: last - first + 1 }, (_, i) => first + i);

await eachServer('all', (binary) => {
  let server: NatsServer;
  let nc: Client;
  let fixture: LinkFixture;
  beforeEach(async () => {
    server = await startNats({ binary });
    nc = await client(server.url);
    fixture = await openLink(server.url);
  });
  afterEach(async () => {
    await fixture[Symbol.asyncDispose]();
    await nc.close();
    await server.dispose();
  });

  test('a queue: worked on, the server restarted, sent again by a daemon that is new: nothing twice, whoever it is of', async () => {
    await makeStream(nc, { name: 'Q', retention: 'workqueue', duplicate_window: 1e9 });
    await using worker = await Worker.start(server.url, 'Q');
    // It is never stopped, as if it had been killed: what it kept is what it wrote before.
    const first = new SinkRig(fixture.link, 'Q').start();
    const [one, two] = [await first.open(lane), await first.open(other)];
    for (const at of [0, 100, 200]) {
      await one.bring('Q.x', upTo(at + 100, at + 1));
      await two.bring('Q.y', upTo(at + 100, at + 1));
    }
    await worker.has(600);
    await server.kill();
    await server.start();
    await untilUp(fixture);
    await using second = new SinkRig(fixture.link, 'Q').start();
    for (const [lost, again] of [
      [one, await second.open(lane)],
      [two, await second.open(other)],
    ] as const) {
      expect(again.cursor).toBe(lost.stored);
      await again.bring(lost === one ? 'Q.x' : 'Q.y', upTo(400));
    }
    await worker.has(800);
    for (const { id } of [lane, other]) expect(worker.positions(id)).toEqual(upTo(400));
    expect(second.sink.guarantee).toBe('exactly-once');
    await first.sink.stop();
  });

  test('copies over two ways: one of what a worker took already is none', async () => {
    await makeStream(nc, { name: 'Q', retention: 'workqueue' });
    await using worker = await Worker.start(server.url, 'Q');
    const first = new SinkRig(fixture.link, 'Q').start();
    await (await first.open(lane)).bring('Q.x', upTo(50));
    await worker.has(50);
    await using second = new SinkRig(fixture.link, 'Q').start();
    const relayed = {
      id: 'way/relay/hub',
      origin: (sequence: number) => `plant/S/inc/${sequence}/1700000000${String(sequence).padStart(9, '0')}`,
    };
    const way = await second.open(relayed);
    await way.bring('Q.x', upTo(60));
    expect(way.duplicates).toBe(50);
    await worker.has(60);
    expect(worker.count).toBe(60);
    await first.sink.stop();
  });

  test('others write the queue: at least once, and said so', async () => {
    await makeStream(nc, { name: 'Q', retention: 'workqueue' });
    await using worker = await Worker.start(server.url, 'Q');
    await using rig = new SinkRig(fixture.link, 'Q').start();
    const session = await rig.open(lane);
    await session.bring('Q.x', upTo(20));
    expect(rig.sink.guarantee).toBe('exactly-once');
    await nc.request('Q.x', 'from somebody else');
    await session.bring('Q.x', upTo(40, 21));
    expect(rig.sink.guarantee).toBe('at-least-once');
    await worker.has(41);
    // Order is what an unexpected writer costs.
    expect(worker.positions(lane.id).toSorted((a, b) => a - b)).toEqual(upTo(40));
  });

  test('a stream of interest without a consumer takes records, and has none: that is its rule', async () => {
    await makeStream(nc, { name: 'I', retention: 'interest' });
    const first = new SinkRig(fixture.link, 'I').start();
    await (await first.open(lane)).bring('I.x', upTo(300));
    expect((await infoOf(nc, 'I')).state).toMatchObject({ messages: 0, last_seq: 300 });
    await using second = new SinkRig(fixture.link, 'I').start();
    const session = await second.open(lane);
    expect(session.cursor).toBe(300);
    await using worker = await Worker.start(server.url, 'I');
    await session.bring('I.x', upTo(400, 301));
    await worker.has(100);
    expect(worker.positions(lane.id)).toEqual(upTo(400, 301));
    await first.sink.stop();
  });

  test('one record per subject: what a newer one took the place of is not sent again', async () => {
    await makeStream(nc, { name: 'K', max_msgs_per_subject: 1 });
    const first = new SinkRig(fixture.link, 'K').start();
    await (await first.open(lane)).bring('K.x', upTo(300));
    await using second = new SinkRig(fixture.link, 'K').start();
    const session = await second.open(lane);
    expect(session.cursor).toBe(300);
    await session.bring('K.x', upTo(310, 301));
    expect((await infoOf(nc, 'K')).state).toMatchObject({ messages: 1, last_seq: 310 });
    await first.sink.stop();
  });

  test('a full subject that refuses newer records is waited for', async () => {
    const limits = { max_msgs_per_subject: 2, discard: 'new', discard_new_per_subject: true };
    await makeStream(nc, { name: 'D', ...limits });
    const { config } = await infoOf(nc, 'D');
    await using rig = new SinkRig(fixture.link, 'D').start();
    const session = await rig.open(lane);
    session.send('D.x', upTo(5));
    await until(() => rig.sink.failure?.reason === 'sink-full', {
      what: () => `it: ${JSON.stringify(rig.sink.failure)}`,
    });
    expect(session.stored).toBe(0);
    await call(nc, `${api}.STREAM.UPDATE.D`, { ...config, max_msgs_per_subject: 10 });
    await until(() => session.stored === 5, { what: 'all of them' });
    expect((await infoOf(nc, 'D')).state).toMatchObject({ messages: 5, last_seq: 5 });
  });

  test('records that grow too old while nobody runs are not sent again', async () => {
    await makeStream(nc, { name: 'A', max_age: 200e6, duplicate_window: 100e6 });
    const first = new SinkRig(fixture.link, 'A').start();
    await (await first.open(lane)).bring('A.x', upTo(300));
    await until(async () => (await infoOf(nc, 'A')).state.messages === 0, { what: 'nothing to be left' });
    await using second = new SinkRig(fixture.link, 'A').start();
    const session = await second.open(lane);
    expect(session.cursor).toBe(300);
    await session.bring('A.x', upTo(310, 301));
    expect((await infoOf(nc, 'A')).state.last_seq).toBe(310);
    await first.sink.stop();
  });

  test('a queue that had records nobody accounts for needs to be told where a lane begins', async () => {
    await makeStream(nc, { name: 'Q', retention: 'workqueue' });
    await using worker = await Worker.start(server.url, 'Q');
    await nc.request('Q.x', 'from somebody else');
    await worker.has(1);
    await using rig = new SinkRig(fixture.link, 'Q').start();
    const untold = () => new RigSession({ ...lane, untold: true }).open(rig.sink);
    await until(() => rig.sink.failure === undefined, { what: 'a sink that is read' });
    await expect(untold()).rejects.toThrow(/nobody accounts for/);
    await (await rig.open(lane)).bring('Q.x', upTo(3));
    // By now all of it is accounted for.
    await new RigSession({ ...other, untold: true }).open(rig.sink);
  });
});
