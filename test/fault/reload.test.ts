/** Files that change under load: what they leave alone goes on as it is, what they change goes on where it stood. */
import { mkdir, rename, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import type { Feed } from '../support/feed.ts';
import { acquainted, taken, timesLive } from '../support/reload.ts';
import { allOf, judgeByContent } from '../support/replica-oracle.ts';
import { Seed } from '../support/seed.ts';
import { type ClusterSpec, type TestCluster, World } from '../support/world.ts';

const plants = ['plant-a', 'plant-b'];
const numbers = [0, 1, 2, 3, 4];
const count = 2_000;
const load = { count, perSecond: 90, payloadBytes: 64 };
const upLink = (n: number, subject = `fleet.{origin}.${n}.{subject}`) => ({
  kind: 'fan-in',
  from: { cluster: plants, stream: `UP${n}` },
  to: { stream: 'FLEET', subject },
});
const downLink = (n: number) => ({
  kind: 'fan-out',
  from: { stream: `DOWN${n}` },
  to: { cluster: plants, stream: `DOWN${n}` },
});
const links: Readonly<Record<string, unknown>> = Object.fromEntries(
  numbers.flatMap((n) => [
    [`up-${n}`, upLink(n)],
    [`down-${n}`, downLink(n)],
  ]),
);
const grants = [
  ...numbers.map((n) => ({ to: 'hub', read: { stream: `UP${n}` } })),
  ...numbers.map((n) => ({ to: 'hub', append: { stream: `DOWN${n}` } })),
];

/** Twenty lanes: five links up and five down, with each of two plants. */
function twentyLanes(): Record<string, ClusterSpec> {
  const downs = numbers.map((n) => [`DOWN${n}`, { subjects: [`down${n}.>`], duplicate_window: 1e9 }]);
  const ups = numbers.map((n) => [`UP${n}`, { subjects: [`up${n}.>`] }]);
  const plant: ClusterSpec = { dial: ['hub'], streams: Object.fromEntries([...ups, ...downs]), grants };
  return {
    hub: {
      streams: { FLEET: { subjects: ['fleet.>'], duplicate_window: 1e9 }, ...Object.fromEntries(downs) },
      links,
    },
    'plant-a': plant,
    'plant-b': plant,
  };
}

/** Ways in which a new version of a file gets to its place. */
const ways: Readonly<Record<string, (cluster: TestCluster, text: string, version: number) => Promise<void>>> = {
  signal: async ({ file, daemon }, text) => {
    await writeFile(file, text);
    daemon.hangUp();
  },
  write: ({ file }, text) => writeFile(file, text),
  rename: async ({ file }, text) => {
    await writeFile(`${file}.new`, text);
    await rename(`${file}.new`, file);
  },
  // The file is a link through `..data`, a link that is swapped, as Kubernetes does it with a ConfigMap.
  configMap: async ({ file, name }, text, version) => {
    const mount = `${file}.mount`;
    const folder = `..${version}`;
    await mkdir(join(mount, folder), { recursive: true });
    await writeFile(join(mount, folder, 'file'), text);
    await symlink(folder, join(mount, '..new'));
    await rename(join(mount, '..new'), join(mount, '..data'));
    await symlink(join(`${name}.yaml.mount`, '..data', 'file'), `${file}.new`);
    await rename(`${file}.new`, file);
  },
};

test('50 reloads under load with 20 lanes: nothing is lost or repeated, and untouched lanes keep their sessions', async () => {
  const seed = Seed.announced('reloads');
  await using world = await World.make(twentyLanes());
  const [hub, plantA, plantB] = [world.cluster('hub'), world.cluster('plant-a'), world.cluster('plant-b')];
  await world.start();
  const feeds: Feed[] = [];
  await using _feeds = {
    [Symbol.asyncDispose]: async () => {
      for (const feed of feeds) await feed[Symbol.asyncDispose]();
    },
  };
  for (const n of numbers) {
    for (const plant of [plantA, plantB])
      feeds.push(await plant.feed(`UP${n}`, { ...load, label: `${plant.name}-${n}` }));
    feeds.push(await hub.feed(`DOWN${n}`, { ...load, label: `hub-${n}` }));
  }

  const peers = hub.topology.peers as Record<string, unknown>;
  const without = (all: Readonly<Record<string, unknown>>, name: string) =>
    Object.fromEntries(Object.entries(all).filter(([key]) => key !== name));
  // What each change touches; links 0 with plant-a are left alone by all of them.
  const changes: readonly (readonly [TestCluster, () => Record<string, unknown>])[] = [
    [hub, () => ({ links: without(links, `up-${seed.pick([1, 2, 3, 4])}`) })],
    [hub, () => ({ links: without(links, `down-${seed.pick([1, 2, 3, 4])}`) })],
    [hub, () => ({ links: { ...links, 'up-1': upLink(1, 'fleet.other.{origin}.{subject}') } })],
    [hub, () => ({ links: { ...links, 'down-1': { ...downLink(1), start: 'all' } } })],
    [hub, () => ({ links: { ...links, 'up-2': { ...upLink(2), from: { cluster: 'plant-a', stream: 'UP2' } } } })],
    [
      hub,
      () => ({
        links: Object.fromEntries(Object.entries(links).map(([name, link]) => [name, aloneWithA(link)])),
        peers: without(peers, 'plant-b'),
      }),
    ],
    [plantA, () => ({ grants: grants.toSpliced(seed.pick([1, 2, 3, 4]), 1) })],
    [plantA, () => ({ grants: grants.toSpliced(seed.pick([6, 7, 8, 9]), 1) })],
    [plantB, () => ({ grants: [] })],
    [plantB, () => ({ grants: [...grants, { to: 'hub', append: { stream: 'MORE' } }] })],
  ];
  // Where nothing tells the daemon, it takes it some seconds to see it.
  const watched = ['write', 'rename', 'configMap'];
  for (let round = 0; round < 25; round++) {
    const [cluster, change] = seed.pick(changes);
    const texts = [{ ...cluster.topology, ...change() }, cluster.topology].map((topology) => JSON.stringify(topology));
    const chosen = [round % 8 === 4 ? watched[(round - 4) / 8]! : 'signal', 'signal'];
    for (const [half, text] of texts.entries()) {
      await ways[chosen[half]!]!(cluster, text, 2 * round + half);
      await taken(cluster);
      if (seed.next() < 0.5) await acquainted(cluster, cluster === hub ? plantA : hub);
    }
  }
  await Promise.all([acquainted(hub, plantA), acquainted(hub, plantB)]);
  const generations = await Promise.all(
    [hub, plantA, plantB].map(async ({ daemon }) => (await daemon.status()).file.generation),
  );
  expect(generations.reduce((sum, generation) => sum + generation - 1, 0)).toBeGreaterThanOrEqual(50);

  for (const feed of feeds) await feed.reached();
  await hub.holds('FLEET', 10 * count);
  for (const plant of [plantA, plantB]) for (const n of numbers) await plant.holds(`DOWN${n}`, count);
  for (const [cluster, lane] of [
    [hub, 'up-0/plant-a/hub'],
    [plantA, 'up-0/plant-a/hub'],
    [hub, 'down-0/hub/plant-a'],
    [plantA, 'down-0/hub/plant-a'],
  ] as const) {
    expect((await cluster.daemon.lane(lane)).reconnectsTotal).toBe(0);
    expect(timesLive(cluster, lane)).toBe(1);
  }
  const published = (labels: readonly string[]) => labels.map((label) => ({ label, count, payloadBytes: 64 }));
  const up = published(plants.flatMap((plant) => numbers.map((n) => `${plant}-${n}`)));
  expect(judgeByContent(await hub.read('FLEET'), up)).toEqual(allOf(up));
  for (const plant of [plantA, plantB])
    for (const n of numbers) {
      const down = published([`hub-${n}`]);
      expect(judgeByContent(await plant.read(`DOWN${n}`), down)).toEqual(allOf(down));
    }
});

/** A link without plant-b. */
function aloneWithA(link: unknown): unknown {
  const { from, to, ...rest } = link as { readonly from: { cluster?: unknown }; readonly to: { cluster?: unknown } };
  const alone = (end: { cluster?: unknown }) => (end.cluster === undefined ? end : { ...end, cluster: 'plant-a' });
  return { ...rest, from: alone(from), to: alone(to) };
}
