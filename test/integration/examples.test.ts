import { describe, expect, test } from 'vitest';
import { exampleClusters } from '../support/example-world.ts';
import { perfect } from '../support/oracle.ts';
import { allOf, judgeByContent } from '../support/replica-oracle.ts';
import { until } from '../support/until.ts';
import { World } from '../support/world.ts';

const count = 2_000;
const telemetry = { subjects: ['telemetry.>'] };

describe('the examples in topologies/, on real servers:', () => {
  test('pair', async () => {
    await using world = await World.make(
      exampleClusters('pair', {
        streams: { west: { ORDERS: { subjects: ['orders.>'] } }, east: { ORDERS_ALL: { subjects: ['all.>'] } } },
      }),
    );
    await world.start();
    await using feed = await world.cluster('west').feed('ORDERS', { count });
    await feed.reached();
    const lane = 'orders/west/east';
    await world.stored(lane, count);
    const { verdicts, foreign } = await world.judge({ cluster: 'east', stream: 'ORDERS_ALL' }, [
      { lane, stream: 'ORDERS', subject: ({ subject }) => `all.west.${subject}` },
    ]);
    expect({ verdicts, foreign }).toEqual({ verdicts: { [lane]: perfect(count) }, foreign: [] });
  });

  test('hub and spokes: telemetry comes in, recipes go out into streams that did not exist', async () => {
    const plants = ['plant-a', 'plant-b'];
    const streams = {
      hub: { FLEET: { subjects: ['fleet.>'] }, RECIPES: { subjects: ['recipe.>'] } },
      ...Object.fromEntries(plants.map((name) => [name, { TELEMETRY: telemetry }])),
    };
    await using world = await World.make(exampleClusters('hub-and-spokes', { streams }));
    await world.start();
    const recipe = (number: number) => `recipe.${number % 5}`;
    await using recipes = await world.cluster('hub').feed('RECIPES', { count, subject: recipe });
    await using a = await world.cluster('plant-a').feed('TELEMETRY', { count });
    await using b = await world.cluster('plant-b').feed('TELEMETRY', { count });
    await Promise.all([recipes.reached(), a.reached(), b.reached()]);
    const up = plants.map((name) => ({ lane: `telemetry/${name}/hub`, stream: 'TELEMETRY' }));
    for (const { lane } of up) await world.stored(lane, count);
    const fleet = await world.judge({ cluster: 'hub', stream: 'FLEET' }, up);
    expect(fleet).toEqual({ verdicts: Object.fromEntries(up.map(({ lane }) => [lane, perfect(count)])), foreign: [] });
    for (const name of plants) {
      const lane = `recipes/hub/${name}`;
      await world.stored(lane, count);
      const judged = await world.judge({ cluster: name, stream: 'RECIPES' }, [
        { lane, stream: 'RECIPES', subject: ({ subject }) => subject },
      ]);
      expect(judged).toEqual({ verdicts: { [lane]: perfect(count) }, foreign: [] });
    }
  });

  test('mesh: an order taken anywhere is everywhere, once', async () => {
    const sites = ['berlin', 'paris', 'rome'];
    const streams = Object.fromEntries(sites.map((name) => [name, { ORDERS: { subjects: ['orders.>'] } }]));
    await using world = await World.make(exampleClusters('mesh', { streams }));
    await world.start();
    await using berlin = await world.cluster('berlin').feedShared('ORDERS', { count });
    await using paris = await world.cluster('paris').feedShared('ORDERS', { count });
    await using rome = await world.cluster('rome').feedShared('ORDERS', { count });
    await Promise.all([berlin, paris, rome].map((feed) => feed.reached()));
    const published = sites.map((label) => ({ label, count }));
    for (const name of sites) {
      await world.cluster(name).holds('ORDERS', count * sites.length);
      const records = await world.cluster(name).read('ORDERS');
      expect({ name, ...judgeByContent(records, published) }).toEqual({ name, ...allOf(published) });
    }
  });

  test('chain: the cloud knows which edge each record is of', async () => {
    const edges = ['edge-1', 'edge-2'];
    const streams = {
      plant: { PLANT: { subjects: ['plant.>'] } },
      cloud: { FLEET: { subjects: ['fleet.>'] } },
      ...Object.fromEntries(edges.map((name) => [name, { READINGS: { subjects: ['readings.>'] } }])),
    };
    await using world = await World.make(exampleClusters('chain', { streams }));
    await world.start();
    await using one = await world.cluster('edge-1').feed('READINGS', { count });
    await using two = await world.cluster('edge-2').feed('READINGS', { count });
    await Promise.all([one.reached(), two.reached()]);
    await world.cluster('cloud').holds('FLEET', 2 * count);
    const records = await world.cluster('cloud').read('FLEET');
    const published = edges.map((label) => ({ label, count }));
    expect(judgeByContent(records, published)).toEqual(allOf(published));
    for (const { subject, text } of records)
      expect(subject).toMatch(`fleet.plant.plant.${text.split(' ')[0]}.readings.`);
  });

  test('fleet: devices share a file, get their lanes when they call, and are missed when they are away', async () => {
    const members = ['edge-1', 'edge-2', 'edge-3'];
    const streams = {
      hub: { FLEET: { subjects: ['fleet.>'] }, FIRMWARE: { subjects: ['firmware.>'] } },
      ...Object.fromEntries(members.map((name) => [name, { TELEMETRY: telemetry }])),
    };
    await using world = await World.make(exampleClusters('fleet', { streams, members }));
    await world.start('hub', 'edge-1', 'edge-2');
    const hub = world.cluster('hub');
    await using firmware = await hub.feed('FIRMWARE', { count: 100, subject: (number) => `firmware.${number % 3}` });
    await firmware.reached();
    for (const name of ['edge-1', 'edge-2']) {
      const device = world.cluster(name);
      await using feed = await device.feed('TELEMETRY', { count });
      await feed.reached();
      await world.stored(`telemetry/${name}/hub`, count);
      await device.holds('FIRMWARE', 100);
    }
    await world.cluster('edge-2').daemon.kill();
    await hub.daemon.kill();
    await world.start('hub');
    await until(
      async () => {
        const { groups, peers } = await hub.daemon.status();
        const [edges] = groups;
        const away = peers.find(({ peer }) => peer === 'edge-2');
        return edges?.seen === 2 && edges.connected === 1 && away?.connected === false && away.lastSeenMs !== undefined;
      },
      { what: 'the hub to remember both devices after its restart, and to see one of them' },
    );
    const [edges] = (await hub.daemon.status()).groups;
    expect(edges).toMatchObject({ group: 'edges', expected: 40, seen: 2, neverSeen: 38 });
    await world.start('edge-2', 'edge-3');
    await world.cluster('edge-3').holds('FIRMWARE', 100);
    const lanes = ['edge-1', 'edge-2'].map((name) => ({ lane: `telemetry/${name}/hub`, stream: 'TELEMETRY' }));
    const { verdicts } = await world.judge({ cluster: 'hub', stream: 'FLEET' }, lanes);
    expect(verdicts).toEqual(Object.fromEntries(lanes.map(({ lane }) => [lane, perfect(count)])));
  });

  test('one daemon for two clusters', async () => {
    const streams = { here: { ORDERS_ALL: { subjects: ['all.>'] } } };
    const there = { streams: { ORDERS: { subjects: ['orders.>'] } } };
    await using world = await World.make({ ...exampleClusters('one-daemon', { streams }), there });
    const here = world.cluster('here');
    await here.edit({ peers: { there: { nats: { servers: [world.cluster('there').server.url] } } } });
    await world.start('here');
    await using feed = await world.cluster('there').feed('ORDERS', { count });
    await feed.reached();
    const lane = 'orders/there/here';
    await here.holds('ORDERS_ALL', count);
    const { verdicts, foreign } = await world.judge({ cluster: 'here', stream: 'ORDERS_ALL' }, [
      { lane, stream: 'ORDERS', subject: ({ subject }) => `all.there.${subject}` },
    ]);
    expect({ verdicts, foreign }).toEqual({ verdicts: { [lane]: perfect(count) }, foreign: [] });
  });
});
