import { expect, test } from 'vitest';
import { ChaosProxy } from '../support/chaos-proxy.ts';
import { eachServer } from '../support/each-server.ts';
import { type NatsServer, startCluster, startNats } from '../support/nats-launcher.ts';
import { client, infoOf, makeStream, openLink, readAll } from '../support/nats-rig.ts';
import { Seed } from '../support/seed.ts';
import { SinkRig } from '../support/sink-rig.ts';
import { limitMs, many } from '../support/soak.ts';
import { until } from '../support/until.ts';

const lane = { id: 'one/plant/hub' };
const range = (first: number, last: number) => Array.from({ length: last - first + 1 }, (_, i) => first + i);

/** Whoever receives dies again and again while the server has stored records and its answers are on the way. */
async function dieBetweenStoreAndAck(server: NatsServer, replicas: number): Promise<void> {
  const seed = Seed.announced('store and ack');
  const { hostname, port } = new URL(server.url);
  await using nc = await client(server.url);
  await makeStream(nc, { name: 'S', num_replicas: replicas, duplicate_window: 100_000_000 });
  const held = async () => (await infoOf(nc, 'S')).state.messages;
  let unheard = 0;
  for (let round = 0; round < many(20, 200); round++) {
    const proxy = await ChaosProxy.start({ host: hostname, port: Number(port) });
    const fixture = await openLink(`nats://127.0.0.1:${proxy.address.port}`);
    const rig = new SinkRig(fixture.link, 'S').start();
    const session = await rig.open(lane);
    const before = await held();
    expect(session.cursor).toBe(before);
    // One record goes ahead alone. When it is known to be stored, the others follow, and of them nobody hears.
    session.heard = () => proxy.freeze('from-target');
    session.send('S.x', [before + 1]);
    for (let at = before + 1; at < before + 400; at += 7) session.send('S.x', range(at + 1, at + 7));
    const some = before + seed.between(2, 400);
    // Or the cluster has chosen another leader just then, and what was under way is in doubt anyway.
    const inDoubt = () => rig.log.of('sink-blocked').length > 0;
    await until(async () => (await held()) >= some || inDoubt(), {
      what: () => `records that are stored: ${JSON.stringify(rig.log.lines)}`,
      deadlineMs: 30_000,
    });
    unheard += (await held()) - session.stored;
    await proxy.stop();
    await fixture.link.stop();
    await rig.sink.stop();
  }
  expect(unheard).toBeGreaterThan(0);
  const count = await held();
  const stored = (await readAll(nc, 'S')).map((record) => Number(record.header('Causeway-Origin')[0]!.split('/')[3]));
  expect(stored).toEqual(range(1, count));
}

await eachServer('ends', (binary) => {
  test(
    'twenty deaths between store and acknowledgement, one replica: 0 lost, 0 repeated, in order',
    async () => {
      await using server = await startNats({ binary });
      await dieBetweenStoreAndAck(server, 1);
    },
    limitMs(60_000),
  );

  test(
    'twenty deaths between store and acknowledgement, three replicas: 0 lost, 0 repeated, in order',
    async () => {
      await using cluster = await startCluster({ binary });
      await dieBetweenStoreAndAck(cluster.servers[0]!, 3);
    },
    limitMs(120_000),
  );
});
