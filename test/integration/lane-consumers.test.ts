/** What a lane keeps at a stream that it drains is there as long as the lane is wanted, and no longer. */
import { RetentionPolicy } from '@nats-io/jetstream';
import { expect, test } from 'vitest';
import { call } from '../../src/brokers/nats/api.ts';
import { api } from '../support/nats-rig.ts';
import { until } from '../support/until.ts';
import { type ClusterSpec, World } from '../support/world.ts';

const clusters: Readonly<Record<string, ClusterSpec>> = {
  hub: {
    streams: { ALL: { subjects: ['alarms.>'] } },
    links: {
      alarms: { kind: 'fan-in', from: { cluster: 'plant-a', stream: 'ALARMS', consume: true }, to: { stream: 'ALL' } },
    },
  },
  'plant-a': {
    dial: ['hub'],
    streams: { ALARMS: { subjects: ['alarms.>'], retention: RetentionPolicy.Interest } },
    grants: [{ to: 'hub', consume: { stream: 'ALARMS' } }],
  },
};

test('the consumer of a lane that drains stays through outages of both daemons, and goes with its link, also while its daemon is away', {
  timeout: 120_000,
}, async () => {
  await using world = await World.make(clusters);
  const [hub, plant] = [world.cluster('hub'), world.cluster('plant-a')];
  const nc = await plant.client();
  const consumers = async (): Promise<string[]> =>
    (await call<{ consumers: string[] | null }>(nc, `${api}.CONSUMER.NAMES.ALARMS`, {})).consumers?.filter((name) =>
      name.startsWith('causeway_'),
    ) ?? [];
  const untilConsumers = (...names: string[]) =>
    until(async () => JSON.stringify(await consumers()) === JSON.stringify(names), { what: `consumers ${names}` });
  await world.start();
  await untilConsumers('causeway_alarms_plant-a_hub');
  await until(async () => (await plant.daemon.lane('alarms/plant-a/hub')).state === 'live', { what: 'a live lane' });

  // Both away: what is published is kept, and brought when they are back.
  await hub.daemon.kill();
  await plant.daemon.stop();
  await using feed = await plant.feed('ALARMS', { count: 500 });
  await feed.reached();
  await plant.daemon.start();
  // Its declarer has not been heard of yet.
  await until(async () => (await plant.daemon.status()).lanes.length === 1, { what: 'the lane that was learned' });
  expect([await consumers(), await plant.count('ALARMS')]).toEqual([['causeway_alarms_plant-a_hub'], 500]);
  await hub.daemon.start();
  await world.stored('alarms/plant-a/hub', 500);
  await until(async () => (await plant.count('ALARMS')) === 0, { what: 'the stream to be empty' });
  expect(await hub.count('ALL')).toBe(500);

  // Renamed: the lane under its new name keeps what that under the old one kept.
  const { alarms } = hub.topology.links as { readonly alarms: object };
  await plant.daemon.kill();
  feed.allow(600);
  await feed.reached();
  await hub.edit({ links: { calls: { ...alarms, previously: 'alarms' } } });
  await plant.daemon.start();
  await world.stored('calls/plant-a/hub', 600);
  await untilConsumers('causeway_calls_plant-a_hub');
  expect(await hub.count('ALL')).toBe(600);

  // Taken out of its declarer's file while the daemon at the stream is away.
  await plant.daemon.kill();
  await hub.edit({ links: {} });
  await until(async () => (await hub.daemon.status()).lanes.length === 0, { what: 'no lane at the hub' });
  expect(await consumers()).toHaveLength(1);
  await plant.daemon.start();
  await untilConsumers();

  // Granted no longer.
  await hub.edit({ links: { alarms } });
  await untilConsumers('causeway_alarms_plant-a_hub');
  await plant.edit({ grants: [] });
  await untilConsumers();
});
