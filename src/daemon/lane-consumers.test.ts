import { afterEach, beforeEach, expect, test } from 'vitest';
import { until } from '../../test/support/until.ts';
import type { LaneConsumer } from '../brokers/store.ts';
import { silentLogger as log } from '../lib/logger.ts';
import type { LinkPlan, Plan } from '../topology/plan.ts';
import { LaneConsumers } from './lane-consumers.ts';
import { ownLanes } from './links.ts';

const link: LinkPlan = {
  name: 'jobs',
  kind: 'fan-in',
  from: { clusters: ['plant'], stream: 'JOBS', consume: true },
  to: { clusters: ['hub'], stream: 'ALL', subject: '{subject}' },
  origins: [],
};
const planWith = (...links: LinkPlan[]): Plan => ({
  cluster: 'plant',
  trustDomain: 'acme',
  tls: { cert: '/a', key: '/b', ca: '/c' },
  nats: { servers: ['nats://n'] },
  monitor: { host: '127.0.0.1', port: 7444 },
  peers: [{ cluster: 'hub', dial: [] }],
  groups: [],
  links,
  grants: [],
  file: '/etc/plant.yaml',
  hash: '1',
});

let stopped = new AbortController();
beforeEach(() => {
  stopped = new AbortController();
});
afterEach(() => stopped.abort());

/** A daemon's part, whose store is a set of lanes; `removing` holds up the removal of a consumer. */
function rig(removing: () => Promise<void> = () => Promise.resolve()) {
  const kept = new Set<string>();
  const said: string[] = [];
  const made = { plan: planWith(link), kept, said };
  const consumers = new LaneConsumers({
    store: {
      consumers: async (): Promise<LaneConsumer[]> => [],
      saveConsumer: async ({ lane }) => void kept.add(lane),
      forgetConsumer: async ({ lane }) => {
        kept.delete(lane);
        said.push(`forgot ${lane}`);
      },
    },
    broker: {
      letGo: async (_stream, lane) => {
        said.push(`removing ${lane}`);
        await removing();
      },
    },
    log,
    signal: stopped.signal,
    plan: () => made.plan,
    learned: { has: () => true, of: () => [] },
  });
  const declare = (...links: LinkPlan[]): void => {
    made.plan = planWith(...links);
    consumers.set(ownLanes(made.plan, 'hub'));
  };
  return { ...made, consumers, declare };
}

const lane = 'jobs/plant/hub';

test('a consumer is kept while its lane is wanted, and removed and forgotten then', async () => {
  const { consumers, declare, kept, said } = rig();
  await consumers.recall();
  declare(link);
  await until(() => kept.has(lane), { what: 'it to be kept' });
  declare();
  await until(() => said.length === 2, { what: 'it to be forgotten' });
  expect([said, [...kept]]).toEqual([[`removing ${lane}`, `forgot ${lane}`], []]);
});

test('one that is wanted again while it is being removed is kept again, so that a later run knows of it', async () => {
  let removed = (): void => undefined;
  const removing = new Promise<void>((resolve) => {
    removed = resolve;
  });
  const { consumers, declare, kept, said } = rig(() => removing);
  await consumers.recall();
  declare(link);
  await until(() => kept.has(lane), { what: 'it to be kept' });
  declare();
  await until(() => said.length === 1, { what: 'the removal to begin' });
  declare(link);
  removed();
  await until(() => said.length === 2, { what: 'it to be forgotten' });
  await until(() => kept.has(lane), { what: 'it to be kept again' });
});

test('what was kept is written again when it may be lost', async () => {
  const { consumers, declare, kept } = rig();
  declare(link);
  await until(() => kept.has(lane), { what: 'it to be kept' });
  kept.clear();
  consumers.keepAgain();
  await until(() => kept.has(lane), { what: 'it to be kept again' });
});
