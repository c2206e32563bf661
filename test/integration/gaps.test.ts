import { jetstream } from '@nats-io/jetstream';
import { expect, test } from 'vitest';
import type { GapItem } from '../../src/daemon/gap-verbs.ts';
import { inProcess } from '../support/in-process.ts';
import { until } from '../support/until.ts';
import { type ClusterSpec, fanIn, type TestCluster, World } from '../support/world.ts';

const lane = 'telemetry/plant-a/hub';

/** A hub with an admin socket, and a plant whose stream keeps only its newest records. */
function clusters(source: NonNullable<ClusterSpec['streams']>[string], more: object = {}): Record<string, ClusterSpec> {
  const { hub, 'plant-a': plant } = fanIn(['plant-a']);
  const links = { telemetry: { ...(hub?.links?.telemetry as object), ...more } };
  return {
    hub: { ...hub, links, topology: { admin: { socket: 'hub.sock' } } },
    'plant-a': { ...plant, streams: { TELEMETRY: { subjects: ['telemetry.>'], ...source } } },
  };
}

/** `causeway gaps ...` against the daemon of a cluster. */
async function gaps(cluster: TestCluster, ...args: readonly string[]): Promise<string> {
  const { code, out, err } = await inProcess(['gaps', ...args, '--config', cluster.file], { USER: 'alice' });
  expect(err).toBe('');
  expect(code).toBe(0);
  return out;
}

async function list(cluster: TestCluster, ...args: readonly string[]): Promise<GapItem[]> {
  const out = await gaps(cluster, 'list', '--json', ...args);
  return out.split('\n').flatMap((line) => (line === '' ? [] : [JSON.parse(line)]));
}

async function untilHealth(cluster: TestCluster, code: number): Promise<void> {
  let last = '';
  await until(
    async () => {
      const health = await cluster.daemon.healthz();
      last = JSON.stringify(health);
      return health.code === code;
    },
    { what: () => `${cluster.name} to answer ${code}: ${last}` },
  );
}

/** Publishes so many records and waits until the stream has taken them all. */
async function publish(cluster: TestCluster, count: number): Promise<void> {
  const client = jetstream(await cluster.client());
  for (let i = 0; i < count; i++) await client.publish('telemetry.press', `${cluster.name} ${i}`);
}

test('what a source deleted while its lane was away is an alarm until it is acknowledged, over restarts too', async () => {
  await using world = await World.make(clusters({ max_msgs: 50 }));
  const [hub, plant] = [world.cluster('hub'), world.cluster('plant-a')];
  await world.start();
  await publish(plant, 20);
  await world.stored(lane, 20);
  await untilHealth(hub, 200);
  expect(await list(hub)).toEqual([]);
  const none = `causeway_unacknowledged_gaps{link="telemetry",lane="${lane}"} 0`;
  await until(async () => (await hub.daemon.metrics()).includes(none), {
    what: () => 'the metric to say that there is none',
  });

  await hub.daemon.stop();
  await publish(plant, 100);
  await world.start('hub');
  await world.stored(lane, 120);
  await untilHealth(hub, 503);
  const [gap, ...others] = await list(hub);
  expect(others).toEqual([]);
  expect(gap).toMatchObject({ cluster: 'hub', lane, reason: 'expired', records: 50 });
  expect(gap?.after).toMatch(/\.20$/);
  expect((await hub.daemon.healthz()).problems).toMatchObject([{ kind: 'gap', lane, reason: 'expired' }]);
  expect((await hub.daemon.status()).gaps).toMatchObject([{ cluster: 'hub', lane, gaps: 1, records: 50 }]);
  const metrics = await hub.daemon.metrics();
  expect(metrics).toContain(`causeway_unacknowledged_gap_records{link="telemetry",lane="${lane}"} 50`);

  // A daemon that was killed and comes back knows it still.
  await hub.daemon.kill();
  await world.start('hub');
  await untilHealth(hub, 503);

  expect(await gaps(hub, 'ack', 'telemetry', '--dry-run')).toMatch(/1 gap would be acknowledged\n$/);
  expect((await hub.daemon.healthz()).code).toBe(503);
  expect(await gaps(hub, 'ack', '--id', gap!.id, '--note', 'known')).toMatch(/1 gap acknowledged\n$/);
  // At once: the daemon that wrote it has read it, too.
  expect((await hub.daemon.healthz()).code).toBe(200);
  expect(hub.daemon.lastRun()).toMatch(/"event":"audit".*"outcome":"done"/s);

  await hub.daemon.stop();
  await world.start('hub');
  await until(async () => (await hub.daemon.status()).gaps !== undefined, { what: () => 'the ledger to be read' });
  expect((await hub.daemon.status()).gaps).toEqual([]);
  await untilHealth(hub, 200);
  const [known] = await list(hub, lane);
  expect(known?.acknowledged).toMatchObject({ by: 'alice', note: 'known' });
  expect(await list(hub, '--open')).toEqual([]);
});

test('a lane that parks at a gap passes what was acknowledged and no more, over restarts too', async () => {
  await using world = await World.make(clusters({ max_msgs: 50, max_age: 3_600e9 }, { gaps: 'park' }));
  const [hub, plant] = [world.cluster('hub'), world.cluster('plant-a')];
  await world.start();
  await publish(plant, 20);
  await world.stored(lane, 20);
  await hub.daemon.stop();
  await publish(plant, 100);

  await world.start('hub');
  await hub.shows(lane, 'expired', 'gap');
  expect((await hub.daemon.lane(lane)).detail).toContain(`causeway gaps ack ${lane}`);
  // The other end is not told why, and sees that it stands at the gap.
  await plant.shows(lane, 'expired', 'gap');
  expect((await plant.daemon.healthz()).problems).toMatchObject([{ kind: 'gap', lane }]);
  const [first] = await list(hub);
  expect(first).toMatchObject({ records: 50 });

  // Meanwhile more is lost: the same gap, and not what somebody may have acknowledged.
  await hub.daemon.stop();
  await publish(plant, 20);
  await world.start('hub');
  await hub.shows(lane, 'expired', 'gap');
  const [grown, ...others] = await list(hub);
  expect(others).toEqual([]);
  expect(grown).toMatchObject({ records: 70, after: first?.after, at: first?.at });
  expect((await hub.daemon.lane(lane)).storedSequence).toBe(20);
  expect(await hub.count('FLEET')).toBe(20);

  // What waits meanwhile is deleted by its age, at the latest; as long as the last minute is looked at, by what came in it.
  let limit: string | undefined;
  await until(
    async () => {
      limit = (await plant.daemon.lane(lane)).retention?.limit;
      return limit !== undefined;
    },
    { what: () => 'an estimate when the source loses data' },
  );
  expect(limit).toMatch(/^max_(age|msgs)$/);
  expect(await plant.daemon.metrics()).toMatch(/^causeway_lane_retention_seconds\{.*direction="out"\} \d/m);

  await gaps(hub, 'ack', lane);
  await world.stored(lane, 140);
  expect(await hub.count('FLEET')).toBe(70);
  await untilHealth(hub, 200);
  await untilHealth(plant, 200);
});
