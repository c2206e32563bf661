import { renameSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:net';
import { networkInterfaces } from 'node:os';
import { join } from 'node:path';
import { createServer as createTlsServer } from 'node:tls';
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { fakeNames } from '../../test/support/fake-names.ts';
import { HttpProxy, type HttpProxyOptions } from '../../test/support/http-proxy.ts';
import { until } from '../../test/support/recorder.ts';
import { SniRouter } from '../../test/support/sni-router.ts';
import { tempDir } from '../../test/support/temp.ts';
import { certificatesOf, foreignCertificate, HeldCertificates } from '../../test/support/tls.ts';
import { openRecorded, openThrough, type TestListener, TransportFixture } from '../../test/support/transport.ts';
import { type Authority, issue, makeAuthority } from '../security/make-certs.ts';
import type { Address, Endpoint, ProxyPlan } from '../topology/plan.ts';
import type { Failure } from '../wire/reasons.ts';
import { startListener } from './grpc-server.ts';

let acme: Authority;
/** The authority of a company that looks into everything that leaves it. */
let corporate: Authority;
beforeAll(async () => {
  [acme, corporate] = await Promise.all([makeAuthority('acme'), makeAuthority('corporate')]);
});

let fixture: TransportFixture;
let hub: TestListener;
const stopping: (() => unknown)[] = [];
beforeEach(async () => {
  fixture = await TransportFixture.make(acme);
  hub = await fixture.listen();
});
afterEach(async () => {
  await fixture.close();
  for (const stop of stopping.splice(0)) await stop();
});

async function startProxy(options?: HttpProxyOptions): Promise<HttpProxy> {
  const proxy = await HttpProxy.start(options);
  stopping.push(() => proxy.stop());
  return proxy;
}

/** What a dialer says that does not get through. */
async function failureThrough(plan: ProxyPlan, address?: Endpoint): Promise<Failure | undefined> {
  const addresses = [address ?? hub.listener.address];
  const dialer = await fixture.dialer({ addresses, proxy: plan, connectTimeoutMs: 1000 });
  const { channel, said } = openRecorded(dialer);
  channel.send(Buffer.from('never seen'));
  const { failure } = await said.untilEnded();
  expect(hub.accepted).toEqual([]);
  return failure;
}

const pem = async (authority: Authority, request: Parameters<typeof issue>[1]) => {
  const { certificate, key } = await issue(authority, request);
  return { cert: Buffer.from(certificate), key: Buffer.from(key) };
};

describe('a proxy of a peer', () => {
  it('is asked for the address as it stands in the file, and TLS goes through it from end to end', async () => {
    const proxy = await startProxy({ leadTo: hub.listener.address });
    const addresses = [{ host: 'hub.example', port: 7443 }];
    const dialer = await fixture.dialer({ addresses, proxy: { url: proxy.url } });
    const { near, far } = await openThrough(dialer, hub);
    expect(proxy.asked).toEqual(['hub.example:7443']);
    expect(near.channel.peer.cluster).toBe('hub');
    expect(far.channel.peer.cluster).toBe('plant');
    expect(dialer.address).toEqual(addresses[0]);
    far.channel.send(Buffer.alloc(500_000, 7));
    await near.said.untilFrames(1);
    proxy.cut();
    expect((await near.said.untilEnded()).failure?.reason).toBe('connection-lost');
    await openThrough(dialer, hub);
    expect(proxy.asked).toHaveLength(2);
  });

  it('is asked for an IPv6 address in brackets', async () => {
    const proxy = await startProxy({ leadTo: hub.listener.address });
    const dialer = await fixture.dialer({ addresses: [{ host: 'fd00::1', port: 7443 }], proxy: { url: proxy.url } });
    await openThrough(dialer, hub);
    expect(proxy.asked).toEqual(['[fd00::1]:7443']);
  });

  it('may be reached over TLS itself', async () => {
    await using dir = await tempDir();
    const ca = join(dir.path, 'proxy-ca.crt');
    await writeFile(ca, corporate.certificate);
    const tls = await pem(corporate, { cluster: 'proxy', hosts: ['127.0.0.1'] });
    const proxy = await startProxy({ tls, login: 'plant:secret', leadTo: hub.listener.address });
    process.env.CAUSEWAY_TEST_PROXY = proxy.url.replace('//', '//plant:secret@');
    stopping.push(() => delete process.env.CAUSEWAY_TEST_PROXY);
    const options = { addresses: [{ host: 'hub.example', port: 7443 }] };
    const dialer = await fixture.dialer({ ...options, proxy: { env: 'CAUSEWAY_TEST_PROXY', ca } });
    const { near, far } = await openThrough(dialer, hub);
    near.channel.send(Buffer.alloc(500_000, 7));
    await far.said.untilFrames(2);
    near.channel.end();
    expect(await far.said.untilEnded()).toEqual({});
    // And nobody believes a proxy of whom he does not know the authority.
    const failure = await fixture.dialer({ ...options, proxy: { env: 'CAUSEWAY_TEST_PROXY' } });
    expect((await openRecorded(failure).said.untilEnded()).failure).toMatchObject({
      reason: 'unreachable',
      detail: expect.stringMatching(/^hub\.example:7443 through the proxy 127\.0\.0\.1:\d+: no TLS with the proxy: /),
    });
  });

  it('that demands a name and password is given them, and says so if they are not right', async () => {
    const proxy = await startProxy({ login: 'plant:secret' });
    expect(await failureThrough({ url: proxy.url })).toMatchObject({
      reason: 'proxy-refused',
      detail: expect.stringMatching(
        /through the proxy .*: the proxy answers 407 Proxy Authentication Required: it demands a name and password$/,
      ),
    });
    process.env.CAUSEWAY_TEST_PROXY_USER = 'plant';
    process.env.CAUSEWAY_TEST_PROXY_PASSWORD = 'wrong';
    stopping.push(() => {
      delete process.env.CAUSEWAY_TEST_PROXY_USER;
      delete process.env.CAUSEWAY_TEST_PROXY_PASSWORD;
    });
    const plan = {
      url: proxy.url,
      user: { env: 'CAUSEWAY_TEST_PROXY_USER' },
      password: { env: 'CAUSEWAY_TEST_PROXY_PASSWORD' },
    };
    const wrong = await failureThrough(plan);
    expect(wrong?.reason).toBe('proxy-refused');
    expect(wrong?.detail).toMatch(/it does not accept the name and password$/);
    expect(wrong?.detail).not.toContain('wrong');
    // Changed while the daemon runs.
    process.env.CAUSEWAY_TEST_PROXY_PASSWORD = 'secret';
    await openThrough(await fixture.dialer({ addresses: [hub.listener.address], proxy: plan }), hub);
    delete process.env.CAUSEWAY_TEST_PROXY_PASSWORD;
    const dialer = await fixture.dialer({ addresses: [hub.listener.address], proxy: plan });
    expect((await openRecorded(dialer).said.untilEnded()).failure?.reason).toBe('proxy-unusable');
  });

  it.each([
    ['HTTP/1.1 403 Forbidden\r\n\r\n<html>no', 'proxy-refused', '403 Forbidden: it does not let us through'],
    ['HTTP/1.1 502 Bad Gateway\r\n\r\n', 'unreachable', '502 Bad Gateway: it does not get through'],
    ['HTTP/1.1 504\r\n\r\n', 'unreachable', '504: it does not get through'],
    ['HTTP/1.1 200 OK\r\n\r\nnot TLS at all', 'unreachable', 'through the proxy'],
    ['SSH-2.0-nothing\r\n', 'unreachable', 'what answers there is no HTTP proxy'],
    [`HTTP/1.1 200 OK\r\nX: ${'x'.repeat(100_000)}\r\n\r\n`, 'unreachable', 'what answers there is no HTTP proxy'],
    ['', 'unreachable', 'the proxy does not answer within 1 s'],
  ])('that answers %j ends in %s', async (answer, reason, detail) => {
    const proxy = await startProxy({ answer });
    const failure = await failureThrough({ url: proxy.url });
    expect(failure?.detail).toContain(detail);
    expect(failure?.reason).toBe(reason);
    expect(failure?.detail).toContain(`through the proxy 127.0.0.1:${proxy.port}: `);
    await until(() => proxy.open === 0, 'the connection to be given up');
  });

  it('that demands another way to log in is named with it', async () => {
    const proxy = await startProxy({ scheme: 'Negotiate' });
    expect((await failureThrough({ url: proxy.url }))?.detail).toMatch(/it demands Negotiate, and only Basic/);
  });

  it('that is not there is unreachable', async () => {
    const { port } = hub.listener.address;
    expect(await failureThrough({ url: 'http://127.0.0.1:1' })).toEqual({
      reason: 'unreachable',
      detail: `127.0.0.1:${port} through the proxy 127.0.0.1:1: connect ECONNREFUSED 127.0.0.1:1`,
    });
  });

  it('is left out for what it excepts, and if its variable is empty', async () => {
    const nobody = 'http://127.0.0.1:1';
    for (const proxy of [{ url: nobody, except: ['127.0.0.0/8'] }, { env: 'CAUSEWAY_TEST_NO_SUCH_VARIABLE' }])
      await openThrough(await fixture.dialer({ addresses: [hub.listener.address], proxy }), hub);
  });

  it('for the whole process, in the usual variables, has no effect', async () => {
    const proxy = await startProxy({ answer: 'HTTP/1.1 403 Forbidden\r\n\r\n' });
    const names = ['http_proxy', 'https_proxy', 'grpc_proxy', 'all_proxy'].flatMap((name) => [
      name,
      name.toUpperCase(),
    ]);
    const before = names.map((name) => [name, process.env[name]] as const);
    for (const name of names) process.env[name] = proxy.url;
    const lookup = fakeNames({ 'hub.example': ['127.0.0.1'] });
    try {
      const { port } = hub.listener.address;
      await openThrough(await fixture.dialer({ addresses: [{ host: 'hub.example', port }] }), hub);
      expect(lookup).toHaveBeenCalled();
      expect(proxy.asked).toEqual([]);
    } finally {
      lookup.mockRestore();
      for (const [name, value] of before) {
        if (value === undefined) delete process.env[name];
        else process.env[name] = value;
      }
    }
  });
});

describe('TLS that ends before the peer', () => {
  it('at a proxy is identity-lost, with who signed what it shows', async () => {
    const terminate = await foreignCertificate('hub.example');
    const proxy = await startProxy({ terminate, leadTo: hub.listener.address });
    const failure = await failureThrough({ url: proxy.url }, { host: 'hub.example', port: 443 });
    expect(failure?.reason).toBe('identity-lost');
    expect(failure?.detail).toMatch(/signed by "CN=Corporate Gateway", which .*names no cluster: the proxy opens/);
  });

  it('at a proxy that copies our names is identity-lost, too', async () => {
    const terminate = await pem({ ...corporate, trustDomain: 'acme' }, { cluster: 'hub' });
    const proxy = await startProxy({ terminate, leadTo: hub.listener.address });
    const failure = await failureThrough({ url: proxy.url });
    expect(failure?.reason).toBe('identity-lost');
    expect(failure?.detail).toMatch(
      /the proxy opens TLS, unless "CN=[^"]+, O=corporate" is the authority of the peer$/,
    );
  });

  it('somewhere on a way without proxies is identity-lost if what is there names no cluster', async () => {
    const server = createTlsServer({ ...(await foreignCertificate('hub.example')), ALPNProtocols: ['h2'] });
    const address = await bind(server);
    const dialer = await fixture.dialer({ addresses: [address] });
    const { failure } = await openRecorded(dialer).said.untilEnded();
    expect(failure?.reason).toBe('identity-lost');
    expect(failure?.detail).toMatch(/something on the way opens TLS, or this is not a Causeway daemon$/);
  });
});

