/** One daemon that works for several clusters: lanes within it, through kills of everything, and changes of its file. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { startNats } from '../support/nats-launcher.ts';
import { perfect } from '../support/oracle.ts';
import { Outages, type Victim } from '../support/outages.ts';
import { reload, timesLive } from '../support/reload.ts';
import { allOf, judgeByContent } from '../support/replica-oracle.ts';
import { Seed } from '../support/seed.ts';
import { until } from '../support/until.ts';
import { World } from '../support/world.ts';

const members = ['hub', 'berlin', 'oslo'];
const count = 4_000;
const lane = 'telemetry/berlin/hub';

const links = {
  orders: { kind: 'replicate', between: members, stream: 'ORDERS', start: 'all' },
  telemetry: {
    kind: 'fan-in',
    from: { cluster: ['berlin', 'oslo'], stream: 'TELEMETRY' },
    to: { stream: 'FLEET', subject: 'fleet.{origin}.{subject}' },
  },
  firmware: {
    kind: 'fan-out',
    from: { stream: 'FIRMWARE' },
    to: { cluster: ['berlin', 'oslo'], stream: 'FIRMWARE', create: { maxBytes: '64MiB', subjects: ['firmware.>'] } },
  },
};

/** The hub's daemon serves berlin and oslo, too; these have servers and no daemon. */
async function served(): Promise<World> {
  const orders = { ORDERS: { subjects: ['orders.>'], duplicate_window: 1e9 } };
  const away = { streams: { ...orders, TELEMETRY: { subjects: ['telemetry.>'] } } };
  const world = await World.make({
    hub: {
      streams: {
        ...orders,
        FLEET: { subjects: ['fleet.>'], duplicate_window: 1e9 },
        FIRMWARE: { subjects: ['firmware.>'] },
      },
      links,
    },
    berlin: away,
    oslo: away,
  });
  await world.cluster('hub').edit({ peers: peersOf(world) });
  return world;
}

function peersOf(world: World): Record<string, object> {
  return Object.fromEntries(
    members.slice(1).map((name) => [name, { nats: { servers: [world.cluster(name).server.url] } }]),
  );
}

test('every kind of link runs within one daemon, among clusters that it serves too, through kills of it and of any server', async () => {
  const seed = Seed.announced('served');
  await using world = await served();
  const hub = world.cluster('hub');
  await world.start('hub');
  const load = { count, perSecond: 1_500, payloadBytes: 128 };
  const feeds = [await hub.feed('FIRMWARE', load)];
  await using _feeds = {
    [Symbol.asyncDispose]: async () => {
      for (const feed of feeds) await feed[Symbol.asyncDispose]();
    },
  };
  for (const name of members) feeds.push(await world.cluster(name).feedShared('ORDERS', load));
  for (const name of members.slice(1)) feeds.push(await world.cluster(name).feed('TELEMETRY', load));
  const published = () => feeds.reduce((sum, feed) => sum + feed.accepted, 0);
  await using outages = new Outages(world, () => `${published()} published`);
  const victims = seed.shuffled<Victim>(['daemon hub', 'server berlin', 'server hub', 'server oslo', 'daemon hub']);
  const due = (share: number) => () => published() >= share * feeds.length * count;
  const kills = victims.map((victim, i) => outages.kill(victim, due(0.15 * (i + 1)), seed.between(0, 800)));
  try {
    await Promise.all([...feeds.map((feed) => feed.reached()), ...kills]);
    for (const name of members) await world.cluster(name).holds('ORDERS', members.length * count);
    for (const name of members.slice(1)) {
      await world.stored(`telemetry/${name}/hub`, count);
      await world.cluster(name).holds('FIRMWARE', count);
    }
  } finally {
    console.info(outages.story);
  }
  const all = members.map((label) => ({ label, count }));
  for (const name of members)
    expect({ name, ...judgeByContent(await world.cluster(name).read('ORDERS'), all) }).toEqual({ name, ...allOf(all) });
  const ups = members.slice(1).map((name) => ({ lane: `telemetry/${name}/hub`, stream: 'TELEMETRY' }));
  const { verdicts } = await world.judge({ cluster: 'hub', stream: 'FLEET' }, ups);
  expect(verdicts).toEqual(Object.fromEntries(ups.map((one) => [one.lane, perfect(count)])));
  const firmware = [{ label: 'hub', count }];
  for (const name of members.slice(1))
    expect(judgeByContent(await world.cluster(name).read('FIRMWARE'), firmware)).toEqual(allOf(firmware));
});

