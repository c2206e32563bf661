import { expect, test } from 'vitest';
import { mesh, steps } from '../support/graphs.ts';
import { Outages } from '../support/outages.ts';
import { allOf, judgeByContent } from '../support/replica-oracle.ts';
import { Seed } from '../support/seed.ts';
import { until } from '../support/until.ts';
import { World } from '../support/world.ts';

const count = 10_000;
const payloadBytes = 128;

test('three replicas hold what was published at any of them, once, with a member away for a part of it', async () => {
  const members = ['berlin', 'paris', 'rome'];
  const seed = Seed.announced('replicas');
  await using world = await World.make(mesh(members));
  await world.start();
  const load = { count, perSecond: 3_000, payloadBytes };
  await using berlin = await world.cluster('berlin').feedShared('ORDERS', load);
  await using paris = await world.cluster('paris').feedShared('ORDERS', load);
  await using rome = await world.cluster('rome').feedShared('ORDERS', load);
  const feeds = [berlin, paris, rome];
  const published = (): number => feeds.reduce((sum, feed) => sum + feed.accepted, 0);
  await using outages = new Outages(world, () => `${published()} published`);
  const away = seed.pick(members);
  const other = seed.pick(members.filter((name) => name !== away));
  const due = (share: number) => () => published() >= share * 3 * count;
  const kills = [
    outages.kill(`daemon ${away}`, due(0.15), 2_500),
    outages.kill(`server ${away}`, due(0.2), 1_500),
    outages.kill(`daemon ${other}`, due(0.6), 300),
    outages.kill(`server ${other}`, due(0.8), 300),
  ];
  try {
    await Promise.all([...feeds.map((feed) => feed.reached()), ...kills]);
    outages.tell('all published');
    for (const name of members) await world.cluster(name).holds('ORDERS', 3 * count);
    outages.tell('all stored');
    await world.level();
  } finally {
    console.info(outages.story);
  }
  const expected = allOf(members.map((label) => ({ label, count })));
  for (const name of members) {
    const records = await world.cluster(name).read('ORDERS');
    expect({ name, ...judgeByContent(records, feedsOf(members)) }).toEqual({ name, ...expected });
    expect(records.length).toBe(3 * count);
  }
});

test('a ring of four passes every record on once, drops it where it began, and counts that', async () => {
  const names = ['a', 'b', 'c', 'd'];
  const ring = [
    ['a', 'b'],
    ['b', 'c'],
    ['c', 'd'],
    ['d', 'a'],
  ] as const;
  await using world = await World.make(steps(ring));
  await world.start();
  await using feed = await world.cluster('a').feedShared('ORDERS', { count, payloadBytes });
  await feed.reached();
  for (const name of names) await world.cluster(name).holds('ORDERS', count);
  await world.level();
  for (const name of names) {
    const records = await world.cluster(name).read('ORDERS');
    expect({ name, ...judgeByContent(records, feedsOf(['a'])) }).toEqual({ name, ...allOf([{ label: 'a', count }]) });
  }
  const back = await world.cluster('d').daemon.lane('step-d-a/d/a');
  expect(back.loopDropsTotal).toBe(count);
});

test('a diamond stores what comes over both ways once, with either way away for a part of it', async () => {
  const ways = [
    ['top', 'left'],
    ['top', 'right'],
    ['left', 'bottom'],
    ['right', 'bottom'],
  ] as const;
  await using world = await World.make(steps(ways));
  await world.start();
  await using feed = await world.cluster('top').feedShared('ORDERS', { count, perSecond: 3_000, payloadBytes });
  await using outages = new Outages(world, () => `${feed.accepted} published`);
  const due = (share: number) => () => feed.accepted >= share * count;
  // Copies over the way that was away come late: after the bottom daemon has been started anew.
  const kills = [
    outages.kill('daemon left', due(0.1), 2_000),
    outages.kill('daemon bottom', due(0.5), 200),
    outages.kill('daemon right', due(0.7), 1_500),
    outages.kill('server bottom', due(0.8), 300),
  ];
  try {
    await Promise.all([feed.reached(), ...kills]);
    await world.level();
  } finally {
    console.info(outages.story);
  }
  for (const name of ['left', 'right', 'bottom']) {
    const records = await world.cluster(name).read('ORDERS');
    const expected = allOf([{ label: 'top', count }]);
    const verdict = judgeByContent(records, feedsOf(['top']));
    // Two ways into one stream: each keeps its order, and what the other brought first stands where it came.
    if (name === 'bottom') expect({ top: { ...verdict.top, outOfOrder: 0, examples: [] } }).toEqual(expected);
    else expect({ name, ...verdict }).toEqual({ name, ...expected });
  }
  await until(
    async () => {
      const lanes = ['step-left-bottom/left/bottom', 'step-right-bottom/right/bottom'];
      const found = await Promise.all(lanes.map((lane) => world.cluster('bottom').daemon.lane(lane)));
      return found.every(({ state }) => state === 'live');
    },
    { what: 'both lanes into the bottom to be live' },
  );
});

function feedsOf(labels: readonly string[]) {
  return labels.map((label) => ({ label, count, payloadBytes }));
}