async function bind(server: Server): Promise<Address> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  stopping.push(() => server.close());
  return { host: '127.0.0.1', port: (server.address() as { port: number }).port };
}

describe('a server name', () => {
  it('lets a router tell peers apart that stand behind one address', async () => {
    const other = await fixture.listen({
      certs: new HeldCertificates(await certificatesOf(acme, { cluster: 'berlin' })),
    });
    const router = await SniRouter.start(
      new Map([
        ['hub.example', hub.listener.address],
        ['berlin.example', other.listener.address],
        ['hub', hub.listener.address],
      ]),
    );
    stopping.push(() => router.stop());
    const lookup = fakeNames({ 'hub.example': ['127.0.0.1'], 'berlin.example': ['127.0.0.1'] });
    stopping.push(() => lookup.mockRestore());
    const to = async (host: string, cluster: string, far: TestListener) => {
      const expect = { trustDomain: 'acme', cluster };
      return openThrough(await fixture.dialer({ addresses: [{ host, port: router.port }], expect }), far);
    };
    expect((await to('hub.example', 'hub', hub)).near.channel.peer.cluster).toBe('hub');
    expect((await to('berlin.example', 'berlin', other)).near.channel.peer.cluster).toBe('berlin');
    // Addresses cannot be server names: it is the cluster then.
    await to('127.0.0.1', 'hub', hub);
    expect(router.asked).toEqual(['hub.example', 'berlin.example', 'hub']);
    // Through a proxy it is the host that was dialled, too, and not the proxy.
    const proxy = await startProxy({ leadTo: { host: '127.0.0.1', port: router.port } });
    const addresses = [{ host: 'hub.example', port: 443 }];
    await openThrough(await fixture.dialer({ addresses, proxy: { url: proxy.url } }), hub);
    expect(router.asked.at(-1)).toBe('hub.example');
  });
});

