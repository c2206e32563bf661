import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { freePorts } from '../../src/lib/free-ports.ts';
import { causeway } from '../support/causeway.ts';
import { DaemonProcess } from '../support/daemon-process.ts';
import { until } from '../support/until.ts';
import { type ClusterSpec, type TestCluster, World } from '../support/world.ts';

const device: ClusterSpec = {
  dial: ['hub'],
  streams: { FIRMWARE: { subjects: ['firmware.>'] } },
  grants: [{ to: 'hub', append: { stream: 'FIRMWARE' } }],
};

/** A hub that sends firmware to its edges; of the three that it expects, two are in this world. */
async function fleet(expected: number | readonly string[] = 3): Promise<World> {
  const world = await World.make({
    hub: {
      groups: { edges: { match: 'edge-*' } },
      streams: { FIRMWARE: { subjects: ['firmware.>'] } },
      links: {
        firmware: { kind: 'fan-out', from: { stream: 'FIRMWARE' }, to: { cluster: 'edges', stream: 'FIRMWARE' } },
      },
    },
    'edge-1': device,
    'edge-2': device,
  });
  const peers = { edges: { match: 'edge-*', expect: expected } };
  await world.cluster('hub').edit({ peers });
  return world;
}

const statusText = async (cluster: TestCluster): Promise<string> =>
  (await causeway(['status', '--monitor', cluster.daemon.monitorUrl])).out;

async function connected(hub: TestCluster, count: number): Promise<void> {
  // Who was there before is known when the roster was read.
  const shown = async () => {
    const [group] = (await hub.daemon.status()).groups;
    return group?.connected === count && group.seen !== undefined;
  };
  await until(shown, {
    what: () => `${count} edges to be connected to the hub\n${hub.daemon.log()}`,
  });
}

test('a fleet is shown with who is there, who was, and who never came, also after a restart of the hub', async () => {
  await using world = await fleet(['edge-1', 'edge-2', 'edge-3']);
  const hub = world.cluster('hub');
  await world.start();
  await connected(hub, 2);
  await using feed = await hub.feed('FIRMWARE', { count: 20 });
  await feed.reached();
  await world.stored('firmware/hub/edge-1', 20);
  await world.stored('firmware/hub/edge-2', 20);
  await world.cluster('edge-2').daemon.stop();
  await connected(hub, 1);
  expect(await statusText(hub)).toMatch(/^edge-2 +edges +disconnected +.* ago /m);

  await hub.daemon.stop();
  await hub.daemon.start();
  await connected(hub, 1);
  await until(async () => (await hub.daemon.peer('edge-2')).lastSeenMs !== undefined, { what: 'the roster' });
  const text = await statusText(hub);
  expect(text).toMatch(/^edges +edge-\* +3 +2 +1 +1: edge-3$/m);
  expect(text).toMatch(/^edge-1 +edges +connected /m);
  expect(text).toMatch(/^edge-2 +edges +disconnected +\S+ +\S+.* ago/m);
  expect(text).toMatch(/^edge-3 +edges +disconnected +\S+ +never/m);
  expect(text).toMatch(/^healthy$/m);
  const metrics = await hub.daemon.metrics();
  for (const [state, count] of Object.entries({ expected: 3, seen: 2, connected: 1, 'never-seen': 1 }))
    expect(metrics).toContain(`causeway_group_members{group="edges",state="${state}"} ${count}\n`);
  expect(metrics).toContain('causeway_peer_connected{peer="edge-2",group="edges"} 0\n');
  const page = await (await fetch(hub.daemon.monitorUrl)).text();
  expect(page).toContain('<td data-label="never seen">1: edge-3</td>');
});

test('members that the file names and that never came are shown by name', async () => {
  await using world = await fleet(['edge-1', 'edge-3']);
  const hub = world.cluster('hub');
  await world.start('hub', 'edge-1', 'edge-2');
  await connected(hub, 2);
  const text = await statusText(hub);
  expect(text).toMatch(/^edges +edge-\* +2 +2 +2 +1: edge-3$/m);
  expect(text).toMatch(/^edge-3 +edges +disconnected +.* never/m);
  const page = await (await fetch(hub.daemon.monitorUrl)).text();
  expect(page).toContain('<td data-label="never seen">1: edge-3</td>');
});

