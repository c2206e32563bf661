import { expect, test } from 'vitest';
import { call } from '../../src/brokers/nats/api.ts';
import { JetStreamSource } from '../../src/brokers/nats/js-source.ts';
import { eachServer } from '../support/each-server.ts';
import { plentyOfMemory } from '../support/memory.ts';
import { startCluster } from '../support/nats-launcher.ts';
import { api, type Client, client, makeStream, numbered, openLink, publishAll, readAll } from '../support/nats-rig.ts';
import { SinkDriver } from '../support/sink-driver.ts';
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
});
