/** Two daemons under one name, and one that only looks like it. */
import { expect, test } from 'vitest';
import { perfect } from '../support/oracle.ts';
import { until } from '../support/until.ts';
import { fanIn, type TestCluster, World } from '../support/world.ts';

const lane = 'telemetry/edge-1/hub';

/** A hub with a group, one device, and one that a copy of its files runs on, with servers of its own. */
async function twins(): Promise<World> {
  const specs = fanIn(['edge-1']);
  const { telemetry } = specs.hub!.links as { readonly telemetry: object };
  const device = specs['edge-1']!;
  return World.make(
    {
      hub: {
        ...specs.hub,
        groups: { edges: { match: 'edge-*' } },
        links: { telemetry: { ...telemetry, from: { cluster: 'edges', stream: 'TELEMETRY' } } },
      },
      'edge-1': device,
      twin: {
        ...device,
        topology: { cluster: 'edge-1', tls: { cert: 'edge-1.crt', key: 'edge-1.key', ca: 'ca.crt' } },
      },
    },
    { lines: true },
  );
}

const connected = ({ daemon, name }: TestCluster) =>
  until(async () => (await daemon.peer('hub')).connected, {
    what: () => `${name} to be connected\n${daemon.log()}`,
    deadlineMs: 40_000,
  });

/** How often a device of this name was taken in. */
const taken = ({ daemon }: TestCluster): number =>
  daemon
    .lastRun()
    .split('\n')
    .filter((line) => line.includes('"peer":"edge-1"') && line.includes('"event":"peer-connected"')).length;

/** Waits until a device that is refused has tried again so many times. */
async function triedAgain({ daemon, name }: TestCluster, times: number): Promise<void> {
  const tries = new Set<number>();
  await until(
    async () => {
      const { nextTryMs } = await daemon.peer('hub');
      if (nextTryMs !== undefined) tries.add(nextTryMs);
      return tries.size > times;
    },
    { what: () => `${name} to try again ${times} times`, deadlineMs: 60_000 },
  );
}

test('of two devices with one name one works and the other is refused, and they do not take it from each other', async () => {
  await using world = await twins();
  const [hub, first, twin] = [world.cluster('hub'), world.cluster('edge-1'), world.cluster('twin')];
  await world.start('hub', 'edge-1');
  await connected(first);
  await using feed = await first.feed('TELEMETRY', { count: 100 });
  await world.stored(lane, 100);
  const node = async ({ daemon }: TestCluster) => (await daemon.status()).node;

  await world.start('twin');
  await connected(twin);
  await first.showsPeer('hub', 'name-taken');
  await first.shows(lane, 'name-taken', 'parked');
  await triedAgain(first, 2);
  expect(taken(hub)).toBe(2);
  const shown = await hub.daemon.peer('edge-1');
  expect(shown).toMatchObject({ connected: true, reason: 'name-taken', node: await node(twin) });
  await hub.logs('name-taken', 'name-taken');
  for (const name of [await node(first), await node(twin)]) expect(shown.detail).toContain(name);

  // The one that has it goes; the other one gets in, and keeps it when the first one is back.
  world.line('twin', 'hub').cutOff();
  await connected(first);
  world.line('twin', 'hub').restore();
  await twin.showsPeer('hub', 'name-taken');
  await triedAgain(twin, 1);
  expect(taken(hub)).toBe(3);
  await twin.daemon.kill();
  feed.allow(200);
  await world.stored(lane, 200);
  // To the hub, the streams of the two are one that was made anew: nothing is lost, and what comes back as new is stored as such.
  const { verdicts } = await world.judge({ cluster: 'hub', stream: 'FLEET' }, [{ lane, stream: 'TELEMETRY' }]);
  expect(verdicts[lane]).toMatchObject({ lost: 0, differing: 0 });
});

test('a device that starts anew while the hub still holds its old connection is let in at once', async () => {
  await using world = await twins();
  const [hub, device] = [world.cluster('hub'), world.cluster('edge-1')];
  await world.start('hub', 'edge-1');
  await using feed = await device.feed('TELEMETRY', { count: 100 });
  await world.stored(lane, 100);
  for (const round of [2, 3, 4]) {
    const line = world.line('edge-1', 'hub');
    line.freeze();
    await device.daemon.kill();
    feed.allow(round * 100);
    await device.daemon.start();
    await world.stored(lane, round * 100);
    expect((await device.daemon.peer('hub')).connected).toBe(true);
    line.thaw();
  }
  expect(await hub.daemon.peer('edge-1')).not.toHaveProperty('reason');
  expect(taken(hub)).toBe(4);
  expect(hub.daemon.lastRun()).not.toContain('name-taken');
  const { verdicts } = await world.judge({ cluster: 'hub', stream: 'FLEET' }, [{ lane, stream: 'TELEMETRY' }]);
  expect(verdicts).toEqual({ [lane]: perfect(400) });
});