test('two devices of one name are shown with both nodes, and make the hub unhealthy', async () => {
  await using world = await fleet();
  const hub = world.cluster('hub');
  const first = world.cluster('edge-1');
  await world.start('hub', 'edge-1');
  await connected(hub, 1);
  // A copy of the device, keys and all, with a NATS server of its own.
  const [port] = await freePorts(1);
  const file = join(world.dir, 'double.yaml');
  const nats = world.cluster('edge-2').topology.nats;
  await writeFile(file, JSON.stringify({ ...first.topology, nats, monitor: `127.0.0.1:${port}` }));
  const logFile = join(world.dir, 'double.log');
  const double = new DaemonProcess({ cluster: 'edge-1', file, monitorPort: port!, logFile });
  try {
    await double.start();
    await until(async () => (await hub.daemon.peer('edge-1')).reason === 'name-taken', {
      what: () => `the hub to notice\n${hub.daemon.log()}\n${double.log()}`,
    });
    const nodes = [(await first.daemon.status()).node, (await double.status()).node];
    const { code, problems } = await hub.daemon.healthz();
    expect(code).toBe(503);
    const found = problems.find(({ kind }) => kind === 'name-taken');
    expect(found).toMatchObject({ peer: 'edge-1', reason: 'name-taken' });
    for (const node of nodes) expect(found?.text).toContain(node);
    expect(await statusText(hub)).toMatch(
      /^edge-1 +edges +connected .*name-taken: two daemons call themselves edge-1/m,
    );
  } finally {
    await double.kill();
  }
});

test('a bad file and options that wait for a restart are shown, and which version a peer has answered', async () => {
  await using world = await fleet();
  const hub = world.cluster('hub');
  await world.start('hub', 'edge-1');
  await connected(hub, 1);
  const { topology } = hub;
  await hub.edit({ lnks: {} });
  await until(async () => (await hub.daemon.status()).file.error !== undefined, { what: 'the bad file' });
  expect((await hub.daemon.healthz()).problems).toMatchObject([{ kind: 'topology', reason: 'topology-invalid' }]);
  expect(await hub.daemon.metrics()).toContain('\ncauseway_topology_error 1\n');
  const bad = await statusText(hub);
  expect(bad).toMatch(/^topology +.*\(generation 1, /m);
  expect(bad).toMatch(/^bad file +.*hub\.yaml:\d+:\d+: .*lnks/m);

  const { links } = topology as { readonly links: object };
  const monitor = '127.0.0.1:1';
  const more = { kind: 'fan-in', from: { cluster: 'edges', stream: 'LOGS' }, to: { stream: 'LOGS' } };
  await hub.write({ ...topology, monitor, links: { ...links, more } });
  await until(async () => (await hub.daemon.status()).file.generation === 2, {
    what: () => `the good file\n${hub.daemon.log()}`,
  });
  await until(async () => (await hub.daemon.peer('edge-1')).answeredGeneration === 2, { what: 'the answer of edge-1' });
  const good = await statusText(hub);
  expect(good).not.toContain('bad file');
  expect(good).not.toContain('ANSWERED');
  expect(good).toMatch(/^pending +monitor changed in the file/m);
  // What the edge has not granted is refused, by name.
  expect(good).toMatch(/^more +hub +edge-1 +not-granted/m);
  const metrics = await hub.daemon.metrics();
  expect(metrics).toContain('\ncauseway_topology_error 0\n');
  expect(metrics).toContain('\ncauseway_topology_pending 1\n');
  expect(metrics).toContain('causeway_link_accepted{link="more",peer="edge-1"} 0\n');
  expect(metrics).toContain('causeway_link_accepted{link="firmware",peer="edge-1"} 1\n');
});
