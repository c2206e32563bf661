import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { freePorts } from '../../src/lib/free-ports.ts';
import { DaemonProcess } from '../support/daemon-process.ts';
import { eachServer } from '../support/each-server.ts';
import { perfect } from '../support/oracle.ts';
import { Outages, type Victim } from '../support/outages.ts';
import { Seed } from '../support/seed.ts';
import { limitMs, many } from '../support/soak.ts';
import { until } from '../support/until.ts';
import { fanIn, World } from '../support/world.ts';

const lane = 'telemetry/plant-a/hub';
const judged = [{ lane, stream: 'TELEMETRY' }];
const sink = { cluster: 'hub', stream: 'FLEET' };

// The oldest server has its turn where only the sink dies: test/integration/store-and-ack-sink.test.ts.
await eachServer('newest', (binary) => {
  test(
    'records stored but not acknowledged when a daemon or server is killed are not stored again',
    async () => {
      const rounds = many(3, 200);
      const perRound = 2_000;
      const seed = Seed.announced('store and ack');
      await using world = await World.make(fanIn(['plant-a']), { binary, lines: true });
      const [hub, plant] = [world.cluster('hub'), world.cluster('plant-a')];
      await world.start();
      await using feed = await plant.feed('TELEMETRY', { count: 0, payloadBytes: 512 });
      await using outages = new Outages(world, () => `${feed.accepted} published`);
      const victims: readonly Victim[] = ['daemon hub', 'daemon plant-a', 'server hub'];
      const line = world.line('plant-a', 'hub');
      try {
        for (let round = 0; round < rounds; round++) {
          // Only on a line that is known to be fast there is much under way that nobody has heard of yet.
          feed.allow(round * perRound + 800);
          await world.stored(lane, round * perRound + 800);
          await until(async () => (await plant.daemon.lane(lane)).state === 'live', { what: 'the lane to be live' });
          const before = (await plant.daemon.lane(lane)).storedSequence ?? 0;
          // From here on the hub stores, and its acknowledgements do not arrive.
          line.freeze('from-target');
          feed.allow((round + 1) * perRound);
          const some = before + seed.between(1, 300);
          const stored = async () => ((await hub.count('FLEET')) ?? 0) >= some;
          const kill = outages.kill(victims[round % victims.length]!, stored, seed.between(0, 200));
          await kill;
          line.thaw();
        }
        await world.stored(lane, rounds * perRound);
      } finally {
        console.info(outages.story);
      }
      const { verdicts, foreign } = await world.judge(sink, judged);
      expect(verdicts).toEqual({ [lane]: perfect(rounds * perRound) });
      expect(foreign).toEqual([]);
    },
    limitMs(180_000),
  );

  test('a backlog under way at full speed survives kills of either daemon and of the hub server', async () => {
    const count = 40_000;
    const seed = Seed.announced('backlog');
    await using world = await World.make(fanIn(['plant-a']), { binary });
    const [hub, plant] = [world.cluster('hub'), world.cluster('plant-a')];
    await using feed = await plant.feed('TELEMETRY', { count, payloadBytes: 256 });
    await feed.reached();
    await world.start();
    let known = 0;
    await using outages = new Outages(world, () => `${known} stored`);
    try {
      for (const victim of seed.shuffled<Victim>(['daemon hub', 'daemon plant-a', 'server hub', 'daemon hub'])) {
        const goal = Math.min(count, known + seed.between(1, 7_000));
        const moved = async () => {
          known = Math.max(known, (await hub.count('FLEET')) ?? 0);
          return known >= goal;
        };
        await outages.kill(victim, moved, 0);
      }
      await world.stored(lane, count);
    } finally {
      console.info(outages.story);
    }
    const { verdicts } = await world.judge(sink, judged);
    expect(verdicts).toEqual({ [lane]: perfect(count) });
  });
});

test('a daemon that is stopped drains: what it has sent is stored and known, and it goes on where it was', async () => {
  const count = 30_000;
  await using world = await World.make(fanIn(['plant-a']));
  const [hub, plant] = [world.cluster('hub'), world.cluster('plant-a')];
  await world.start();
  await using feed = await plant.feed('TELEMETRY', { count, perSecond: 6_000, payloadBytes: 512 });
  await feed.reached(8_000);
  // The plant first: everything it sent before it ended is acknowledged, so that both ends agree.
  expect(await plant.daemon.stop()).toEqual({ code: 0, signal: null });
  const held = await hub.count('FLEET');
  expect((await hub.daemon.lane(lane)).storedSequence).toBe(held);
  expect((await hub.daemon.peer('plant-a')).reason).toBe('draining');
  await plant.daemon.start();
  await until(async () => (await plant.daemon.lane(lane)).state === 'live', { what: 'the lane to be live again' });
  await feed.reached(18_000);
  expect(await hub.daemon.stop()).toEqual({ code: 0, signal: null });
  // The hub told the plant to finish, and acknowledged everything first.
  const stored = (await plant.daemon.lane(lane)).storedSequence;
  expect(await hub.count('FLEET')).toBe(stored);
  await hub.daemon.start();
  await feed.reached();
  await world.stored(lane, count);
  const { verdicts } = await world.judge(sink, judged);
  expect(verdicts).toEqual({ [lane]: perfect(count) });
  const status = await hub.daemon.lane(lane);
  expect(status.duplicatesTotal).toBe(0);
});

test('of two daemons of one cluster the newer one has the lane until it goes, and every record is stored once, in order', async () => {
  const count = 12_000;
  await using world = await World.make(fanIn(['plant-a']));
  const plant = world.cluster('plant-a');
  await world.start();
  const [monitorPort] = await freePorts(1);
  const file = join(world.dir, 'second.yaml');
  await writeFile(file, JSON.stringify({ ...plant.topology, monitor: `127.0.0.1:${monitorPort}` }));
  const second = new DaemonProcess({
    cluster: 'plant-a',
    file,
    monitorPort: monitorPort!,
    logFile: join(world.dir, 'second.log'),
  });
  await using feed = await plant.feed('TELEMETRY', { count, perSecond: 3_000 });
  await second.start();
  try {
    await plant.showsPeer('hub', 'name-taken');
    await feed.reached(count / 2);
    await second.kill();
    await feed.reached();
    await world.stored(lane, count);
  } finally {
    await second.kill();
  }
  const { verdicts } = await world.judge(sink, judged);
  expect(verdicts).toEqual({ [lane]: perfect(count) });
});