test('clusters that are served come and go with the file, and one that refuses the credentials keeps nobody up', async () => {
  await using world = await served();
  const [hub, berlin] = [world.cluster('hub'), world.cluster('berlin')];
  const { oslo: _, ...peers } = peersOf(world);
  const telemetry = { ...links.telemetry, from: { cluster: 'berlin', stream: 'TELEMETRY' } };
  await hub.edit({ peers, links: { telemetry } });
  await world.start('hub');
  await using feed = await berlin.feed('TELEMETRY', { count: 100 });
  await world.stored(lane, 100);
  expect(await hub.daemon.status()).toMatchObject({
    served: [{ cluster: 'berlin', connected: true }],
    peers: [{ peer: 'berlin', connected: true, direction: 'served-here' }],
  });

  const [user, password] = [join(world.dir, 'user'), join(world.dir, 'password')];
  await writeFile(user, 'causeway');
  await writeFile(password, 'wrong');
  await using server = await startNats({
    name: 'locked',
    config: 'authorization { user: causeway, password: right }',
  });
  const locked = { nats: { servers: [server.url], user: { file: user }, password: { file: password } } };
  const firmware = { ...links.firmware, to: { ...links.firmware.to, cluster: ['berlin', 'locked'] } };
  const live = timesLive(hub, lane);
  await reload(hub, { peers: { ...peers, locked }, links: { telemetry, firmware } });
  await using sent = await hub.feed('FIRMWARE', { count: 100 });
  await sent.reached();
  await berlin.holds('FIRMWARE', 100);
  let last = '';
  const down = async () => {
    const lanes = (await hub.daemon.status()).lanes.filter((one) => one.lane === 'firmware/hub/locked');
    last = JSON.stringify(lanes);
    return lanes;
  };
  await until(async () => (await down()).every(({ reason }) => reason === 'nats-auth'), {
    what: () => `both ends to say nats-auth: ${last}`,
  });
  await writeFile(password, 'right');
  await until(
    async () => (await down()).every(({ state, storedSequence }) => state === 'live' && storedSequence === 100),
    {
      what: 'the lane to run with the right password',
    },
  );

  // One end of its own, at other servers: it is let go of and made anew, and the others go on.
  await reload(hub, {
    peers,
    links: { telemetry, firmware: { ...firmware, to: { ...firmware.to, cluster: 'berlin' } } },
  });
  expect((await hub.daemon.status()).served.map(({ cluster }) => cluster)).toEqual(['berlin']);
  expect(timesLive(hub, lane) - live).toBeLessThanOrEqual(1);
  await reload(hub, { peers: {}, links: {} });
  expect(await hub.daemon.status()).toMatchObject({ served: [], peers: [], lanes: [] });
  feed.allow(200);
  await reload(hub, { peers, links: { telemetry } });
  await world.stored(lane, 200);
  await berlin.server.kill();
  await until(async () => (await hub.daemon.status()).served[0]!.reason === 'nats-unreachable', {
    what: 'berlin away',
  });
  await berlin.server.start();
  feed.allow(300);
  await world.stored(lane, 300);
  expect(await hub.daemon.stop()).toEqual({ code: 0, signal: null });
  const { verdicts } = await world.judge({ cluster: 'hub', stream: 'FLEET' }, [{ lane, stream: 'TELEMETRY' }]);
  expect(verdicts).toEqual({ [lane]: perfect(300) });
});

test('a served cluster that a reload adds replicates with one that was served before', async () => {
  const streams = { ORDERS: { subjects: ['orders.>'], duplicate_window: 1e9 } };
  await using world = await World.make({ hub: { streams, links: {} }, berlin: { streams }, oslo: { streams } });
  const hub = world.cluster('hub');
  const served = (names: readonly string[]) =>
    Object.fromEntries(names.map((name) => [name, { nats: { servers: [world.cluster(name).server.url] } }]));
  const orders = (others: readonly string[]) => ({
    orders: { kind: 'replicate', between: ['hub', ...others], stream: 'ORDERS', start: 'all' },
  });
  await hub.edit({ peers: served(['berlin']), links: orders(['berlin']) });
  await world.start('hub');
  let ends = '';
  /** Both ends of each lane are at this daemon. */
  const live = (count: number) =>
    until(
      async () => {
        const { lanes } = await hub.daemon.status();
        ends = JSON.stringify(lanes.map(({ lane, role, state, reason }) => [lane, role, state, reason]));
        return lanes.length === count && lanes.every(({ state }) => state === 'live');
      },
      { what: () => `${count} live ends: ${ends}` },
    );
  await live(4);
  await reload(hub, { peers: served(['berlin', 'oslo']), links: orders(['berlin', 'oslo']) });
  await live(12);
  // Nor does one go on dialling what is not served any more.
  await reload(hub, { peers: served(['oslo']), links: orders(['oslo']) });
  await live(4);
});