const hasIpv6 = Object.values(networkInterfaces()).some((all) => all?.some(({ address }) => address === '::1'));

describe('other roads', () => {
  it.skipIf(!hasIpv6)('over IPv6', async () => {
    const six = await fixture.listen({ address: { host: '::1', port: 0 } });
    const dialer = await fixture.dialer({ addresses: [six.listener.address] });
    const { near } = await openThrough(dialer, six);
    expect(near.channel.peer.cluster).toBe('hub');
    expect(dialer.address).toMatchObject({ host: '::1' });
  });

  it('over a unix socket, with the certificate as everywhere', async () => {
    await using dir = await tempDir();
    const path = join(dir.path, 'hub.sock');
    const local = await fixture.listen({ address: { path } });
    expect(local.listener.address).toEqual({ path });
    const dialer = await fixture.dialer({ addresses: [{ path }], proxy: { url: 'http://127.0.0.1:1' } });
    const { near, far } = await openThrough(dialer, local);
    near.channel.send(Buffer.alloc(500_000, 7));
    await far.said.untilFrames(2);
    expect([near.channel.peer.cluster, far.channel.peer.cluster]).toEqual(['hub', 'plant']);
    const stranger = new HeldCertificates(await certificatesOf(corporate, { cluster: 'plant' }, acme));
    const wrong = await fixture.dialer({ addresses: [{ path }], certs: stranger });
    expect((await openRecorded(wrong).said.untilEnded()).failure?.reason).toBe('certificate-untrusted');
    expect(local.refused).toMatchObject([{ reason: 'certificate-untrusted' }]);
  });

  it('over a unix socket whose file a killed daemon left behind, but not over one in use', async () => {
    await using dir = await tempDir();
    const path = join(dir.path, 'hub.sock');
    const dead = createServer();
    await new Promise<void>((resolve) => dead.listen(path, resolve));
    // As after kill -9: the file stays. Node would remove it.
    renameSync(path, `${path}.kept`);
    await new Promise((resolve) => dead.close(resolve));
    renameSync(`${path}.kept`, path);
    const local = await fixture.listen({ address: { path } });
    await openThrough(await fixture.dialer({ addresses: [{ path }] }), local);
    await expect(fixture.listen({ address: { path } })).rejects.toThrow(/EADDRINUSE/);
    const { certs } = hub;
    const nowhere = { path: join(dir.path, 'no', 'such', 'folder') };
    const options = { certs, identify: () => plantIdentity, trustDomain: 'acme', knownPeer: () => true };
    const plantIdentity = certs.current!.identity;
    const refuse = () => ({ reason: 'internal', detail: '' }) as const;
    await expect(startListener({ ...options, address: nowhere, maxFrameBytes: 1, accept: refuse })).rejects.toThrow();
  });

  // Other systems have one address on the loopback.
  it.skipIf(process.platform !== 'linux')(
    'over a name with several addresses, of which some are dead, black or somebody else',
    async () => {
      const { port } = hub.listener.address;
      // One that swallows, and one with a certificate of another cluster, on the same port of other addresses.
      const black = createServer();
      await new Promise<void>((resolve) => black.listen(port, '127.0.0.3', resolve));
      stopping.push(() => black.close());
      const berlin = new HeldCertificates(await certificatesOf(acme, { cluster: 'berlin' }));
      await fixture.listen({ certs: berlin, address: { host: '127.0.0.4', port } });
      const lookup = fakeNames({ 'hub.example': ['127.0.0.2', '127.0.0.3', '127.0.0.4', '127.0.0.1'] });
      stopping.push(() => lookup.mockRestore());
      const dialer = await fixture.dialer({ addresses: [{ host: 'hub.example', port }] });
      const { near } = await openThrough(dialer, hub);
      expect(near.channel.peer.cluster).toBe('hub');
    },
  );
});
