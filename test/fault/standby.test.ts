/** Two daemons of one cluster, of which one is active: whatever becomes of that one, the other takes over. */
import { expect, test } from 'vitest';
import { perfect } from '../support/oracle.ts';
import { Pair, type Twin } from '../support/pair.ts';
import { until } from '../support/until.ts';
import { type ClusterSpec, fanIn, type TestCluster, World } from '../support/world.ts';

const lanes = ['telemetry/plant-a/hub', 'telemetry/plant-b/hub'];

/** One plant dials the hub, the other one is dialled. */
function specs(): Record<string, ClusterSpec> {
  const { hub, 'plant-a': a, 'plant-b': b } = fanIn();
  return { hub: { ...hub!, dial: ['plant-b'] }, 'plant-a': a!, 'plant-b': { ...b!, dial: [] } };
}

const metric = async ({ daemon }: Twin, name: string): Promise<string | undefined> =>
  (await daemon.metrics())
    .split('\n')
    .find((line) => line.startsWith(`${name} `))
    ?.split(' ')[1];

/** Both plants go on, and the hub stores what they have by now. */
async function goesOn(hub: TestCluster, feeds: readonly { allow(count: number): void }[], count: number) {
  for (const feed of feeds) feed.allow(count);
  await hub.holds('FLEET', 2 * count);
}

test('the other one takes over from a daemon that is killed, frozen, cut off its servers or stopped, and every record is there once', async () => {
  await using world = await World.make(specs());
  const [hub, a, b] = [world.cluster('hub'), world.cluster('plant-a'), world.cluster('plant-b')];
  await using pair = await Pair.of(world, 'hub', ['plant-a']);
  await Promise.all([...pair.twins.map(({ daemon }) => daemon.start()), world.start('plant-a', 'plant-b')]);
  await using feedA = await a.feed('TELEMETRY', { count: 500 });
  await using feedB = await b.feed('TELEMETRY', { count: 500 });
  const feeds = [feedA, feedB];

  let active = await pair.active();
  const idle = pair.other(active);
  await hub.holds('FLEET', 1_000);
  expect(await idle.daemon.readyz()).toBe(200);
  expect(await idle.daemon.healthz()).toMatchObject({ code: 200, ok: true });
  expect(await idle.daemon.status()).toMatchObject({
    lanes: [],
    nats: { connected: true },
    standby: { holder: (await active.daemon.status()).node, takeoversTotal: 0 },
  });
  expect([await metric(active, 'causeway_active'), await metric(idle, 'causeway_active')]).toEqual(['1', '0']);

  const takenOver = async (): Promise<Twin> => {
    const next = pair.other(active);
    await pair.shows(next, 'active');
    const before = active;
    active = next;
    return before;
  };

  await active.daemon.kill();
  const killed = await takenOver();
  await goesOn(hub, feeds, 1_000);
  await killed.daemon.start();
  await pair.shows(killed, 'standby');

  await active.daemon.freeze();
  const frozen = await takenOver();
  await goesOn(hub, feeds, 1_500);
  frozen.daemon.thaw();
  await pair.shows(frozen, 'standby');
  expect(frozen.daemon.lastRun()).toContain('"event":"standby"');

  active.nats.freeze();
  const cut = await takenOver();
  await goesOn(hub, feeds, 2_000);
  await pair.shows(cut, 'standby');
  cut.nats.thaw();

  expect(await active.daemon.stop()).toEqual({ code: 0, signal: null });
  const stopped = await takenOver();
  expect(stopped.daemon.lastRun()).toContain('"event":"lease-released"');
  await goesOn(hub, feeds, 2_500);

  // The only one left is killed, and back before anybody could have taken its lease.
  await active.daemon.kill();
  await active.daemon.start();
  await pair.shows(active, 'active');
  await goesOn(hub, feeds, 3_000);
  await until(async () => (await a.daemon.peer('hub')).connected, { what: 'plant-a to be connected' });

  const { verdicts } = await world.judge(
    { cluster: 'hub', stream: 'FLEET' },
    lanes.map((lane) => ({ lane, stream: 'TELEMETRY' })),
  );
  expect(verdicts).toEqual(Object.fromEntries(lanes.map((lane) => [lane, perfect(3_000)])));
}, 240_000);
