/** What runs where: links that both ends declare, that one end declares, and that nobody declares any more. */
import { describe, expect, test } from 'vitest';
import { mesh, steps } from '../support/graphs.ts';
import { header, perfect } from '../support/oracle.ts';
import { acquainted, reload, timesLive } from '../support/reload.ts';
import { allOf, judgeByContent } from '../support/replica-oracle.ts';
import { until } from '../support/until.ts';
import { fanIn, type TestCluster, World } from '../support/world.ts';

const lane = 'telemetry/plant-a/hub';
const orders = 'orders/berlin/paris';

/** Waits until the daemon has a link of this name as a refused one, and returns why. */
async function refused({ daemon, name }: TestCluster, link: string): Promise<string> {
  return until(
    async () => {
      const found = (await daemon.status()).links.find((one) => one.link === link && !one.accepted);
      return found?.reason === 'link-conflict' && found.detail;
    },
    { what: `${name} to show ${link} in conflict` },
  );
}

describe('a replicate link', () => {
  test('that the members declare differently is in conflict at both, by file and difference, until either mends it', async () => {
    const specs = mesh(['berlin', 'paris']);
    const declared = { kind: 'replicate', between: ['berlin', 'paris'], stream: 'ORDERS', start: 'all' };
    const other = { ...declared, start: 'new' };
    await using world = await World.make({ ...specs, paris: { ...specs.paris!, links: { orders: other } } });
    const [berlin, paris] = [world.cluster('berlin'), world.cluster('paris')];
    await world.start();
    for (const cluster of [berlin, paris]) {
      for (const id of [orders, 'orders/paris/berlin']) await cluster.shows(id, 'link-conflict', 'link-conflict');
      const why = await refused(cluster, 'orders');
      expect(why).toMatch(/berlin\.yaml/);
      expect(why).toMatch(/paris\.yaml/);
      expect(why).toMatch(/start .*all.*new|start .*new.*all/);
    }
    expect((await berlin.daemon.healthz()).code).toBe(503);
    await reload(paris, { links: { orders: declared } });
    await using feed = await berlin.feedShared('ORDERS', { count: 500 });
    await feed.reached();
    await paris.holds('ORDERS', 500);
    await acquainted(berlin, paris);
    await until(async () => (await berlin.daemon.healthz()).code === 200, { what: 'a healthy end' });

    await reload(berlin, { links: { orders: { ...declared, stream: 'ELSE' } } });
    for (const cluster of [berlin, paris]) {
      await cluster.shows(orders, 'link-conflict', 'link-conflict');
      expect(await refused(cluster, 'orders')).toMatch(/stream .*(ELSE.*ORDERS|ORDERS.*ELSE)/);
    }
    await reload(berlin, { links: {} });
    expect(await refused(berlin, 'orders')).toMatch(/paris\.yaml of paris declares .*berlin\.yaml does not/);
    await paris.shows(orders, 'link-conflict', 'link-conflict');
    await reload(berlin, { links: { orders: declared } });
    feed.allow(1_000);
    await feed.reached();
    await paris.holds('ORDERS', 1_000);
    const all = [{ label: 'berlin', count: 1_000 }];
    for (const cluster of [berlin, paris])
      expect(judgeByContent(await cluster.read('ORDERS'), all)).toEqual(allOf(all));
  });
});

