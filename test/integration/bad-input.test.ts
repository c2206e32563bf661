/** Whatever is wrong has a name at the end that notices it, and where it can be, at the other end too; and everything else goes on. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { jetstreamManager, RetentionPolicy } from '@nats-io/jetstream';
import { connect } from 'nats';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { issue } from '../../src/security/make-certs.ts';
import { badLane, GoodAndBad, sinklessLane } from '../support/good-and-bad.ts';
import { startNats } from '../support/nats-launcher.ts';
import { authorityIn } from '../support/scripted-peer.ts';
import { until } from '../support/until.ts';

let all: GoodAndBad;

beforeAll(async () => {
  all = await GoodAndBad.start();
});

afterAll(async () => {
  await all?.[Symbol.asyncDispose]();
});

afterEach(async () => {
  // Whatever was wrong in the test: everything else goes on.
  await all.goesOn();
  await all.plantB.daemon.kill();
});

describe('a topology file', () => {
  test('with an unknown key is refused with its place and the key that was meant', async () => {
    const { code, said } = await all.plantBRefuses({ monitr: '127.0.0.1:7444' });
    expect(code).toBe(3);
    expect(said).toMatch(/plant-b\.yaml:\d+:\d+: .*monitr.*\n?.*monitor/);
  });

  test('with a value of the wrong form is refused with what it takes', async () => {
    const { code, said } = await all.plantBRefuses({ monitor: '7444/tcp' });
    expect(code).toBe(3);
    expect(said).toMatch(/plant-b\.yaml:\d+:\d+: .*7444\/tcp/);
  });

  test('with a link from a cluster that is no peer is refused', async () => {
    const link = { kind: 'fan-in', from: { cluster: 'plant-z', stream: 'S' }, to: { stream: 'T' } };
    const { code, said } = await all.plantBRefuses({ links: { far: link } });
    expect(code).toBe(3);
    expect(said).toMatch(/plant-b\.yaml:\d+:\d+: .*plant-z/);
  });

  test('that names a certificate that is not there is refused', async () => {
    const { code, said } = await all.plantBRefuses({ tls: { cert: 'gone.crt', key: 'plant-b.key', ca: 'ca.crt' } });
    expect(code).toBe(3);
    expect(said).toMatch(/gone\.crt: the file does not exist/);
  });
});

describe('a daemon does not start', () => {
  test('on an address that is in use', async () => {
    const { code, said } = await all.plantBRefuses({ listen: all.listen });
    expect(code).toBe(1);
    expect(said).toMatch(new RegExp(`EADDRINUSE.*${all.listen}`));
  });

  test('on a monitor address that is in use', async () => {
    const { code, said } = await all.plantBRefuses({ monitor: all.hub.daemon.monitorUrl.slice('http://'.length) });
    expect(code).toBe(1);
    expect(said).toMatch(/monitor address .*EADDRINUSE/);
  });

  test('with a certificate that cannot be read', async () => {
    await writeFile(join(all.world.dir, 'garbage.crt'), 'no certificate');
    const { code, said } = await all.plantBRefuses({ tls: { cert: 'garbage.crt', key: 'plant-b.key', ca: 'ca.crt' } });
    expect(code).toBe(1);
    expect(said).toMatch(/certificate-unusable/);
  });

  test('with the key of another certificate', async () => {
    const { code, said } = await all.plantBRefuses({ tls: { cert: 'plant-b.crt', key: 'plant-a.key', ca: 'ca.crt' } });
    expect(code).toBe(1);
    expect(said).toMatch(/certificate-unusable: the key does not belong to the certificate/);
  });

  test('with the certificate of another cluster or trust domain', async () => {
    const other = await all.plantBRefuses({ tls: { cert: 'plant-a.crt', key: 'plant-a.key', ca: 'ca.crt' } });
    expect(other).toMatchObject({ code: 1, said: expect.stringMatching(/identity-mismatch: .*acme\/plant-a/) });
    const domain = await all.plantBRefuses({ trustDomain: 'elsewhere' });
    expect(domain).toMatchObject({ code: 1, said: expect.stringMatching(/identity-mismatch: .*elsewhere\/plant-b/) });
  });

  test('with a certificate that has ended', async () => {
    const [notBefore, notAfter] = [new Date(Date.now() - 86_400_000), new Date(Date.now() - 3_600_000)];
    const pem = await issue(await authorityIn(all.world.dir), { cluster: 'plant-b', notBefore, notAfter });
    await writeFile(join(all.world.dir, 'old.crt'), pem.certificate);
    await writeFile(join(all.world.dir, 'old.key'), pem.key);
    const { code, said } = await all.plantBRefuses({ tls: { cert: 'old.crt', key: 'old.key', ca: 'ca.crt' } });
    expect(code).toBe(1);
    expect(said).toMatch(/certificate-expired/);
  });
});

describe('at the own NATS servers', () => {
  test('a missing source stream is named at both ends, and the lane runs once it is made', async () => {
    await all.plantB.deleteStream('TELEMETRY');
    await using _b = await all.plantBWith({});
    await all.plantB.shows(badLane, 'source-missing', 'blocked');
    await all.hub.shows(badLane, 'source-missing', 'blocked');
    await all.plantB.addStream('TELEMETRY', { subjects: ['telemetry.>'] });
    await using records = await all.plantB.feed('TELEMETRY', { count: 100 });
    await records.reached();
    await all.world.stored(badLane, 100);
  });

  test('a missing sink stream is named at both ends, and the lane runs once it is made', async () => {
    await all.hub.shows(sinklessLane, 'sink-missing', 'blocked');
    await all.plantA.shows(sinklessLane, 'sink-missing', 'blocked');
    await all.hub.addStream('SECOND', { subjects: ['second.>'] });
    await all.world.stored(sinklessLane, all.fed);
  });

  test('servers without JetStream are named at both ends', async () => {
    await using server = await startNats({ name: 'plain', jetstream: false });
    await using _b = await all.plantBWith({ nats: { servers: [server.url] } });
    await all.plantB.shows(badLane, 'jetstream-unavailable', 'blocked');
    await all.hub.shows(badLane, 'jetstream-unavailable', 'blocked');
    expect((await all.plantB.daemon.status()).nats.connected).toBe(true);
  });

  test('a wrong password is named, and a right one is taken without a restart', async () => {
    const config = 'authorization { user: causeway, password: right }';
    await using server = await startNats({ name: 'locked', config });
    const [user, password] = [join(all.world.dir, 'user'), join(all.world.dir, 'password')];
    await writeFile(user, 'causeway');
    await writeFile(password, 'wrong');
    const nats = { servers: [server.url], user: { file: user }, password: { file: password } };
    await using _b = await all.plantBWith({ nats });
    await until(async () => (await all.plantB.daemon.status()).nats.reason === 'nats-auth', { what: 'nats-auth' });
    await until(async () => (await all.plantB.daemon.readyz()) === 200, {
      what: 'the daemon to be ready all the same',
    });
    await writeFile(password, 'right');
    await until(async () => (await all.plantB.daemon.status()).nats.connected, { what: 'the connection' });
    await all.hub.shows(badLane, 'source-missing', 'blocked');
  });

  test('a permission that is missing is named at both ends', async () => {
    const config = `
      no_auth_user: causeway
      authorization { users: [{ user: causeway, password: x, permissions: { publish: { deny: ["$JS.API.CONSUMER.>"] } } }] }`;
    await using server = await startNats({ name: 'strict', config });
    await using _b = await all.plantBWith({ nats: { servers: [server.url] } });
    const connection = await connect({ servers: server.url });
    await (await jetstreamManager(connection)).streams.add({ name: 'TELEMETRY', subjects: ['telemetry.>'] });
    await connection.close();
    await all.plantB.shows(badLane, 'nats-permission', 'blocked');
    await all.hub.shows(badLane, 'nats-permission', 'blocked');
  });

  test('servers that are away are named, and the daemon stays ready', async () => {
    await using _b = await all.plantBWith({});
    await all.world.stored(badLane, 100);
    await all.plantB.server.kill();
    try {
      await all.plantB.shows(badLane, 'nats-unreachable', 'blocked');
      expect(await all.plantB.daemon.readyz()).toBe(200);
    } finally {
      await all.plantB.server.start();
    }
    await until(async () => (await all.plantB.daemon.lane(badLane)).state === 'live', {
      what: 'the lane to be live again',
    });
  });

  test('a stream of a kind that cannot be carried exactly once is refused by name at both ends', async () => {
    await all.plantB.deleteStream('TELEMETRY');
    await all.plantB.addStream('TELEMETRY', { subjects: ['telemetry.>'], retention: RetentionPolicy.Workqueue });
    try {
      await using _b = await all.plantBWith({});
      await all.plantB.shows(badLane, 'source-unsupported', 'parked');
      await all.hub.shows(badLane, 'source-unsupported', 'parked');
    } finally {
      await all.plantB.deleteStream('TELEMETRY');
      await all.plantB.addStream('TELEMETRY', { subjects: ['telemetry.>'] });
    }
  });
});
