import { expect, test } from 'vitest';
import { RawHeaders } from '../../src/brokers/nats/raw-message.ts';
import { sinkWriterDefaults } from '../../src/lane/sink-writer-events.ts';
import { ChaosProxy } from '../support/chaos-proxy.ts';
import { eachServer } from '../support/each-server.ts';
import { startNats } from '../support/nats-launcher.ts';
import { asUser, client, infoOf, makeStream, openLink, readAll, untilUp } from '../support/nats-rig.ts';
import { expectAll, laneOf, outcome, SinkDriver, upTo } from '../support/sink-driver.ts';
import { until } from '../support/until.ts';

const a = laneOf('plant-a');
const b = laneOf('plant-b');

await eachServer('ends', (binary) => {
  test('a server killed in flight, and a daemon that starts anew: each record once, in order', async () => {
    await using server = await startNats({ binary });
    await using nc = await client(server.url);
    await using fixture = await openLink(server.url);
    await makeStream(nc, { name: 'S' });
    const first = new SinkDriver(fixture.link, 'S');
    for (const lane of [a, b]) first.feed(lane, 6000);
    await first.untilStored(a.id, 1000);
    await server.kill();
    await until(() => fixture.link.connection === undefined, { what: 'the end of the connection' });
    await server.start();
    await first.untilStored(b.id, 3000);
    // What is in flight at this moment is in flight still when the next one begins.
    first.stop();
    await using second = new SinkDriver(fixture.link, 'S');
    for (const lane of [a, b]) second.feed(lane, 10_000);
    await second.untilStored(a.id, 8000);
    await server.kill();
    await until(() => fixture.link.connection === undefined, { what: 'the end of the connection' });
    await server.start();
    for (const lane of [a, b]) await second.untilStored(lane.id, 10_000);
    second.feed(a, 10_001);
    await second.untilStored(a.id, 10_001);
    await expectAll(nc, a, 10_001);
    await expectAll(nc, b, 10_000);
    expect(second.modes).toEqual([]);
    expect(second.failure).toBeUndefined();
  });

  test('a line that breaks in the middle, again and again', async () => {
    await using server = await startNats({ binary });
    const proxy = await ChaosProxy.start({ host: '127.0.0.1', port: server.port }, { delayMs: 2 });
    await using nc = await client(server.url);
    await using fixture = await openLink(`nats://127.0.0.1:${proxy.address.port}`);
    await makeStream(nc, { name: 'S' });
    const driver = new SinkDriver(fixture.link, 'S');
    driver.feed(a, 20_000);
    for (const at of [500, 4000, 9000, 15_000]) {
      await driver.untilStored(a.id, at);
      proxy.cut();
      await until(() => fixture.link.connection === undefined, { what: 'the end of the connection' });
      await untilUp(fixture);
    }
    await driver.untilStored(a.id, 20_000);
    driver.stop();
    await expectAll(nc, a, 20_000);
    await fixture.link.stop();
    await proxy.stop();
  });

  test('the client gave up: the log goes on over the connection made in its place', async () => {
    await using server = await startNats({ binary });
    await using nc = await client(server.url);
    process.env.CAUSEWAY_TEST_SINK_TOKEN = 'anything';
    await using fixture = await openLink(server.url, { token: { env: 'CAUSEWAY_TEST_SINK_TOKEN' } });
    await makeStream(nc, { name: 'S' });
    await using driver = new SinkDriver(fixture.link, 'S');
    driver.feed(a, 100);
    await driver.untilStored(a.id, 100);
    const before = fixture.link.require();
    delete process.env.CAUSEWAY_TEST_SINK_TOKEN;
    await server.restart();
    await until(() => fixture.link.failure?.reason === 'nats-auth', { what: 'the missing token to be noticed' });
    process.env.CAUSEWAY_TEST_SINK_TOKEN = 'anything';
    driver.feed(a, 200);
    await driver.untilStored(a.id, 200);
    expect(fixture.link.require()).not.toBe(before);
    await expectAll(nc, a, 200);
  });

  test('a permission that lacks is named, does not touch other streams, and heals', async () => {
    const users = (denied: string) => `authorization { users: [
      { user: app, password: app },
      { user: bridge, password: bridge, permissions: { publish: { deny: ["${denied}"] } } } ] }`;
    await using strict = await startNats({ binary, config: users('S.x') });
    await using app = await client(strict.url, 'app');
    await using fixture = await openLink(strict.url, asUser('bridge'));
    await makeStream(app, { name: 'S' });
    await makeStream(app, { name: 'T' });
    await using driver = new SinkDriver(fixture.link, 'S');
    await using other = new SinkDriver(fixture.link, 'T');
    const free = laneOf('plant-b', 'T.x');
    driver.feed(a, 100);
    other.feed(free, 100);
    // Nothing of the lane was ever stored: it is the lane that may not, and not its first record.
    await until(() => driver.refused.length > 0, { what: 'the refusal' });
    expect(driver.refused).toMatchObject([{ reason: 'nats-permission', detail: expect.stringContaining('S.x') }]);
    expect(driver.quarantined).toEqual([]);
    await other.untilStored(free.id, 100);
    expect(other.health).toEqual([]);
    expect((await infoOf(app, 'S')).state.messages).toBe(0);
    await strict.stop();
    await using lenient = await startNats({
      binary,
      config: users('none'),
      storeDir: strict.storeDir,
      port: strict.port,
    });
    driver.feed(a, 100);
    await driver.untilStored(a.id, 100);
    await using reader = await client(lenient.url, 'app');
    await expectAll(reader, a, 100);
    await expectAll(reader, free, 100, 'T');
    expect(driver.failure).toBeUndefined();
  });

  test('without JetStream, and without a stream, it says so, and begins when they are there', async () => {
    await using without = await startNats({ binary, jetstream: false });
    await using fixture = await openLink(without.url);
    await using driver = new SinkDriver(fixture.link, 'S');
    driver.feed(a, 10);
    await until(() => driver.failure?.reason === 'jetstream-unavailable', {
      what: () => JSON.stringify(driver.health),
    });
    await without.stop();
    await using server = await startNats({ binary, port: without.port });
    await until(() => driver.failure?.reason === 'sink-missing', { what: () => JSON.stringify(driver.health) });
    await using nc = await client(server.url);
    await makeStream(nc, { name: 'S' });
    await driver.untilStored(a.id, 10);
    await expectAll(nc, a, 10);
  });
});

