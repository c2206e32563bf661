import { expect, test } from 'vitest';
import { header, perfect } from '../support/oracle.ts';
import { Outages, type Victim } from '../support/outages.ts';
import { allOf, judgeByContent } from '../support/replica-oracle.ts';
import { Seed } from '../support/seed.ts';
import { type ClusterSpec, World } from '../support/world.ts';

const count = 4_000;
const payloadBytes = 256;
const edges = ['edge-1', 'edge-2', 'edge-3', 'edge-4', 'edge-5'];

/** Five edges, a plant that collects from them and declares both links, a cloud that grants. */
function chain(): Record<string, ClusterSpec> {
  const edge: ClusterSpec = {
    dial: ['plant'],
    streams: { READINGS: { subjects: ['readings.>'] } },
    grants: [{ to: 'plant', read: { stream: 'READINGS' } }],
  };
  return {
    plant: {
      dial: ['cloud'],
      streams: { PLANT: { subjects: ['plant.>'], duplicate_window: 1e9 } },
      links: {
        readings: {
          kind: 'fan-in',
          from: { cluster: edges, stream: 'READINGS' },
          to: { stream: 'PLANT', subject: 'plant.{origin}.{subject}' },
        },
        up: {
          kind: 'fan-in',
          from: { stream: 'PLANT' },
          to: { cluster: 'cloud', stream: 'FLEET', subject: 'fleet.{from}.{subject}' },
        },
      },
    },
    cloud: {
      streams: { FLEET: { subjects: ['fleet.>'], duplicate_window: 1e9 } },
      grants: [{ to: 'plant', append: { stream: 'FLEET', subjects: ['fleet.plant.>'] }, origins: ['edge-*'] }],
    },
    ...Object.fromEntries(edges.map((name) => [name, edge])),
  };
}

test('what five edges publish is at the top of the chain once, in order per edge, through kills at every hop', async () => {
  const seed = Seed.announced('chain');
  await using world = await World.make(chain());
  await world.start();
  const load = { count, perSecond: 700, payloadBytes };
  const feeds = await Promise.all(edges.map((name) => world.cluster(name).feed('READINGS', load)));
  const published = (): number => feeds.reduce((sum, feed) => sum + feed.accepted, 0);
  await using outages = new Outages(world, () => `${published()} published`);
  const some = seed.shuffled(edges);
  const victims: readonly Victim[] = [
    'daemon plant',
    'server plant',
    'daemon cloud',
    'server cloud',
    `daemon ${some[0]!}`,
    `server ${some[1]!}`,
    'daemon plant',
    'server plant',
  ];
  const kills = seed.shuffled(victims).map((victim) => {
    const at = seed.between(1_000, edges.length * count - 1_000);
    return outages.kill(victim, () => published() >= at, seed.between(0, 1_200));
  });
  try {
    await Promise.all([...feeds.map((feed) => feed.reached()), ...kills]);
    outages.tell('all published');
    await world.cluster('cloud').holds('FLEET', edges.length * count);
    await world.level();
    outages.tell('all stored');
  } finally {
    console.info(outages.story);
    for (const feed of feeds) await feed[Symbol.asyncDispose]();
  }
  const expected = edges.map((label) => ({ label, count, payloadBytes }));
  for (const [cluster, stream] of [
    ['plant', 'PLANT'],
    ['cloud', 'FLEET'],
  ] as const) {
    const records = await world.cluster(cluster).read(stream);
    expect({ stream, ...judgeByContent(records, expected) }).toEqual({ stream, ...allOf(expected) });
    for (const record of records) {
      const [edge, number] = record.text.split(' ');
      // Where it was first seen stays with it: the edge's own stream and its sequence there.
      expect(header(record, 'Causeway-Origin')).toMatch(new RegExp(`^${edge}/READINGS/[^/]+/${Number(number) + 1}/`));
    }
  }
  const { verdicts } = await world.judge({ cluster: 'cloud', stream: 'FLEET' }, [
    { lane: 'up/plant/cloud', stream: 'PLANT', subject: ({ subject }) => `fleet.plant.${subject}` },
  ]);
  expect(verdicts).toEqual({ 'up/plant/cloud': perfect(edges.length * count) });
});