describe('a fan-in link', () => {
  const specs = fanIn(['plant-a']);
  const { telemetry } = specs.hub!.links as { readonly telemetry: object };
  const alike = {
    ...telemetry,
    from: { stream: 'TELEMETRY' },
    to: { ...(telemetry as { to: object }).to, cluster: 'hub' },
  };

  test('that both ends declare alike runs once', async () => {
    await using world = await World.make({
      ...specs,
      'plant-a': { ...specs['plant-a'], links: { telemetry: alike }, grants: [] },
    });
    const [hub, plant] = [world.cluster('hub'), world.cluster('plant-a')];
    await world.start();
    await using feed = await plant.feed('TELEMETRY', { count: 1_000 });
    await feed.reached();
    await world.stored(lane, 1_000);
    for (const { daemon } of [hub, plant]) {
      const { lanes, links } = await daemon.status();
      expect(lanes.map((one) => one.lane)).toEqual([lane]);
      expect(links.every(({ accepted }) => accepted)).toBe(true);
    }
    // The hub lets go of it: the plant's declaration alone has no grant there.
    await reload(hub, { links: {} });
    await plant.shows(lane, 'not-granted', 'parked');
    await reload(hub, { links: { telemetry } });
    feed.allow(2_000);
    await world.stored(lane, 2_000);
    const { verdicts } = await world.judge({ cluster: 'hub', stream: 'FLEET' }, [{ lane, stream: 'TELEMETRY' }]);
    expect(verdicts).toEqual({ [lane]: perfect(2_000) });
  });

  test('that was learned runs at boot without its declarer, until that withdraws it or the grant goes', async () => {
    await using world = await World.make(specs);
    const [hub, plant] = [world.cluster('hub'), world.cluster('plant-a')];
    const has = async (what: string, has: boolean) =>
      until(async () => ((await plant.daemon.status()).lanes.length === 1) === has, { what });
    const kept = async (expected: boolean) => {
      const client = await plant.client();
      await until(
        async () => {
          const answer = await client.request(
            '$JS.API.STREAM.MSG.GET.KV_CAUSEWAY',
            '{"last_by_subj":"$KV.CAUSEWAY.learned.hub"}',
          );
          const { message } = answer.json<{ readonly message?: { readonly data: string } }>();
          return Buffer.from(message?.data ?? '', 'base64').includes('telemetry') === expected;
        },
        { what: `the link to be ${expected ? 'kept' : 'kept no more'}` },
      );
    };
    await world.start();
    await has('the plant to learn the link', true);
    await kept(true);
    await hub.daemon.kill();
    await plant.daemon.kill();
    await plant.daemon.start();
    await has('the lane to be there without the hub', true);
    expect(await plant.daemon.lane(lane)).toMatchObject({ role: 'sender', declaredBy: 'hub' });

    // Withdrawn while the plant's daemon is away.
    await plant.daemon.kill();
    await hub.edit({ links: {} });
    await hub.daemon.start();
    await plant.daemon.start();
    await has('the lane to be withdrawn', false);
    await acquainted(hub, plant);
    await kept(false);
    await hub.daemon.kill();
    await plant.daemon.kill();
    await plant.daemon.start();
    await until(async () => (await plant.daemon.status()).nats.connected, { what: 'the own servers' });
    await has('it to stay withdrawn', false);

    // Learned while the own servers are away, and kept as soon as they are back.
    await plant.server.kill();
    await hub.edit({ links: { telemetry } });
    await hub.daemon.start();
    await has('the link to be learned again', true);
    await hub.daemon.kill();
    await plant.server.start();
    await kept(true);
    await plant.daemon.kill();
    await plant.daemon.start();
    await has('the lane to be there again', true);

    // Its grant goes: for good, also when it comes back before the declarer does.
    const { grants } = plant.topology;
    await reload(plant, { grants: [] });
    await has('the lane to be cut', false);
    await reload(plant, { grants });
    await has('the lane to be let in again', true);

    // A peer that is taken out of the file is forgotten with all that it said.
    const { peers } = plant.topology;
    await reload(plant, { peers: {}, grants: [] });
    await reload(plant, { peers, grants });
    await has('nothing to be known of it', false);
    await hub.daemon.start();
    await using feed = await plant.feed('TELEMETRY', { count: 500 });
    await world.stored(lane, 500);
    const { verdicts } = await world.judge({ cluster: 'hub', stream: 'FLEET' }, [{ lane, stream: 'TELEMETRY' }]);
    expect(verdicts).toEqual({ [lane]: perfect(feed.accepted) });
    expect(timesLive(plant, lane)).toBe(1);
  });
});

test('a record of a third cluster parks its lane where nobody may speak for that, and no other, until somebody may', async () => {
  const specs = steps([
    ['edge', 'plant'],
    ['plant', 'cloud'],
    ['office', 'cloud'],
  ]);
  const grants = [
    { to: 'plant', append: { stream: 'ORDERS' } },
    { to: 'office', append: { stream: 'ORDERS' } },
  ];
  await using world = await World.make({ ...specs, cloud: { ...specs.cloud!, grants } });
  const cloud = world.cluster('cloud');
  const up = 'step-plant-cloud/plant/cloud';
  await world.start();
  await using own = await world.cluster('plant').feedShared('ORDERS', { count: 100 });
  await own.reached();
  await cloud.holds('ORDERS', 100);
  await using edge = await world.cluster('edge').feedShared('ORDERS', { count: 200 });
  await edge.reached();
  await cloud.shows(up, 'origin-refused', 'parked');
  await world.cluster('plant').shows(up, 'origin-refused', 'parked');
  await using office = await world.cluster('office').feedShared('ORDERS', { count: 100 });
  await office.reached();
  await cloud.holds('ORDERS', 200);
  await reload(cloud, { grants: [{ ...grants[0], origins: ['edge'] }, grants[1]] });
  await cloud.holds('ORDERS', 400);
  await world.level();
  const all = [
    { label: 'plant', count: 100 },
    { label: 'office', count: 100 },
    { label: 'edge', count: 200 },
  ];
  const records = await cloud.read('ORDERS');
  expect(judgeByContent(records, all)).toEqual(allOf(all));
  const origins = records.map((record) => header(record, 'Causeway-Origin')?.split('/')[0]);
  expect(origins.filter((origin) => origin === 'edge').length).toBe(200);
});
