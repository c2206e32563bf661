/** A source loses records that its sinks never stored, because they were left out or known already, and uses their numbers again. */
import { cp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { connect } from 'nats';
import { expect, test } from 'vitest';
import { mesh, steps } from '../support/graphs.ts';
import { publishAll } from '../support/nats-rig.ts';
import { type TestCluster, World } from '../support/world.ts';

const count = 10;

/** Publishes `count` records that say where they come from, `LABEL 1` and so on. */
async function publish(cluster: TestCluster, label: string): Promise<void> {
  const connection = await connect({ servers: cluster.server.url });
  try {
    const draft = (number: number) => ({
      subject: `orders.${cluster.name}`,
      payload: Buffer.from(`${label} ${number}`),
    });
    await publishAll(connection, 1, count, draft);
  } finally {
    await connection.close();
  }
}

/** Keeps what a cluster's server has stored by now; nobody may be writing. The result brings it back: everything since is lost. */
async function keep(world: World, { name, server }: TestCluster): Promise<() => Promise<void>> {
  const copy = join(world.dir, `${name}.copy`);
  await server.stop();
  await cp(server.storeDir, copy, { recursive: true });
  await server.start();
  return async () => {
    await server.stop();
    await rm(server.storeDir, { recursive: true });
    await cp(copy, server.storeDir, { recursive: true });
    await server.start();
  };
}

/** Waits until a stream holds `count` records of each label, and finds that it holds nothing else and nothing twice. */
async function holdsAll(cluster: TestCluster, labels: readonly string[]): Promise<void> {
  await cluster.holds('ORDERS', labels.length * count, 20_000);
  const expected = labels.flatMap((label) => Array.from({ length: count }, (_, i) => `${label} ${i + 1}`));
  expect((await cluster.read('ORDERS')).map(({ text }) => text).sort()).toEqual(expected.sort());
}

async function stopAll(...clusters: readonly TestCluster[]): Promise<void> {
  await Promise.all(clusters.map(({ daemon }) => daemon.stop()));
}

test('records that came over a replicate link are lost at their copy, and its new records under their numbers arrive', async () => {
  await using world = await World.make(mesh(['berlin', 'paris']));
  const [berlin, paris] = [world.cluster('berlin'), world.cluster('paris')];
  const [there, back] = ['orders/berlin/paris', 'orders/paris/berlin'];
  await publish(berlin, 'first');
  await world.start();
  await world.stored(there, count);
  await stopAll(berlin, paris);
  const lose = await keep(world, berlin);
  await world.start();
  await publish(paris, 'imported');
  await world.stored(back, 2 * count);
  // Nothing of these goes back, and the cursor passes them.
  await world.stored(there, 2 * count);
  await stopAll(berlin, paris);
  await lose();
  await publish(berlin, 'second');
  await world.start();
  await paris.logs('gap', 'regressed');
  for (const member of [berlin, paris]) await holdsAll(member, ['first', 'imported', 'second']);
  expect(await paris.daemon.lane(there)).toMatchObject({ gapsTotal: 1, state: 'live' });
});

test('records that the sink had from elsewhere are lost on the way there, and new records under their numbers arrive', async () => {
  const ways = [
    ['top', 'left'],
    ['top', 'bottom'],
    ['left', 'bottom'],
  ] as const;
  await using world = await World.make(steps(ways));
  const [top, left, bottom] = [world.cluster('top'), world.cluster('left'), world.cluster('bottom')];
  const lane = 'step-left-bottom/left/bottom';
  await publish(left, 'first');
  await world.start('left', 'bottom');
  await world.stored(lane, count);
  await left.daemon.stop();
  const lose = await keep(world, left);
  await publish(top, 'copied');
  await world.start('top');
  await world.stored('step-top-bottom/top/bottom', count);
  await world.start('left');
  await world.stored(lane, 2 * count);
  expect(await bottom.count('ORDERS')).toBe(2 * count);
  await stopAll(top, left, bottom);
  await lose();
  await publish(left, 'second');
  await world.start('left', 'bottom');
  await bottom.logs('gap', 'regressed');
  await holdsAll(bottom, ['first', 'copied', 'second']);
  // What was lost comes again from where it was published, and is known at the bottom.
  await world.start('top');
  await world.stored(lane, 3 * count);
  await holdsAll(left, ['first', 'copied', 'second']);
  await holdsAll(bottom, ['first', 'copied', 'second']);
  expect(await bottom.daemon.lane(lane)).toMatchObject({ gapsTotal: 1, state: 'live' });
});
