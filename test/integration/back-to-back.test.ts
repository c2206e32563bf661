import { expect, test } from 'vitest';
import { until } from '../support/until.ts';
import { World } from '../support/world.ts';

test('I4: two links back to back between the same streams bring every record to both ends once, and count what came back', async () => {
  const count = 500;
  const link = (from: string, to: string) => ({
    kind: 'fan-in',
    from: { cluster: from, stream: 'EVENTS' },
    to: { cluster: to, stream: 'EVENTS' },
    start: 'all',
  });
  const streams = { EVENTS: { subjects: ['events.>'] } };
  await using world = await World.make({
    east: {
      streams,
      links: { west: link('west', 'east') },
      grants: [
        { to: 'west', append: { stream: 'EVENTS' } },
        { to: 'west', read: { stream: 'EVENTS' } },
      ],
    },
    west: {
      dial: ['east'],
      streams,
      links: { east: link('east', 'west') },
      grants: [{ to: 'east', read: { stream: 'EVENTS' } }],
    },
  });
  const [east, west] = [world.cluster('east'), world.cluster('west')];
  await world.start();
  await using fromEast = await east.feed('EVENTS', { count });
  await using fromWest = await west.feed('EVENTS', { count });
  await Promise.all([fromEast.reached(), fromWest.reached()]);
  await until(
    async () => ((await east.count('EVENTS')) ?? 0) >= 2 * count && ((await west.count('EVENTS')) ?? 0) >= 2 * count,
    {
      what: 'every record at both ends',
    },
  );
  // Everything has gone round, and was left out where it would have come back.
  await until(
    async () => {
      const lanes = await Promise.all([west.daemon.lane('west/west/east'), east.daemon.lane('east/east/west')]);
      return lanes.every(({ loopDropsTotal, lagRecords }) => loopDropsTotal === count && lagRecords === 0);
    },
    { what: 'the echoes to be dropped' },
  );
  expect(await east.count('EVENTS')).toBe(2 * count);
  expect(await west.count('EVENTS')).toBe(2 * count);
});
