import { describe, expect, test } from 'vitest';
import { causeway } from '../support/causeway.ts';
import { perfect } from '../support/oracle.ts';
import { until } from '../support/until.ts';
import { fanIn, type TestCluster, World } from '../support/world.ts';

const lane = 'telemetry/plant-a/hub';

/** Waits until the lag that this daemon shows has grown beyond `records`. */
async function lagBeyond(cluster: TestCluster, records: number): Promise<number> {
  let lag = 0;
  await until(
    async () => {
      lag = (await cluster.daemon.lane(lane)).lagRecords ?? 0;
      return lag > records;
    },
    { what: () => `the lag at ${cluster.name} to grow beyond ${records}, it is ${lag}` },
  );
  return lag;
}

test('lag is above zero and grows at the sender through an outage, of the hub and of its server', async () => {
  await using world = await World.make(fanIn(['plant-a']));
  const [hub, plant] = [world.cluster('hub'), world.cluster('plant-a')];
  await world.start();
  await using feed = await plant.feed('TELEMETRY', { count: 500 });
  await feed.reached();
  await world.stored(lane, 500);
  await until(async () => (await plant.daemon.lane(lane)).lagRecords === 0, { what: 'no lag' });
  expect(await plant.daemon.lane(lane)).toMatchObject({ state: 'live', lagSeconds: 0 });

  await hub.daemon.kill();
  feed.allow(800);
  const first = await lagBeyond(plant, 0);
  feed.allow(1_200);
  await lagBeyond(plant, first);
  const away = await plant.daemon.lane(lane);
  expect(away).toMatchObject({ state: 'disconnected', reason: 'unreachable', storedSequence: 500 });
  const before = away.lagSeconds!;
  await until(async () => (await plant.daemon.lane(lane)).lagSeconds! > before, { what: 'the lag in seconds to grow' });
  expect(await plant.daemon.metrics()).toMatch(
    /^causeway_lane_lag_records\{[^}]*telemetry\/plant-a\/hub[^}]*\} [1-9]/m,
  );
  await hub.daemon.start();
  await world.stored(lane, 1_200);

  await hub.server.kill();
  await hub.shows(lane, 'nats-unreachable', 'blocked');
  feed.allow(1_500);
  const second = await lagBeyond(plant, 0);
  feed.allow(2_000);
  await lagBeyond(plant, second);
  // Short outages are nobody's alarm, and a restart of the daemon would mend nothing.
  for (const { daemon } of [hub, plant])
    expect([await daemon.readyz(), (await daemon.healthz()).code]).toEqual([200, 200]);
  await hub.server.start();
  await world.stored(lane, 2_000);
  await until(async () => (await plant.daemon.lane(lane)).lagRecords === 0, { what: 'no lag again' });
});

test('what is not known is absent, in status and in metrics: a lag whose other end was never heard of', async () => {
  await using world = await World.make(fanIn());
  const hub = world.cluster('hub');
  await world.start('hub');
  await until(async () => (await hub.daemon.lane(lane)).state === 'starting', {
    what: 'the hub to wait for its plants',
  });
  const status = await hub.daemon.lane(lane);
  expect(status.lagRecords).toBeUndefined();
  expect(status.headSequence).toBeUndefined();
  const metrics = await hub.daemon.metrics();
  expect(metrics).toMatch(/^causeway_lane_state\{[^}]*telemetry\/plant-a\/hub/m);
  expect(metrics).not.toMatch(/^causeway_lane_lag_records\{[^}]*telemetry\/plant-a\/hub/m);
});

