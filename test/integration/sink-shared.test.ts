import { expect, test } from 'vitest';
import { call } from '../../src/brokers/nats/api.ts';
import { eachServer } from '../support/each-server.ts';
import { startNats } from '../support/nats-launcher.ts';
import { api, client, infoOf, makeStream, numbered, openLink, publishAll, readAll } from '../support/nats-rig.ts';
import { laneOf, outcome, SinkDriver, upTo } from '../support/sink-driver.ts';
import { SinkRig } from '../support/sink-rig.ts';
import { until } from '../support/until.ts';

const lanes = ['plant-a', 'plant-b', 'plant-c'].map((cluster) => laneOf(cluster, `S.${cluster}`, 100));
const records = 5_000;

await eachServer('ends', (binary) => {
  test('a stream that others write by design: order is kept beside a publisher that never rests', async () => {
    await using server = await startNats({ binary });
    await using nc = await client(server.url);
    await using app = await client(server.url);
    await using fixture = await openLink(server.url);
    await makeStream(nc, { name: 'S' });
    await using driver = new SinkDriver(fixture.link, 'S', { shared: true });
    let done = false;
    let local = 0;
    const publisher = (async () => {
      while (!done) {
        await publishAll(app, local + 1, local + 2000, numbered('S.local', 100));
        local += 2000;
      }
    })();
    for (const lane of lanes) driver.feed(lane, records);
    for (const lane of lanes) await driver.untilStored(lane.id, records);
    done = true;
    await publisher;
    for (const lane of lanes) expect(await outcome(nc, lane)).toEqual({ numbers: upTo(records), late: 0 });
    expect((await infoOf(nc, 'S')).state.messages).toBe(3 * records + local);
    expect([driver.writer.mode, driver.modes, driver.refused]).toEqual(['id', ['id'], []]);
  });

  test.each([0, 50])(
    'I3: made anew while nothing is under way, it gets what was lost; filled up by %i',
    async (others) => {
      await using server = await startNats({ binary });
      await using nc = await client(server.url);
      await using fixture = await openLink(server.url);
      await makeStream(nc, { name: 'S' });
      await using rig = new SinkRig(fixture.link, 'S', { shared: true }).start();
      const lane = { id: 'one/plant/hub' };
      const first = await rig.open(lane);
      await first.bring('S.x', upTo(10));
      await call(nc, `${api}.STREAM.DELETE.S`);
      await makeStream(nc, { name: 'S' });
      first.send('S.x', [11]);
      await until(async () => (await infoOf(nc, 'S')).state.messages > 0, { what: 'the first record' });
      if (others > 0) await publishAll(nc, 1, others, numbered('S.local', 10));
      await until(() => first.ended, { what: 'a sink that is read anew' });
      expect(rig.log.of('sink-regressed')).toHaveLength(1);
      const second = await rig.open(lane);
      await second.bring('S.x', upTo(11).slice(second.cursor));
      const all = (await readAll(nc, 'S')).flatMap((record) => record.header('Causeway-Origin'));
      expect(all.map((origin) => Number(origin.split('/')[3])).sort((x, y) => x - y)).toEqual(upTo(11));
    },
  );
});
