import { setTimeout as delay } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { perfect } from '../support/oracle.ts';
import { Outages } from '../support/outages.ts';
import { until } from '../support/until.ts';
import { fanIn, World } from '../support/world.ts';

const lane = 'telemetry/plant-a/hub';
const judged = [{ lane, stream: 'TELEMETRY' }];
const sink = { cluster: 'hub', stream: 'FLEET' };

test('a line that is reset, frozen and gone dark in turn loses, repeats and reorders nothing', async () => {
  const count = 60_000;
  await using world = await World.make(fanIn(['plant-a']), { lines: true });
  const [hub, plant] = [world.cluster('hub'), world.cluster('plant-a')];
  await world.start();
  await using feed = await plant.feed('TELEMETRY', { count, perSecond: 2_500, payloadBytes: 512 });
  await using story = new Outages(world, () => `${feed.accepted} published`);
  const line = world.line('plant-a', 'hub');
  const state = async (): Promise<string> => (await plant.daemon.lane(lane)).state;
  const lag = async (): Promise<number> => (await plant.daemon.lane(lane)).lagRecords ?? 0;
  const level = async (what: string): Promise<void> => {
    await until(async () => (await lag()) < 1_500 && (await state()) === 'live', { what });
    story.tell(what);
  };

  // Reset while records flow, and again at once.
  await world.stored(lane, 1_000);
  for (let i = 0; i < 3; i++) {
    line.cut();
    await until(async () => (await hub.daemon.lane(lane)).state !== 'live', { what: 'the hub to notice the cut' });
    await level('the lane to be back after a cut');
  }

  // Refused for a while.
  line.cutOff();
  await until(async () => (await plant.daemon.peer('hub')).reason === 'unreachable', {
    what: 'the hub to be unreachable',
  });
  expect(await state()).toBe('disconnected');
  const before = await lag();
  await until(async () => (await lag()) > before + 1_000, { what: 'the lag to grow' });
  line.restore();
  await level('the lane to be back after the refusals');

  // Frozen for less than anybody's patience: nothing ends.
  const reconnects = (await hub.daemon.lane(lane)).reconnectsTotal;
  line.freeze();
  await delay(2_000);
  line.thaw();
  await level('the lane to go on after the freeze');
  expect((await hub.daemon.lane(lane)).reconnectsTotal).toBe(reconnects);

  // Dark: no packet arrives, no connection is answered, nobody is told.
  line.freeze();
  line.swallowNew();
  const noticed = { deadlineMs: 45_000, what: 'both ends to notice that the line is dark' };
  await until(async () => {
    const [near, far] = [await plant.daemon.peer('hub'), await hub.daemon.peer('plant-a')];
    return !near.connected && !far.connected && (await state()) === 'disconnected';
  }, noticed);
  story.tell('both ends noticed');
  line.thaw();
  line.restore();
  await level('the lane to be back from the dark');
  await feed.reached();
  await world.stored(lane, count);
  console.info(story.story);
  const { verdicts } = await world.judge(sink, judged);
  expect(verdicts).toEqual({ [lane]: perfect(count) });
});

test('a plant that starts while the hub is down knows its lane, and shows how far it is behind', async () => {
  await using world = await World.make(fanIn(['plant-a']));
  const [hub, plant] = [world.cluster('hub'), world.cluster('plant-a')];
  await world.start();
  await using feed = await plant.feed('TELEMETRY', { count: 1_000 });
  await world.stored(lane, 1_000);
  await plant.daemon.kill();
  await hub.daemon.kill();
  feed.allow(2_500);
  await feed.reached();
  await plant.daemon.start();
  await until(async () => (await plant.daemon.lane(lane)).headSequence === 2_500, {
    what: 'the plant to know its lane and the newest record',
  });
  const alone = await plant.daemon.lane(lane);
  expect(alone).toMatchObject({ role: 'sender', declaredBy: 'hub', state: 'disconnected', reason: 'unreachable' });
  // How far the hub is only the hub knows.
  expect(alone.storedSequence).toBeUndefined();
  expect(alone.lagRecords).toBeUndefined();
  await hub.daemon.start();
  await world.stored(lane, 2_500);
  const { verdicts } = await world.judge(sink, judged);
  expect(verdicts).toEqual({ [lane]: perfect(2_500) });
});
