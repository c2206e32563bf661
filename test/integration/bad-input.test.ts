import { writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { openCertificates } from '../../src/security/certs.ts';
import { identityOf } from '../../src/security/identity.ts';
import { issue, makeAuthority, writeCerts } from '../../src/security/make-certs.ts';
import { createDialer } from '../../src/transport/grpc-client.ts';
import { decodeControl, encodeControl } from '../../src/wire/control.ts';
import { decodeFrame, encodeFrame } from '../../src/wire/frame.ts';
import type { Reason } from '../../src/wire/reasons.ts';
import { perfect } from '../support/oracle.ts';
import { until } from '../support/until.ts';
import { fanIn, type TestCluster, trustDomain, World } from '../support/world.ts';

const day = 24 * 3_600_000;

/** Waits until a daemon shows something with this reason. */
async function untilReason(
  what: string,
  reason: Reason,
  read: () => Promise<{ readonly reason?: Reason }>,
): Promise<void> {
  let last: { readonly reason?: Reason } = {};
  await until(
    async () => {
      last = await read();
      return last.reason === reason;
    },
    { what: () => `${what} with ${reason}: ${JSON.stringify(last)}` },
  );
}

const laneReason = (at: TestCluster, lane: string, reason: Reason) =>
  untilReason(`${at.name} to show ${lane}`, reason, () => at.daemon.lane(lane));
const peerReason = (at: TestCluster, peer: string, reason: Reason) =>
  untilReason(`${at.name} to show peer ${peer}`, reason, () => at.daemon.peer(peer));

test('a file or certificate that cannot be used ends the daemon at the start, with the reason', async () => {
  await using world = await World.make({ hub: { topology: { peers: {} } } });
  const hub = world.cluster('hub');
  const startFails = async (change: Readonly<Record<string, unknown>>, expected: RegExp): Promise<void> => {
    await hub.edit(change);
    await hub.daemon.launch();
    const { code } = await hub.daemon.exited;
    expect(hub.daemon.lastRun()).toMatch(expected);
    expect(code).not.toBe(0);
    // A mistake of the user's shows no stack.
    expect(hub.daemon.lastRun()).not.toMatch(/\n\s+at /);
  };
  const sound = { tls: { cert: 'hub.crt', key: 'hub.key', ca: 'ca.crt' } };
  await startFails({ gateway: {} }, /unknown key "gateway"/);
  await startFails({ gateway: undefined, monitor: 'everywhere' }, /"everywhere" has no port/);
  const authority = await makeAuthority(trustDomain);
  const certificate = async (cluster: string, notAfter?: Date, domain = authority): Promise<void> => {
    const notBefore = new Date(Date.now() - 2 * day);
    const made = await issue(domain, { cluster, notBefore, ...(notAfter === undefined ? {} : { notAfter }) });
    await writeFile(join(world.dir, 'x.crt'), made.certificate);
    await writeFile(join(world.dir, 'x.key'), made.key);
  };
  const monitor = new URL(hub.daemon.monitorUrl).host;
  const other = { monitor, tls: { cert: 'x.crt', key: 'x.key', ca: 'ca.crt' } };
  await certificate('hub', new Date(Date.now() - day));
  await startFails(other, /certificate-expired/);
  await certificate('plant-a');
  await startFails(other, /identity-mismatch/);
  await certificate('hub', undefined, await makeAuthority('elsewhere'));
  await startFails(other, /identity-mismatch/);
  await startFails({ tls: { cert: 'x.crt', key: 'hub.key', ca: 'ca.crt' } }, /certificate-unusable/);
  await startFails({ tls: { cert: 'hub.crt', key: 'none.key', ca: 'ca.crt' } }, /none\.key/);

  const blocker = createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => blocker.once('listening', resolve));
  const { port } = blocker.address() as { port: number };
  try {
    await startFails({ ...sound, listen: `127.0.0.1:${port}` }, new RegExp(`${port}`));
  } finally {
    blocker.close();
  }
});

