import { EventEmitter } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { RetentionPolicy } from '@nats-io/jetstream';
import { expect, test } from 'vitest';
import type { UserPermissions } from '../../src/brokers/nats/permissions.ts';
import { formatVersion, type ServerBinary } from '../../src/brokers/nats/server-binary.ts';
import { runCli } from '../../src/cli/program.ts';
import { eachServer } from '../support/each-server.ts';
import { type TempDir, tempDir } from '../support/temp.ts';
import { until } from '../support/until.ts';
import { type ClusterSpec, fanIn, type TestCluster, trustDomain, World } from '../support/world.ts';

const lane = 'telemetry/plant-a/hub';

/** A hub that has to make its sink stream first. */
function specs(): Record<string, ClusterSpec> {
  const { hub, 'plant-a': plant } = fanIn(['plant-a']);
  const { telemetry } = hub!.links as { telemetry: { to: object } };
  const to = { ...telemetry.to, create: { subjects: ['fleet.>'], maxBytes: '64MiB' } };
  const jobs = { ...telemetry, from: { cluster: 'plant-a', stream: 'JOBS', consume: true }, to };
  return {
    hub: { ...hub!, streams: {}, links: { telemetry: { ...telemetry, to }, jobs } },
    'plant-a': {
      ...plant!,
      streams: { ...plant!.streams, JOBS: { subjects: ['jobs.>'], retention: RetentionPolicy.Workqueue } },
      grants: [...(plant!.grants ?? []), { to: 'hub', consume: { stream: 'JOBS' } }],
    },
  };
}

/** What `causeway permissions` prints for a cluster of these. */
async function printed(dir: TempDir, name: string, binary: ServerBinary, ...options: string[]): Promise<string> {
  const spec = specs()[name]!;
  const file = join(dir.path, `${name}.yaml`);
  const topology = {
    version: 1,
    cluster: name,
    trustDomain,
    tls: { cert: 'x.crt', key: 'x.key', ca: 'ca.crt' },
    nats: { servers: ['nats://127.0.0.1:4222'] },
    ...(spec.dial === undefined ? { listen: '127.0.0.1:7443' } : {}),
    peers: Object.fromEntries(
      Object.keys(specs())
        .filter((peer) => peer !== name)
        .map((peer) => [peer, spec.dial === undefined ? {} : { dial: ['127.0.0.1:7443'] }]),
    ),
    links: spec.links ?? {},
    grants: spec.grants ?? [],
  };
  await writeFile(file, JSON.stringify(topology));
  let text = '';
  const write = (part: string): void => {
    text += part;
  };
  const host = { name: 'causeway', version: '1', env: {}, stderrIsTerminal: false, stdoutColumns: () => undefined };
  const args = ['permissions', file, '--server', formatVersion(binary.version), ...options];
  const code = await runCli(args, { ...host, out: write, err: write, signals: new EventEmitter() });
  expect(code, text).toBe(0);
  return text;
}

/** Clusters whose daemons are users of their own; the name of the user is in a file, `causeway` at first. */
async function make(
  dir: TempDir,
  binary: ServerBinary,
  users: Readonly<Record<string, Readonly<Record<string, string>>>>,
) {
  const made: Record<string, ClusterSpec> = {};
  for (const [name, spec] of Object.entries(specs())) {
    const entries = Object.entries(users[name]!).map(([user, text]) => `{ user: "${user}", password: secret\n${text}}`);
    const config = `no_auth_user: app\nauthorization { users = [\n{ user: app, password: app }\n${entries.join('\n')}\n] }`;
    made[name] = { ...spec, server: { config }, env: { CAUSEWAY_TEST_PASSWORD: 'secret' } };
    await writeFile(join(dir.path, `${name}.user`), 'causeway');
  }
  const world = await World.make(made, { binary });
  for (const name of Object.keys(made)) {
    const cluster = world.cluster(name);
    const user = { file: join(dir.path, `${name}.user`) };
    await cluster.edit({ nats: { servers: [cluster.server.url], user, password: { env: 'CAUSEWAY_TEST_PASSWORD' } } });
  }
  return world;
}