await eachServer('ends', (binary) => {
  // The fact behind docs/decisions/0002-chain-and-foreign-writers.md.
  test('a foreign record breaks one link of a chain, and the next link holds again', async () => {
    await using server = await startNats({ binary });
    await using nc = await client(server.url);
    await using app = await client(server.url);
    await makeStream(nc, { name: 'S' });
    const answers: { seq?: number; error?: { err_code: number } }[] = [];
    nc.subscribe('answers.*', { callback: (_error, message) => void answers.push(message.json()) });
    for (let n = 1; n <= 10; n++) {
      const headers = new RawHeaders(Buffer.from(`NATS/1.0\r\nNats-Expected-Last-Sequence: ${n - 1}\r\n\r\n`))
        .asHeaders;
      nc.publish('S.a', String(n), { reply: `answers.${n}`, headers });
      if (n === 5) {
        await nc.flush();
        await until(() => answers.length === 5, { what: 'five answers' });
        await app.request('S.foreign', 'foreign');
      }
    }
    await until(() => answers.length === 10, { what: 'ten answers' });
    expect(answers.map(({ error }) => error?.err_code ?? 0)).toEqual([0, 0, 0, 0, 0, 10071, 0, 0, 0, 0]);
    expect((await readAll(nc, 'S')).map(({ text }) => text)).toEqual([
      '1',
      '2',
      '3',
      '4',
      '5',
      'foreign',
      '7',
      '8',
      '9',
      '10',
    ]);
  });

  test('others write the same stream: each record once, nearly all in order', async () => {
    await using server = await startNats({ binary });
    await using nc = await client(server.url);
    await using app = await client(server.url);
    await using fixture = await openLink(server.url);
    await makeStream(nc, { name: 'S' });
    await using driver = new SinkDriver(fixture.link, 'S', { idModeMs: 300 });
    let count = 0;
    let foreign = 0;
    const more = (records: number) => {
      count += records;
      for (const lane of [a, b]) driver.feed(lane, count);
    };
    // Foreign records into a chain that never rests, until one meets it; and on, in the other mode.
    const meet = async () => {
      if (driver.stored(a.id) >= count - 1000) more(2000);
      await app.request('S.foreign', 'foreign');
      foreign++;
      return driver.modes.includes('id');
    };
    await until(meet, { what: 'the other mode', everyMs: 0 });
    for (let i = 0; i < 20; i++) await meet();
    more(3000);
    await driver.untilStored(a.id, count - 2500);
    await server.kill();
    await until(() => fixture.link.connection === undefined, { what: 'the end of the connection' });
    await server.start();
    // Then silence until the chain is back; and one more.
    for (const lane of [a, b]) await driver.untilStored(lane.id, count);
    await until(() => driver.writer.mode === 'chain' && driver.writer.isOpen, { what: 'the chain' });
    await until(() => app.request('S.foreign', 'foreign'), { what: 'a foreign record' });
    foreign++;
    more(500);
    for (const lane of [a, b]) await driver.untilStored(lane.id, count);
    expect(driver.modes.slice(0, 2)).toEqual(['id', 'chain']);
    let late = 0;
    for (const lane of [a, b]) {
      const found = await outcome(nc, lane);
      expect([...found.numbers].sort((x, y) => x - y)).toEqual(upTo(count));
      late += found.late;
    }
    // A foreign record that meets a chain costs the place of one record of ours; the kill, of what was in flight in id mode.
    expect(late).toBeLessThanOrEqual(foreign + sinkWriterDefaults.maxInFlightIdRecords);
    expect(driver.refused).toEqual([]);
  });
});
