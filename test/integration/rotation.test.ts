/** Connections that are made anew while they work, as often as a machine can: nobody may notice but by the count. */
import { expect, test } from 'vitest';
import type { LaneStatus } from '../../src/ops/status.ts';
import { writeCerts } from '../../src/security/make-certs.ts';
import type { Feed } from '../support/feed.ts';
import { perfect } from '../support/oracle.ts';
import { until } from '../support/until.ts';
import { type ClusterSpec, fanIn, type TestCluster, trustDomain, World } from '../support/world.ts';

const plants = ['plant-a', 'plant-b'];
const up = plants.map((plant) => `telemetry/${plant}/hub`);
const down = plants.map((plant) => `recipes/hub/${plant}`);
const recipes = { subjects: ['recipes.>'], duplicate_window: 1e9 };

/** Two plants that dial the hub, send to it and receive from it: every kind of session is in there. */
function bothWays(everyMs: number, drainMs = 10_000): Record<string, ClusterSpec> {
  const rotating: Partial<ClusterSpec> = {
    program: 'test/support/rotating-daemon.ts',
    env: { ROTATE_EVERY_MS: String(everyMs), ROTATE_DRAIN_MS: String(drainMs) },
  };
  const { hub, ...others } = fanIn(plants);
  const link = { kind: 'fan-out', from: { stream: 'RECIPES' }, to: { cluster: plants, stream: 'RECIPES' } };
  return {
    hub: {
      ...hub,
      ...rotating,
      streams: { ...hub!.streams, RECIPES: recipes },
      links: { ...hub!.links, recipes: link },
    },
    ...Object.fromEntries(
      Object.entries(others).map(([name, plant]) => [
        name,
        {
          ...plant,
          ...rotating,
          streams: { ...plant.streams, RECIPES: recipes },
          grants: [...plant.grants!, { to: 'hub', append: { stream: 'RECIPES' } }],
        },
      ]),
    ),
  };
}

const rotations = async ({ daemon }: TestCluster, peer: string): Promise<number> =>
  (await daemon.peer(peer)).rotationsTotal;

/** Waits until the connection that this daemon dials was made anew so many times more. */
async function rotated(cluster: TestCluster, times: number): Promise<void> {
  const before = await rotations(cluster, 'hub');
  await until(async () => (await rotations(cluster, 'hub')) >= before + times, {
    what: () => `${cluster.name} to rotate ${times} times\n${cluster.daemon.log(20)}`,
    deadlineMs: 90_000,
  });
}

const lanesOf = async ({ daemon }: TestCluster): Promise<readonly LaneStatus[]> => (await daemon.status()).lanes;

const bad = [
  /"event":"(lane-ended|peer-connected|peer-disconnected|rotation-failed|connection-refused|name-taken|internal-error|transport-defect)"/,
  /"to":"(disconnected|blocked|parked|starting)"/,
];

/** Gives what the daemon logs of trouble from now on. */
function troubles({ daemon }: TestCluster): () => readonly string[] {
  const before = daemon.lastRun().length;
  const isBad = (line: string) => bad.some((one) => one.test(line));
  return () => daemon.lastRun().slice(before).split('\n').filter(isBad);
}

/** No more is published from now on; returns how much it was. */
async function ends(feed: Feed): Promise<number> {
  feed.allow(feed.accepted + 1_000);
  await feed.reached();
  return feed.accepted;
}

test('dozens of rotations under load are noticed by nobody', async () => {
  await using world = await World.make(bothWays(100), { lines: true });
  const [hub, a, b] = ['hub', ...plants].map((name) => world.cluster(name)) as [TestCluster, TestCluster, TestCluster];
  await world.start();
  const load = { count: 1e9, perSecond: 400, payloadBytes: 1_000 };
  await using feedA = await a.feed('TELEMETRY', load);
  await using feedB = await b.feed('TELEMETRY', load);
  await using feedHub = await hub.feed('RECIPES', load);
  await Promise.all([...up, ...down].map((lane) => world.stored(lane, 100)));
  const all = [hub, a, b].map((cluster) => ({ cluster, trouble: troubles(cluster) }));
  const connectedMs = (await a.daemon.peer('hub')).sinceMs;

  await Promise.all([rotated(a, 20), rotated(b, 20)]);
  const [fromA, fromB, fromHub] = await Promise.all([ends(feedA), ends(feedB), ends(feedHub)]);
  await Promise.all(down.map((lane) => world.stored(lane, fromHub)));
  await world.stored(up[0]!, fromA);
  await world.stored(up[1]!, fromB);

  for (const { cluster, trouble } of all) {
    expect(trouble()).toEqual([]);
    for (const lane of await lanesOf(cluster))
      expect(lane).toMatchObject({ reconnectsTotal: 0, lostTotal: 0, gapsTotal: 0 });
    expect((await cluster.daemon.status()).refusedConnections ?? {}).toEqual({});
  }
  expect(await a.daemon.peer('hub')).toMatchObject({ connected: true, sinceMs: connectedMs });
  for (const plant of plants) {
    // They were new connections, and both ends took them for what they are.
    expect(world.line(plant, 'hub').connections).toBeGreaterThan(20);
    expect(await rotations(hub, plant)).toBeGreaterThan(15);
  }
  const { verdicts } = await world.judge(
    { cluster: 'hub', stream: 'FLEET' },
    up.map((lane) => ({ lane, stream: 'TELEMETRY' })),
  );
  expect(verdicts).toEqual({ [up[0]!]: perfect(fromA), [up[1]!]: perfect(fromB) });
  for (const [index, lane] of down.entries()) {
    const judged = [{ lane, stream: 'RECIPES', subject: ({ subject }: { readonly subject: string }) => subject }];
    const { verdicts: there } = await world.judge({ cluster: plants[index]!, stream: 'RECIPES' }, judged);
    expect(there).toEqual({ [lane]: perfect(fromHub) });
  }
}, 180_000);