await eachServer('all', (binary) => {
  test('with the permissions that are printed everything goes, from the first record on and over restarts', {
    timeout: 120_000,
  }, async () => {
    await using dir = await tempDir('users');
    const hub = { causeway: await printed(dir, 'hub', binary) };
    const plant = { causeway: await printed(dir, 'plant-a', binary) };
    await using world = await make(dir, binary, { hub, 'plant-a': plant });
    const clusters = [world.cluster('hub'), world.cluster('plant-a')];
    // The lease needs none that are not needed anyway.
    await clusters[0]!.edit({ standby: true });
    await world.start();
    await using feed = await world.cluster('plant-a').feed('TELEMETRY', { count: 1_000 });
    await using jobs = await world.cluster('plant-a').feed('JOBS', { count: 500 });
    await world.stored(lane, 1_000);
    await Promise.all(clusters.map(({ daemon }) => daemon.stop()));
    feed.allow(2_000);
    await world.start();
    await world.stored(lane, 2_000);
    await Promise.all(clusters.map(({ daemon }) => daemon.kill()));
    feed.allow(3_000);
    jobs.allow(1_000);
    await world.start();
    await world.stored(lane, 3_000);
    await world.stored('jobs/plant-a/hub', 1_000);
    await until(async () => (await world.cluster('plant-a').count('JOBS')) === 0, { what: 'JOBS to be empty' });
    // The lag is asked for every five seconds, and checkpoints are written every second.
    const { nowMs } = await world.cluster('plant-a').daemon.status();
    await until(async () => (await world.cluster('plant-a').daemon.status()).nowMs > nowMs + 6_000, {
      what: 'six seconds',
    });
    for (const { daemon, server } of clusters) {
      expect(daemon.log()).not.toMatch(/nats-permission/);
      expect(server.logs.filter((line) => /violation/i.test(line))).toEqual([]);
    }
  });
});

/** Lines that are needed by a daemon that starts where another one stopped, and not only on a bad day. */
const needed: Readonly<Record<string, readonly string[]>> = {
  hub: [
    '$JS.API.STREAM.INFO.FLEET',
    '$JS.API.STREAM.MSG.GET.FLEET',
    'fleet.*.>',
    '$JS.API.STREAM.INFO.KV_CAUSEWAY',
    '$JS.API.STREAM.MSG.GET.KV_CAUSEWAY',
    '$JS.API.CONSUMER.CREATE.KV_CAUSEWAY.*.$KV.CAUSEWAY.>',
    '$KV.CAUSEWAY.>',
    '_INBOX.causeway.>',
  ],
  'plant-a': [
    '$JS.API.STREAM.INFO.TELEMETRY',
    '$JS.API.STREAM.MSG.GET.TELEMETRY',
    '$JS.API.CONSUMER.CREATE.TELEMETRY.*',
    '$JS.API.CONSUMER.MSG.NEXT.TELEMETRY.*',
    '$JS.API.CONSUMER.DELETE.JOBS.*',
    '$JS.ACK.JOBS.>',
  ],
};

await eachServer('newest', (binary) => {
  test('without a line of them the daemon says what it may not do, and goes on when it may', {
    timeout: 180_000,
  }, async () => {
    await using dir = await tempDir('users');
    const users: Record<string, Record<string, string>> = {};
    for (const [name, lines] of Object.entries(needed)) {
      const text = await printed(dir, name, binary);
      users[name] = { causeway: text };
      for (const [i, line] of lines.entries()) {
        const without = text.split('\n').filter((one) => !one.includes(`${JSON.stringify(line)} `));
        expect(without.length, line).toBe(text.split('\n').length - 1);
        users[name][`without-${i}`] = without
          .join('\n')
          .replace(/(subscribe = \{\n\s*allow = \[)\n(\s*\])/, '$1 "other" $2');
      }
    }
    await using world = await make(dir, binary, users);
    await world.start();
    let count = 500;
    await using feed = await world.cluster('plant-a').feed('TELEMETRY', { count });
    await using jobs = await world.cluster('plant-a').feed('JOBS', { count });
    await world.stored(lane, count);
    const become = async (cluster: TestCluster, user: string): Promise<void> => {
      await cluster.daemon.kill();
      await writeFile(join(dir.path, `${cluster.name}.user`), user);
      await cluster.daemon.start();
    };
    for (const [name, lines] of Object.entries(needed)) {
      const cluster = world.cluster(name);
      for (const [i, line] of lines.entries()) {
        count += 10;
        await become(cluster, `without-${i}`);
        feed.allow(count);
        jobs.allow(count);
        await until(() => cluster.daemon.lastRun().includes('"reason":"nats-permission"'), {
          what: () => `${name} to say that it may not ${line}\n${cluster.daemon.log()}`,
          deadlineMs: 30_000,
        });
      }
      await become(cluster, 'causeway');
      await world.stored(lane, count);
    }
  });

  test('as JSON it is the same', async () => {
    await using dir = await tempDir('users');
    const text = await printed(dir, 'hub', binary);
    const [part] = JSON.parse(await printed(dir, 'hub', binary, '--json')) as [UserPermissions & { cluster: string }];
    expect(part.cluster).toBe('hub');
    const lines = [...part.publish, ...part.subscribe].map(({ subject }) => JSON.stringify(subject));
    expect([...text.matchAll(/^ {6}("\S+")/gm)].map(([, subject]) => subject)).toEqual(lines);
    expect(lines.length).toBeGreaterThan(15);
  });
});
