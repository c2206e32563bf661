/** What a running daemon makes of the versions of its file: good ones, bad ones, and ones that come at a bad time. */
import { createHash } from 'node:crypto';
import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import type { Feed } from '../support/feed.ts';
import { perfect } from '../support/oracle.ts';
import { acquainted, reload, taken, timesLive } from '../support/reload.ts';
import { until } from '../support/until.ts';
import { fanIn, type TestCluster, World } from '../support/world.ts';

const lanes = ['telemetry/plant-a/hub', 'telemetry/plant-b/hub'] as const;
const [lane, otherLane] = lanes;
const specs = fanIn();

let world: World;
let hub: TestCluster;
let plant: TestCluster;
let feeds: readonly Feed[];
let fed = 0;

beforeAll(async () => {
  world = await World.make({
    ...specs,
    hub: {
      ...specs.hub,
      grants: [{ to: 'plant-a', append: { stream: 'FLEET', subjects: ['fleet.own.>'] } }],
    },
  });
  hub = world.cluster('hub');
  plant = world.cluster('plant-a');
  await world.start();
  feeds = await Promise.all([
    plant.feed('TELEMETRY', { count: 0 }),
    world.cluster('plant-b').feed('TELEMETRY', { count: 0 }),
  ]);
});

afterAll(async () => {
  for (const feed of feeds ?? []) await feed[Symbol.asyncDispose]();
  await world?.[Symbol.asyncDispose]();
});

/** Some more records are published at both plants. */
async function publish(): Promise<void> {
  fed += 100;
  for (const feed of feeds) feed.allow(fed);
  for (const feed of feeds) await feed.reached();
}

afterEach(async () => {
  await publish();
  for (const id of lanes) await world.stored(id, fed);
  const judged = lanes.map((id) => ({ lane: id, stream: 'TELEMETRY' }));
  const { verdicts } = await world.judge({ cluster: 'hub', stream: 'FLEET' }, judged);
  expect(verdicts).toEqual({ [lane]: perfect(fed), [otherLane]: perfect(fed) });
});

/** Waits until the daemon says that its file cannot be used, and how. */
async function refuses({ daemon, name }: TestCluster, why: RegExp): Promise<void> {
  let last: string | undefined;
  await until(
    async () => {
      last = (await daemon.status()).file.error;
      return last !== undefined && why.test(last);
    },
    { what: () => `${name} to refuse its file because of ${why}: ${last}` },
  );
}

describe('a file that cannot be used changes nothing but the status', () => {
  const far = { kind: 'fan-in', from: { cluster: 'plant-z', stream: 'S' }, to: { stream: 'FLEET' } };
  const bad: readonly (readonly [what: string, change: string | object, why: RegExp])[] = [
    ['broken YAML', 'version: 1\ncluster: [hub', /hub\.yaml:\d+:\d+: .*indented/],
    ['an unknown key', { monitr: '127.0.0.1:1' }, /hub\.yaml:\d+:\d+: .*monitr/],
    ['a link to nobody', { links: { far } }, /hub\.yaml:\d+:\d+: .*plant-z/],
    ['nothing in it', '', /hub\.yaml.*empty/],
  ];

  test.each(bad)('%s', async (_, change, why) => {
    await publish();
    for (const id of lanes) await world.stored(id, fed);
    const before = await hub.daemon.status();
    const good = await readFile(hub.file, 'utf8');
    await writeFile(hub.file, typeof change === 'string' ? change : JSON.stringify({ ...hub.topology, ...change }));
    hub.daemon.hangUp();
    await refuses(hub, why);
    expect((await hub.daemon.status()).file).toMatchObject({
      hash: before.file.hash,
      generation: before.file.generation,
    });
    expect(await hub.daemon.healthz()).toMatchObject({
      code: 503,
      problems: [{ kind: 'topology', reason: 'topology-invalid' }],
    });
    const live = timesLive(hub, lane);
    await publish();
    for (const id of lanes) await world.stored(id, fed);
    await writeFile(hub.file, good);
    hub.daemon.hangUp();
    expect((await taken(hub)).file.generation).toBe(before.file.generation);
    expect((await hub.daemon.healthz()).code).toBe(200);
    expect(timesLive(hub, lane)).toBe(live);
  });

  test('one that goes, becomes a folder, and comes back half and then whole, without a signal', async () => {
    const good = await readFile(hub.file, 'utf8');
    await rename(hub.file, `${hub.file}.away`);
    await refuses(hub, /does not exist/);
    await mkdir(hub.file);
    await refuses(hub, /directory/);
    await rm(hub.file, { recursive: true });
    await writeFile(hub.file, good.slice(0, good.length / 2));
    await refuses(hub, /hub\.yaml:\d+:\d+/);
    await writeFile(hub.file, good);
    await taken(hub);
  });
});

test('what takes a restart is named, and the rest of the file is taken over', async () => {
  const before = hub.topology;
  const { generation } = (await hub.daemon.status()).file;
  await reload(hub, {
    monitor: '127.0.0.1:1',
    listen: '127.0.0.1:2',
    trustDomain: 'elsewhere',
    tls: { cert: 'plant-a.crt', key: 'plant-a.key', ca: 'ca.crt' },
    nats: { servers: ['nats://127.0.0.1:3'] },
    peers: { ...(before.peers as object), later: {} },
  });
  const status = await hub.daemon.status();
  expect(status.file.pending).toEqual(['trustDomain', 'tls', 'nats', 'listen', 'monitor']);
  expect(status.file.generation).toBe(generation + 1);
  expect(status.peers.map(({ peer }) => peer)).toContain('later');
  await hub.edit({ ...before, cluster: 'other', tls: before.tls });
  hub.daemon.hangUp();
  await refuses(hub, /other.*hub/);
  await hub.write(before);
  hub.daemon.hangUp();
  expect((await taken(hub)).file.pending).toBeUndefined();
});

