/** Peers that are known by a pattern: who is a member, what is known of those that are away, and who is none. */
import { expect, test } from 'vitest';
import type { GroupStatus } from '../../src/ops/status.ts';
import type { Feed } from '../support/feed.ts';
import { perfect } from '../support/oracle.ts';
import { reload } from '../support/reload.ts';
import { allOf, judgeByContent } from '../support/replica-oracle.ts';
import { authorityIn, ScriptedPeer } from '../support/scripted-peer.ts';
import { until } from '../support/until.ts';
import { type ClusterSpec, type TestCluster, World } from '../support/world.ts';

const edges = { match: 'edge-*', except: ['edge-13'], expect: 4 };

function fleet(devices: readonly string[]): Record<string, ClusterSpec> {
  const device: ClusterSpec = {
    dial: ['hub'],
    streams: { TELEMETRY: { subjects: ['telemetry.>'] }, FIRMWARE: { subjects: ['firmware.>'] } },
    grants: [
      { to: 'hub', read: { stream: 'TELEMETRY' } },
      { to: 'hub', append: { stream: 'FIRMWARE' } },
    ],
    topology: { cluster: { from: 'certificate' } },
  };
  return {
    hub: {
      groups: { edges },
      streams: {
        FLEET: { subjects: ['fleet.>'], duplicate_window: 1e9 },
        FIRMWARE: { subjects: ['firmware.>'] },
      },
      links: {
        telemetry: {
          kind: 'fan-in',
          from: { cluster: 'edges', stream: 'TELEMETRY' },
          to: { stream: 'FLEET', subject: 'fleet.{origin}.{subject}' },
        },
        firmware: { kind: 'fan-out', from: { stream: 'FIRMWARE' }, to: { cluster: 'edges', stream: 'FIRMWARE' } },
      },
    },
    ...Object.fromEntries(devices.map((name) => [name, device])),
  };
}

/** Waits until the hub's group looks like this. */
async function group(hub: TestCluster, wanted: Partial<GroupStatus>): Promise<void> {
  let last = '';
  await until(
    async () => {
      const { groups } = await hub.daemon.status();
      last = JSON.stringify(groups);
      return Object.entries(wanted).every(
        ([key, value]) => JSON.stringify(groups[0]?.[key as keyof GroupStatus]) === JSON.stringify(value),
      );
    },
    { what: () => `the group to be ${JSON.stringify(wanted)}: ${last}`, deadlineMs: 40_000 },
  );
}