test('a lane whose sink stands still moves without it, and what was in flight is stored once', async () => {
  await using world = await World.make(bothWays(300, 500));
  const [hub, a] = [world.cluster('hub'), world.cluster('plant-a')];
  await world.start('hub', 'plant-a');
  const lane = up[0]!;
  await using feed = await a.feed('TELEMETRY', { count: 1e9, perSecond: 1_000, payloadBytes: 300 });
  await world.stored(lane, 500);
  for (let round = 0; round < 2; round++) {
    await hub.server.freeze();
    const before = feed.accepted;
    await rotated(a, 4);
    await until(() => feed.accepted > before + 500, { what: 'more to be published' });
    expect((await a.daemon.peer('hub')).connected).toBe(true);
    hub.server.thaw();
    await until(async () => ((await hub.daemon.lane(lane)).storedSequence ?? 0) > before + 500, {
      what: () => `the lane to go on\n${hub.daemon.log(20)}`,
      deadlineMs: 40_000,
    });
  }
  const count = await ends(feed);
  await world.stored(lane, count);
  const { verdicts } = await world.judge({ cluster: 'hub', stream: 'FLEET' }, [{ lane, stream: 'TELEMETRY' }]);
  expect(verdicts).toEqual({ [lane]: perfect(count) });
}, 180_000);

test('a connection that cannot be made anew stays as it is and is said to; one whose listener starts anew is made again', async () => {
  await using world = await World.make(bothWays(300), { lines: true });
  const [hub, a] = [world.cluster('hub'), world.cluster('plant-a')];
  await world.start('hub', 'plant-a');
  const lane = up[0]!;
  await using feed = await a.feed('TELEMETRY', { count: 1e9, perSecond: 500, payloadBytes: 300 });
  await world.stored(lane, 200);
  const { sinceMs } = await a.daemon.peer('hub');
  const line = world.line('plant-a', 'hub');

  line.swallowNew();
  await a.logs('rotation-failed', 'unreachable');
  const stored = (await hub.daemon.lane(lane)).storedSequence!;
  const tried = line.connections;
  await until(() => line.connections > tried, { what: 'it to be tried again', deadlineMs: 40_000 });
  await world.stored(lane, stored + 1_000);
  line.restore();
  await rotated(a, 3);
  expect(await a.daemon.peer('hub')).toMatchObject({ connected: true, sinceMs });
  expect(await a.daemon.lane(lane)).toMatchObject({ state: 'live', reconnectsTotal: 0 });

  for (const killed of [true, false]) {
    if (killed) await hub.daemon.kill();
    else await hub.daemon.stop();
    await hub.daemon.start();
    await until(async () => (await a.daemon.peer('hub')).connected, { what: 'the plant to be back' });
    await rotated(a, 2);
  }
  const count = await ends(feed);
  await world.stored(lane, count);
  expect(hub.daemon.lastRun()).not.toContain('name-taken');
  const { verdicts } = await world.judge({ cluster: 'hub', stream: 'FLEET' }, [{ lane, stream: 'TELEMETRY' }]);
  expect(verdicts).toEqual({ [lane]: perfect(count) });
}, 180_000);

test('a renewed certificate of either end comes into use, and nobody reconnects', async () => {
  await using world = await World.make(bothWays(500));
  const [hub, a] = [world.cluster('hub'), world.cluster('plant-a')];
  await world.start('hub', 'plant-a');
  await using feed = await a.feed('TELEMETRY', { count: 1e9, perSecond: 500, payloadBytes: 300 });
  await world.stored(up[0]!, 100);
  const { sinceMs } = await a.daemon.peer('hub');
  for (const [holder, other] of [
    [a, hub],
    [hub, a],
  ] as const) {
    const seen = async () => (await other.daemon.peer(holder.name)).certificateNotAfterMs;
    const before = await seen();
    const notAfter = new Date(Date.now() + 40 * 86_400_000);
    await writeCerts(world.dir, { trustDomain, clusters: [{ cluster: holder.name }], force: true, notAfter });
    await until(async () => (await seen()) !== before, {
      what: () => `${other.name} to see the new certificate of ${holder.name}`,
      deadlineMs: 40_000,
    });
    expect(Math.abs((await seen())! - notAfter.getTime())).toBeLessThan(2_000);
  }
  expect(await a.daemon.peer('hub')).toMatchObject({ connected: true, sinceMs });
  for (const { daemon } of [hub, a]) expect(await daemon.lane(up[0]!)).toMatchObject({ reconnectsTotal: 0 });
  const count = await ends(feed);
  await world.stored(up[0]!, count);
  const { verdicts } = await world.judge({ cluster: 'hub', stream: 'FLEET' }, [{ lane: up[0]!, stream: 'TELEMETRY' }]);
  expect(verdicts).toEqual({ [up[0]!]: perfect(count) });
}, 180_000);
