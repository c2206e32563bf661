import { cp, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { call } from '../../src/brokers/nats/api.ts';
import { JetStreamSource } from '../../src/brokers/nats/js-source.ts';
import { eachServer } from '../support/each-server.ts';
import { plentyOfMemory } from '../support/memory.ts';
import { startCluster } from '../support/nats-launcher.ts';
import {
  api,
  type Client,
  client,
  infoOf,
  makeStream,
  numbered,
  openLink,
  publishAll,
  readAll,
} from '../support/nats-rig.ts';
import { SinkDriver } from '../support/sink-driver.ts';
import { SinkRig } from '../support/sink-rig.ts';
import { SourceProbe } from '../support/source-probe.ts';
import { until } from '../support/until.ts';

async function leaderOf(nc: Client, stream: string): Promise<string | undefined> {
  const info = await call<{ cluster: { leader?: string } }>(nc, `${api}.STREAM.INFO.${stream}`);
  return info.cluster.leader;
}

function upTo(count: number): number[] {
  return Array.from({ length: count }, (_, i) => i + 1);
}

await eachServer('newest', (binary) => {
  test('a source and a sink go on when the leader of both is killed', async () => {
    await using cluster = await startCluster({ binary });
    await using nc = await client(cluster.urls);
    await using fixture = await openLink(cluster.urls);
    await makeStream(nc, { name: 'S', num_replicas: 3 });
    const leader = await until(() => leaderOf(nc, 'S'), { what: 'a leader' });
    let sink = '';
    for (let n = 1; sink === ''; n++) {
      await makeStream(nc, { name: `T${n}`, num_replicas: 3 });
      if ((await until(() => leaderOf(nc, `T${n}`), { what: 'a leader' })) === leader) sink = `T${n}`;
    }
    await publishAll(nc, 1, 5000, numbered('S.a', 100));
    const prefetchBytes = 32 * 1024;
    const source = new JetStreamSource({
      link: fixture.link,
      cluster: 'c',
      stream: 'S',
      batchBytes: 16_384,
      prefetchBytes,
      memory: plentyOfMemory(),
    });
    const probe = new SourceProbe(source, { pulse: () => 8192 }).open();
    await using driver = new SinkDriver(fixture.link, sink);
    const lane = {
      id: 'fleet/plant/hub',
      record: (number: number) => ({ subject: `${sink}.x`, payload: Buffer.from(`${number}`) }),
    };
    driver.feed(lane, 15_000);
    await probe.untilRecords(500);
    await driver.untilStored(lane.id, 500);
    await cluster.servers.find((server) => server.name === leader)!.kill();
    await driver.untilStored(lane.id, 15_000);
    await until(async () => ![undefined, leader].includes(await leaderOf(nc, 'S')), { what: 'another leader' });
    await publishAll(nc, 5001, 6000, numbered('S.a', 100));
    await probe.untilRecords(6000);
    probe.close();
    expect(probe.records.map(({ position }) => position.sequence)).toEqual(upTo(6000));
    expect([probe.gaps, probe.failures, probe.faults]).toEqual([[], [], []]);
    expect((await readAll(nc, sink)).map(({ text }) => Number(text))).toEqual(upTo(15_000));
    expect(driver.modes).toEqual([]);
  });

  test('I3: a sink on another server, which comes back with less, gets again what it lost', async () => {
    await using cluster = await startCluster({ binary });
    await using nc = await client(cluster.urls);
    await makeStream(nc, { name: 'S' });
    const leader = await until(() => leaderOf(nc, 'S'), { what: 'a leader' });
    const holder = cluster.servers.find((server) => server.name === leader)!;
    const other = cluster.servers.find((server) => server !== holder)!;
    await using elsewhere = await client(other.url);
    await using fixture = await openLink(other.url);
    await using one = new SinkRig(fixture.link, 'S', { shared: true }).start();
    const lane = { id: 'one/plant/hub' };
    const isBack = () =>
      leaderOf(elsewhere, 'S').then(
        (name) => name === leader,
        () => false,
      );
    const kept = async () => (await one.store.checkpoint('S', lane.id, 1))?.checkpoint.cursor?.sequence;
    const bring = async (last: number) => {
      const session = await one.open(lane);
      await session.bring('S.x', upTo(last).slice(session.cursor));
      // What it knows is looked at before it is kept.
      await until(async () => (await kept()) === last, { what: 'a checkpoint' });
      return session;
    };
    await bring(50);
    const data = join(holder.storeDir, 'jetstream', '$G', 'streams', 'S');
    await holder.stop();
    await cp(data, `${holder.storeDir}-then`, { recursive: true });
    await holder.start();
    await until(isBack, { what: 'the stream' });
    const session = await bring(60);
    await holder.stop();
    await rm(data, { recursive: true });
    await rename(`${holder.storeDir}-then`, data);
    await holder.start();
    await until(isBack, { what: 'the stream' });
    expect((await infoOf(elsewhere, 'S')).state.last_seq).toBe(50);
    await publishAll(elsewhere, 1, 200, numbered('S.local'));
    session.send('S.x', [61]);
    await until(() => session.ended, { what: 'the end of the session' });
    await bring(70);
    const found = (await readAll(elsewhere, 'S')).flatMap((record) => record.header('Causeway-Origin'));
    expect(found.map((origin) => Number(origin.split('/')[3])).sort((a, b) => a - b)).toEqual(upTo(70));
  });
});