describe('a daemon that is told to stop', () => {
  test('says that it is draining while it waits for acknowledgements, and ends at once at the second signal', async () => {
    await using world = await World.make(fanIn(['plant-a']), { lines: true });
    const plant = world.cluster('plant-a');
    await world.start();
    await using feed = await plant.feed('TELEMETRY', { count: 100 });
    await world.stored(lane, 100);
    await stuckInDrain(world, () => feed.allow(300));
    expect(await plant.daemon.readyz()).toBe(503);
    expect((await plant.daemon.lane(lane)).state).toBe('draining');
    // That the own end stops is no trouble of the link.
    expect((await plant.daemon.healthz()).code).toBe(200);
    expect(await plant.daemon.stop()).toEqual({ code: 1, signal: null });
    world.line('plant-a', 'hub').thaw();
    await plant.daemon.start();
    await world.stored(lane, 300);
    const { verdicts } = await world.judge({ cluster: 'hub', stream: 'FLEET' }, [{ lane, stream: 'TELEMETRY' }]);
    expect(verdicts).toEqual({ [lane]: perfect(300) });
  });

  test('ends with code 0 within its deadline though the acknowledgements never come', async () => {
    const specs = fanIn(['plant-a']);
    const args = ['--drain-timeout', '1s'];
    await using world = await World.make({ ...specs, 'plant-a': { ...specs['plant-a'], args } }, { lines: true });
    const plant = world.cluster('plant-a');
    await world.start();
    await using feed = await plant.feed('TELEMETRY', { count: 100 });
    await world.stored(lane, 100);
    await stuckInDrain(world, () => feed.allow(300));
    expect(await plant.daemon.exited).toEqual({ code: 0, signal: null });
  });

  /** SIGTERM to the plant's daemon while what it has sent cannot be acknowledged. */
  async function stuckInDrain(world: World, publish: () => void): Promise<void> {
    const plant = world.cluster('plant-a');
    await until(async () => (await plant.daemon.lane(lane)).storedSequence === 100, { what: 'the first records' });
    world.line('plant-a', 'hub').freeze('from-target');
    publish();
    await until(async () => ((await plant.daemon.lane(lane)).inflightBytes ?? 0) > 0, { what: 'records under way' });
    void plant.daemon.stop();
    await until(async () => !plant.daemon.running || (await plant.daemon.status()).draining, { what: 'the drain' });
  }
});

test('causeway status tells of a daemon in words and by its exit code', async () => {
  const specs = fanIn();
  // plant-b dials and grants nothing.
  await using world = await World.make({ ...specs, 'plant-b': { ...specs['plant-b'], grants: [] } });
  const [hub, plantA] = [world.cluster('hub'), world.cluster('plant-a')];
  const status = (cluster: TestCluster, ...args: readonly string[]) =>
    causeway(['status', '--monitor', cluster.daemon.monitorUrl, ...args]);
  const silent = await status(hub);
  expect(silent).toMatchObject({ code: 5, out: '', err: expect.stringContaining('no daemon answers') });

  await world.start();
  await using feed = await plantA.feed('TELEMETRY', { count: 1_234 });
  await feed.reached();
  await world.stored(lane, 1_234);
  await hub.shows('telemetry/plant-b/hub', 'not-granted', 'parked');
  await until(async () => (await plantA.daemon.lane(lane)).lagRecords === 0, { what: 'no lag' });
  const well = await status(plantA);
  expect(well).toMatchObject({ code: 0, err: '' });
  expect(well.out).toMatch(/^cluster +plant-a /m);
  expect(well.out).toMatch(/^hub +connected /m);
  expect(well.out).toMatch(/^telemetry\/plant-a\/hub +sender +live .* 1,234 /m);
  expect(well.out).toMatch(/^healthy$/m);

  const ill = await status(hub);
  expect(ill.code).toBe(4);
  expect(ill.out).toMatch(/^telemetry\/plant-a\/hub +receiver +live /m);
  expect(ill.out).toMatch(/^telemetry\/plant-b\/hub +receiver +parked .*not-granted/m);
  expect(ill.out).toMatch(/^unhealthy:/m);
  const parsed = JSON.parse((await status(hub, '--json')).out) as { readonly cluster: string };
  expect(parsed.cluster).toBe('hub');

  const { code, problems } = await hub.daemon.healthz();
  expect(code).toBe(503);
  expect(problems).toContainEqual(expect.objectContaining({ kind: 'parked', lane: 'telemetry/plant-b/hub' }));
  expect((await fetch(`${hub.daemon.monitorUrl}/healthz?link=nothing`)).status).toBe(404);
  expect((await fetch(`${hub.daemon.monitorUrl}/livez`)).status).toBe(200);
});