test('what is wrong at one plant is named there and at the hub, the others go on, and mending it is enough', async () => {
  const plants = ['good', 'ungranted', 'sourceless', 'streamless', 'locked', 'stranger'];
  const spec = fanIn(plants);
  const records = 2_000;
  await using world = await World.make({
    ...spec,
    hub: {
      ...spec.hub!,
      links: {
        ...spec.hub!.links,
        spare: { kind: 'fan-in', from: { cluster: 'good', stream: 'TELEMETRY' }, to: { stream: 'NOWHERE' } },
      },
    },
    ungranted: { ...spec.ungranted!, grants: [] },
    sourceless: { ...spec.sourceless!, streams: {} },
    streamless: { ...spec.streamless!, streams: {}, server: { jetstream: false } },
    locked: {
      ...spec.locked!,
      streams: {},
      server: { config: 'authorization { token: "right" }' },
    },
  });
  const hub = world.cluster('hub');
  const secret = join(world.dir, 'token');
  await writeFile(secret, 'wrong');
  await world
    .cluster('locked')
    .edit({ nats: { servers: [world.cluster('locked').server.url], token: { file: 'token' } } });
  // Its own authority, and the hub's as the one it trusts: whole in itself, and nobody the hub knows.
  await writeCerts(join(world.dir, 'other'), { trustDomain, clusters: [{ cluster: 'stranger' }] });
  await world
    .cluster('stranger')
    .edit({ tls: { cert: 'other/stranger.crt', key: 'other/stranger.key', ca: 'ca.crt' } });
  await world.start();
  const lane = (plant: string) => `telemetry/${plant}/hub`;

  await laneReason(hub, lane('ungranted'), 'not-granted');
  await laneReason(hub, lane('sourceless'), 'source-missing');
  await laneReason(world.cluster('sourceless'), lane('sourceless'), 'source-missing');
  await laneReason(hub, lane('streamless'), 'jetstream-unavailable');
  await laneReason(hub, lane('locked'), 'nats-auth');
  await laneReason(hub, 'spare/good/hub', 'sink-missing');
  await peerReason(world.cluster('stranger'), 'hub', 'certificate-untrusted');
  const ungranted = (await world.cluster('ungranted').daemon.status()).links;
  expect(ungranted).toMatchObject([{ link: 'telemetry', declaredBy: 'hub', accepted: false, reason: 'not-granted' }]);

  // The rest keeps running.
  await using feed = await world.cluster('good').feed('TELEMETRY', { count: records });
  await feed.reached();
  await world.stored(lane('good'), records);
  const { verdicts } = await world.judge({ cluster: 'hub', stream: 'FLEET' }, [
    { lane: lane('good'), stream: 'TELEMETRY' },
  ]);
  expect(verdicts).toEqual({ [lane('good')]: perfect(records) });
  expect((await hub.daemon.healthz('telemetry')).code).toBe(503);

  // Mended, each without a restart.
  await writeFile(secret, 'right');
  await world.cluster('sourceless').addStream('TELEMETRY', { subjects: ['telemetry.>'] });
  await hub.addStream('NOWHERE', { subjects: ['telemetry.>'] });
  await using late = await world.cluster('sourceless').feed('TELEMETRY', { count: 100 });
  await late.reached();
  await world.stored(lane('sourceless'), 100);
  await world.stored('spare/good/hub', records);
  // Its stream does not exist either: with the right password that is what is left.
  await laneReason(hub, lane('locked'), 'source-missing');
});

test('a peer that speaks another version, or no protocol at all, is told so and harms nobody', async () => {
  const spec = fanIn(['good', 'odd']);
  await using world = await World.make(spec);
  const hub = world.cluster('hub');
  await world.start('hub', 'good');
  const tls = { cert: join(world.dir, 'odd.crt'), key: join(world.dir, 'odd.key'), ca: join(world.dir, 'ca.crt') };
  const certs = await openCertificates(tls, { trustDomain, cluster: 'odd' });
  const port = Number(
    /"listen": "127\.0\.0\.1:(\d+)"/.exec(JSON.stringify(await hub.daemon.status(), undefined, 1))![1],
  );
  const dialer = createDialer({
    addresses: [{ host: '127.0.0.1', port }],
    expect: { trustDomain, cluster: 'hub' },
    certs,
    identify: identityOf,
    maxFrameBytes: 1 << 20,
  });
  /** Sends one frame and returns the reason of the Goodbye that answers it. */
  const answer = async (method: 'control' | 'exchange', bytes: Buffer): Promise<string | undefined> => {
    let reason: string | undefined;
    let over = false;
    const channel = dialer.open(method, {
      frame: (frame) => {
        const decoded = method === 'control' ? decodeControl(frame) : decodeFrame(frame);
        if (decoded?.kind === 'goodbye') reason = decoded.reason;
      },
      ended: () => {
        over = true;
      },
    });
    channel.send(bytes);
    await until(() => over, { what: 'the hub to end the stream' });
    return reason;
  };
  try {
    const greeting = { cluster: 'odd', node: 'n', software: 's', fileHash: '', generation: 1, beatMs: 1000 };
    expect(
      await answer('control', encodeControl({ kind: 'greeting', minVersion: 9, maxVersion: 9, ...greeting })),
    ).toBe('version-mismatch');
    expect(await answer('control', Buffer.from([0xff, 0xff, 0xff]))).toBe('bad-frame');
    const lane = 'telemetry/odd/hub';
    const linkHash = (await hub.daemon.status()).lanes.length > 0 ? '' : 'x';
    const hello = {
      kind: 'hello',
      minVersion: 1,
      maxVersion: 1,
      lane,
      role: 'sender',
      node: 'n',
      session: '1',
      linkHash,
    } as const;
    expect(await answer('exchange', encodeFrame(hello))).toBe('link-conflict');
    expect(await answer('exchange', encodeFrame({ ...hello, lane: 'telemetry/good/hub' }))).toBe('link-unknown');
    expect(await answer('exchange', Buffer.from('garbage'))).toBe('bad-frame');
    expect(await answer('exchange', Buffer.alloc(2 << 20, 0x1a))).toBe('bad-frame');
  } finally {
    dialer.close();
    certs.close();
  }
  await using feed = await world.cluster('good').feed('TELEMETRY', { count: 500 });
  await feed.reached();
  await world.stored('telemetry/good/hub', 500);
});