describe('a grant', () => {
  test('that is taken away cuts the lane at both ends by name, and given back goes on without loss', async () => {
    const { grants } = plant.topology;
    await reload(plant, { grants: [] });
    await hub.shows(lane, 'not-granted', 'parked');
    const refused = { link: 'telemetry', accepted: false, reason: 'not-granted' };
    expect((await plant.daemon.status()).links).toContainEqual(expect.objectContaining(refused));
    expect((await hub.daemon.status()).links).toContainEqual(expect.objectContaining({ ...refused, peer: 'plant-a' }));
    expect((await plant.daemon.status()).lanes).toEqual([]);
    const live = timesLive(hub, otherLane);
    await publish();
    await world.stored(otherLane, fed);
    expect((await hub.daemon.lane(lane)).storedSequence ?? 0).toBeLessThan(fed);
    await reload(plant, { grants });
    await world.stored(lane, fed);
    expect(timesLive(hub, otherLane)).toBe(live);
  });

  test('that is narrowed holds from the next record on, and widened lets it through', async () => {
    const { streams } = { streams: { OWN: { subjects: ['own.>'] } } };
    await plant.addStream('OWN', streams.OWN);
    const { grants } = hub.topology;
    const before = plant.topology;
    const to = { cluster: 'hub', stream: 'FLEET', subject: 'fleet.{subject}' };
    await reload(plant, { links: { own: { kind: 'fan-in', from: { stream: 'OWN' }, to, start: 'all' } } });
    await using feed = await plant.feed('OWN', { count: 10, subject: () => 'own.a' });
    await world.stored('own/plant-a/hub', 10);
    await reload(hub, { grants: [{ to: 'plant-a', append: { stream: 'FLEET', subjects: ['fleet.own.b'] } }] });
    feed.allow(20);
    await hub.shows('own/plant-a/hub', 'not-granted', 'parked');
    await plant.shows('own/plant-a/hub', 'not-granted', 'parked');
    await reload(hub, { grants });
    await world.stored('own/plant-a/hub', 20);
    await reload(plant, { links: before.links });
    await until(async () => (await hub.daemon.status()).lanes.length === 2, { what: 'the link to be withdrawn' });
  });
});

test('a peer that is taken out of the file is cut, and comes back when it is put in again', async () => {
  const { peers, links } = hub.topology;
  const telemetry = (links as Readonly<Record<string, object>>).telemetry!;
  await reload(hub, {
    peers: { 'plant-b': {} },
    grants: [],
    links: { telemetry: { ...telemetry, from: { cluster: 'plant-b', stream: 'TELEMETRY' } } },
  });
  await plant.showsPeer('hub', 'peer-unknown');
  expect((await hub.daemon.status()).peers.map(({ peer }) => peer)).toEqual(['plant-b']);
  await publish();
  await world.stored(otherLane, fed);
  await reload(hub, { peers, links, grants: [] });
  await world.stored(lane, fed);
  await acquainted(hub, plant);
});

describe('at a bad time', () => {
  test('while the own NATS servers are away', async () => {
    const before = hub.topology;
    await hub.server.kill();
    try {
      await reload(hub, { links: {} });
      await reload(hub, { links: before.links });
      await acquainted(hub, plant);
    } finally {
      await hub.server.start();
    }
    for (const id of lanes) await world.stored(id, fed);
  });

  test('while the peer is away: it hears the newest version when it is back', async () => {
    const before = hub.topology;
    await plant.daemon.kill();
    const peers = before.peers as object;
    for (const more of ['one', 'two', 'three']) await reload(hub, { peers: { ...peers, [more]: {} } });
    await plant.daemon.start();
    await acquainted(hub, plant);
    await reload(hub, before);
    await acquainted(hub, plant);
  });

  test('again and again before the one before has settled: the last one counts', async () => {
    const before = hub.topology;
    for (let i = 0; i < 10; i++) {
      await hub.edit({ links: i % 2 === 0 ? {} : before.links });
      hub.daemon.hangUp();
      await plant.edit({ grants: i % 2 === 0 ? [] : specs['plant-a']!.grants });
      plant.daemon.hangUp();
    }
    await Promise.all([taken(hub), taken(plant)]);
    await acquainted(hub, plant);
  });

  test('without a signal, the same again after another was read by one', async () => {
    const before = hub.topology;
    const other = { grants: [] };
    await hub.edit(other);
    await taken(hub);
    await reload(hub, before);
    await hub.edit(other);
    await taken(hub);
    await reload(hub, before);
  });

  test('while it drains: it is left for the next start', async () => {
    const before = hub.topology;
    await hub.server.freeze();
    try {
      await publish();
      const stopping = hub.daemon.stop();
      await until(async () => !hub.daemon.running || (await hub.daemon.status()).draining, { what: 'the drain' });
      await hub.edit({ links: {} });
      hub.daemon.hangUp();
      hub.server.thaw();
      expect(await stopping).toEqual({ code: 0, signal: null });
      const hash = createHash('sha256')
        .update(await readFile(hub.file))
        .digest('hex');
      expect(hub.daemon.lastRun()).not.toContain(hash);
    } finally {
      hub.server.thaw();
    }
    await hub.write(before);
    await hub.daemon.start();
    await acquainted(hub, plant);
  });
});
