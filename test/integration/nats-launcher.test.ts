import { existsSync } from 'node:fs';
import { dirname } from 'node:path';
import { jetstream, jetstreamManager } from '@nats-io/jetstream';
import { connect, type NatsConnection } from 'nats';
import { expect, test } from 'vitest';
import { isAlive } from '../../src/brokers/nats/process-info.ts';
import { eachServer } from '../support/each-server.ts';
import { type NatsServer, startCluster, startNats } from '../support/nats-launcher.ts';
import { tempDir } from '../support/temp.ts';
import { until } from '../support/until.ts';

async function client(url: string | readonly string[]): Promise<NatsConnection & AsyncDisposable> {
  const connection = await connect({ servers: [url].flat() as string[], reconnectTimeWait: 50 });
  return Object.assign(connection, { [Symbol.asyncDispose]: () => connection.close() });
}

async function storeThree(server: NatsServer): Promise<void> {
  await using nc = await client(server.url);
  const manager = await jetstreamManager(nc);
  await manager.streams.add({ name: 'KEPT', subjects: ['kept.>'] });
  for (const n of [1, 2, 3]) await jetstream(nc).publish(`kept.${n}`, `payload ${n}`);
}

async function stored(server: NatsServer): Promise<number> {
  await using nc = await client(server.url);
  return (await (await jetstreamManager(nc)).streams.info('KEPT')).state.messages;
}

await eachServer('all', (binary) => {
  test('a killed server comes back on the same port with what it stored', async () => {
    await using server = await startNats({ binary });
    const { url, pid } = server;
    await storeThree(server);
    await server.kill();
    expect(isAlive(pid)).toBe(false);
    await server.start();
    expect(server.url).toBe(url);
    expect(server.pid).not.toBe(pid);
    expect(await stored(server)).toBe(3);
  });

  test('restart ends it orderly first', async () => {
    await using server = await startNats({ binary });
    await storeThree(server);
    await server.restart();
    expect(await stored(server)).toBe(3);
    await server.stop();
    expect(server.running).toBe(false);
    expect(server.logs.join('\n')).toContain('JetStream Shutdown');
  });

  test('a leaf node carries messages to its hub', async () => {
    await using hub = await startNats({ binary, leafListen: true, name: 'hub', jetstream: { domain: 'hub' } });
    await using leaf = await startNats({
      binary,
      name: 'leaf',
      jetstream: { domain: 'leaf' },
      leafRemotes: [{ url: hub.leafUrl }],
    });
    await using atHub = await client(hub.url);
    await using atLeaf = await client(leaf.url);
    let received = 0;
    atHub.subscribe('up', { callback: () => void received++ });
    await atHub.flush();
    await until(
      async () => {
        atLeaf.publish('up');
        await atLeaf.flush();
        return received > 0;
      },
      { what: 'a message through the leaf node', everyMs: 50 },
    );
  });
});

await eachServer('newest', (binary) => {
  test('three nodes keep an R3 stream while one is down', async () => {
    await using cluster = await startCluster({ binary });
    await using nc = await client(cluster.urls);
    const manager = await jetstreamManager(nc, { timeout: 10_000 });
    await manager.streams.add({ name: 'R3', subjects: ['r3'], num_replicas: 3 });
    const leader = (await manager.streams.info('R3')).cluster?.leader;
    const follower = cluster.servers.find((one) => one.name !== leader)!;
    await follower.kill();
    const js = jetstream(nc);
    await until(() => js.publish('r3', 'x', { timeout: 2_000 }), { what: 'a publish with two of three nodes' });
    await follower.start();
    await cluster.ready();
    const replicas = await until(
      async () => {
        const info = (await manager.streams.info('R3')).cluster;
        return info?.replicas?.length === 2 && info.replicas.every((one) => one.current) && info;
      },
      { what: 'all replicas to be current' },
    );
    expect(replicas.leader).toBeTruthy();
  });

  test('a frozen server answers nothing, and goes on when thawed', async () => {
    await using server = await startNats({ binary });
    await using nc = await client(server.url);
    await server.freeze();
    await expect(nc.request('$JS.API.INFO', '', { timeout: 300 })).rejects.toThrow();
    server.thaw();
    await until(() => nc.request('$JS.API.INFO', '', { timeout: 1_000 }), { what: 'an answer after the thaw' });
  });

  test('a frozen server ends with its disposal, and its folder goes with it', async () => {
    const server = await startNats({ binary });
    const { pid } = server;
    const folder = dirname(server.storeDir);
    await server.freeze();
    await server.dispose();
    expect(isAlive(pid)).toBe(false);
    expect(existsSync(folder)).toBe(false);
  });

  test('a store that was given outlives the server', async () => {
    await using dir = await tempDir('store');
    {
      await using first = await startNats({ binary, storeDir: dir.path });
      await storeThree(first);
    }
    await using second = await startNats({ binary, storeDir: dir.path });
    expect(await stored(second)).toBe(3);
  });

  test('configuration that the server refuses is in the error, with the log', async () => {
    await expect(startNats({ binary, config: 'no_such_key: 1' })).rejects.toThrow(/did not start.*no_such_key/s);
  });

  test('without JetStream', async () => {
    await using server = await startNats({ binary, jetstream: false });
    await using nc = await client(server.url);
    expect(nc.info?.jetstream ?? false).toBe(false);
  });
});