test('members get their lanes as they connect, and are known when they are away, over restarts of the hub', async () => {
  await using world = await World.make(fleet(['edge-1', 'edge-2']));
  const [hub, one, two] = [world.cluster('hub'), world.cluster('edge-1'), world.cluster('edge-2')];
  await world.start('hub');
  await group(hub, { group: 'edges', match: 'edge-*', expected: 4, seen: 0, connected: 0, neverSeen: 4 });
  await using firmware = await hub.feed('FIRMWARE', { count: 100 });
  const fed: Feed[] = [];
  for (const device of [one, two]) {
    await world.start(device.name);
    fed.push(await device.feed('TELEMETRY', { count: 100 }));
    await world.stored(`telemetry/${device.name}/hub`, 100);
    await device.holds('FIRMWARE', 100);
  }
  await using _fed = {
    [Symbol.asyncDispose]: async () => {
      for (const feed of fed) await feed[Symbol.asyncDispose]();
    },
  };
  await group(hub, { seen: 2, connected: 2, neverSeen: 2 });
  expect(await hub.daemon.peer('edge-1')).toMatchObject({ group: 'edges', connected: true, direction: 'dials-us' });

  // One goes, and the hub's daemon starts anew before it is back.
  await two.daemon.kill();
  await group(hub, { seen: 2, connected: 1 });
  const { lastSeenMs } = await hub.daemon.peer('edge-2');
  expect(Math.abs(Date.now() - lastSeenMs!)).toBeLessThan(30_000);
  await hub.daemon.stop();
  await hub.daemon.start();
  await group(hub, { seen: 2, connected: 1, neverSeen: 2 });
  const away = await hub.daemon.peer('edge-2');
  expect(away).toMatchObject({ connected: false, group: 'edges' });
  expect(away.lastSeenMs).toBeGreaterThanOrEqual(lastSeenMs! - 1000);
  expect(away.lastSeenMs).toBeLessThanOrEqual(Date.now());
  expect((await hub.daemon.lane('firmware/hub/edge-2')).state).not.toBe('live');
  firmware.allow(200);
  await one.holds('FIRMWARE', 200);
  await two.daemon.start();
  await two.holds('FIRMWARE', 200);

  const certificate = { cluster: 'edge-13' };
  const address = (await hub.daemon.status()).listen!;
  await using left = await ScriptedPeer.make({
    address,
    expect: 'hub',
    authority: await authorityIn(world.dir),
    certificate,
  });
  expect((await left.greet().ended()).reason).toBe('peer-unknown');

  // Expected by name.
  await reload(hub, { peers: { edges: { ...edges, expect: ['edge-1', 'edge-2', 'edge-9'] } } });
  await group(hub, { expected: 3, seen: 2, connected: 2, neverSeen: 1, missing: ['edge-9'] });
  expect(await hub.daemon.peer('edge-9')).not.toHaveProperty('lastSeenMs');

  // An entry of its own takes it out of the group.
  await reload(hub, { peers: { edges, 'edge-2': {} } });
  await group(hub, { seen: 1, connected: 1 });
  await until(async () => (await hub.daemon.peer('edge-2')).connected, { what: 'edge-2 to be back by itself' });
  expect(await hub.daemon.peer('edge-2')).not.toHaveProperty('group');
  const { lanes, peers } = await hub.daemon.status();
  expect(peers.map(({ peer }) => peer).sort()).toEqual(['edge-1', 'edge-2']);
  expect(lanes.filter(({ peer }) => peer === 'edge-2')).toEqual([]);

  const { links } = hub.topology;
  await reload(hub, { peers: {}, links: {} });
  for (const device of [one, two]) await device.showsPeer('hub', 'peer-unknown');
  expect(await hub.daemon.status()).toMatchObject({ peers: [], groups: [], lanes: [] });
  await reload(hub, { peers: { edges }, links });
  // Known from before.
  await group(hub, { seen: 2 });
  await group(hub, { connected: 2 });
  firmware.allow(300);
  for (const feed of fed) feed.allow(200);
  for (const device of [one, two]) {
    await world.stored(`telemetry/${device.name}/hub`, 200);
    await device.holds('FIRMWARE', 300);
    const all = [{ label: 'hub', count: 300 }];
    expect(judgeByContent(await device.read('FIRMWARE'), all)).toEqual(allOf(all));
  }
  const ups = ['edge-1', 'edge-2'].map((name) => ({ lane: `telemetry/${name}/hub`, stream: 'TELEMETRY' }));
  const { verdicts } = await world.judge({ cluster: 'hub', stream: 'FLEET' }, ups);
  expect(verdicts).toEqual(Object.fromEntries(ups.map(({ lane }) => [lane, perfect(200)])));
});

test('forty devices that come and go are members each', async () => {
  await using world = await World.make(fleet(['edge-1']));
  const hub = world.cluster('hub');
  await world.start('hub');
  const authority = await authorityIn(world.dir);
  const address = (await hub.daemon.status()).listen!;
  const names = Array.from({ length: 40 }, (_, i) => `edge-${100 + i}`);
  const devices: ScriptedPeer[] = [];
  const leave = async (): Promise<void> => {
    for (const device of devices.splice(0)) await device[Symbol.asyncDispose]();
  };
  await using _devices = { [Symbol.asyncDispose]: leave };
  for (const name of names) {
    const device = await ScriptedPeer.make({ address, expect: 'hub', authority, certificate: { cluster: name } });
    devices.push(device);
    await device.greet({ cluster: name, node: `${name}-node` }).received('greeting');
  }
  // Without beats the first may be taken for silent by the time that the last is there.
  await group(hub, { seen: 40, neverSeen: 0 });
  expect((await hub.daemon.status()).lanes.length).toBe(80);
  await leave();
  await group(hub, { seen: 40, connected: 0 });
  await hub.daemon.stop();
  await hub.daemon.start();
  await group(hub, { seen: 40, connected: 0 });
});
