import { createHash } from 'node:crypto';
import { RetentionPolicy } from '@nats-io/jetstream';
import { expect, test } from 'vitest';
import { consumerInfo } from '../../src/brokers/nats/api.ts';
import type { ServerBinary } from '../../src/brokers/nats/server-binary.ts';
import { eachServer } from '../support/each-server.ts';
import { payloadOf } from '../support/feed.ts';
import { judge, perfect, type Stored } from '../support/oracle.ts';
import { Outages, type Victim } from '../support/outages.ts';
import { Seed } from '../support/seed.ts';
import { until } from '../support/until.ts';
import { type ClusterSpec, type TestCluster, World } from '../support/world.ts';

const lane = 'jobs/plant-a/hub';
const payloadBytes = 200;
const count = 15_000;
const subject = (number: number): string => `jobs.press.${number % 7}`;

const clustersWith = (retention: RetentionPolicy): Readonly<Record<string, ClusterSpec>> => ({
  hub: {
    streams: { JOBS: { subjects: ['fleet.>'], duplicate_window: 1e9 } },
    links: {
      jobs: {
        kind: 'fan-in',
        from: { cluster: 'plant-a', stream: 'JOBS', consume: true },
        to: { stream: 'JOBS', subject: 'fleet.{origin}.{subject}' },
      },
    },
  },
  'plant-a': {
    dial: ['hub'],
    streams: { JOBS: { subjects: ['jobs.>'], retention } },
    grants: [{ to: 'hub', consume: { stream: 'JOBS' } }],
  },
});

/** What the stream held that is empty now. */
function published(): Stored[] {
  return Array.from({ length: count }, (_, number): Stored => {
    const data = payloadOf('plant-a', number, payloadBytes);
    return {
      sequence: number + 1,
      subject: subject(number),
      headers: [`Nats-Msg-Id: reading-${number}`],
      bytes: data.length,
      digest: createHash('sha1').update(data).digest('base64'),
      text: data.toString('latin1', 0, 40),
    };
  });
}

async function drained(
  binary: ServerBinary,
  retention: RetentionPolicy,
  isDrained: (plant: TestCluster) => Promise<boolean>,
) {
  const seed = Seed.announced('work queue');
  await using world = await World.make(clustersWith(retention), { binary });
  const [hub, plant] = [world.cluster('hub'), world.cluster('plant-a')];
  await world.start();
  // What is published before the lane has begun, an Interest stream does not take.
  await until(async () => (await plant.daemon.lane(lane)).state === 'live', { what: 'a live lane' });
  await using feed = await plant.feed('JOBS', { count, perSecond: 5_000, payloadBytes, subject });
  await using outages = new Outages(world, () => `${feed.accepted} published`);
  const victims: readonly Victim[] = ['server plant-a', 'daemon plant-a', 'daemon hub', 'server hub', 'server plant-a'];
  const at = victims.map(() => seed.between(500, count - 2_000)).sort((x, y) => x - y);
  const kills = seed
    .shuffled(victims)
    .map((victim, index) => outages.kill(victim, () => feed.accepted >= at[index]!, seed.between(0, 500)));
  try {
    await Promise.all([feed.reached(), ...kills]);
    await world.stored(lane, count);
    await until(() => isDrained(plant), {
      what: 'the stream to be drained',
      deadlineMs: 60_000,
    });
  } finally {
    console.info(outages.story);
  }
  const judged = [{ lane, source: published(), subject: (record: Stored) => `fleet.plant-a.${record.subject}` }];
  const { verdicts, foreign } = judge(await hub.read('JOBS'), 'hub/JOBS', judged);
  expect(verdicts).toEqual({ [lane]: perfect(count) });
  expect(foreign).toEqual([]);
}

await eachServer('ends', (binary) => {
  test('a WorkQueue stream is drained exactly once through kills of every daemon and server, and is empty in the end', () =>
    drained(binary, RetentionPolicy.Workqueue, async (plant) => (await plant.count('JOBS')) === 0));
});

await eachServer('newest', (binary) => {
  test('an Interest stream is drained exactly once through kills of every daemon and server', () =>
    drained(binary, RetentionPolicy.Interest, async (plant) => {
      // The reader of a killed daemon holds records for two minutes more.
      const info = await consumerInfo(await plant.client(), '$JS.API', 'JOBS', 'causeway_jobs_plant-a_hub');
      return info.ack_floor.stream_seq === count;
    }));
});
