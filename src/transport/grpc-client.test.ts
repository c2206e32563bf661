import { createServer, type Server } from 'node:net';
import { createServer as createTlsServer } from 'node:tls';
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { Recorder, until } from '../../test/support/recorder.ts';
import { certificatesOf, HeldCertificates } from '../../test/support/tls.ts';
import { openRecorded, openThrough, TransportFixture } from '../../test/support/transport.ts';
import { type Authority, makeAuthority } from '../security/make-certs.ts';
import type { Address } from '../topology/plan.ts';

let acme: Authority;
beforeAll(async () => {
  acme = await makeAuthority('acme');
});

let fixture: TransportFixture;
const servers: Server[] = [];
beforeEach(async () => {
  fixture = await TransportFixture.make(acme);
});
afterEach(async () => {
  await fixture.close();
  for (const server of servers.splice(0)) await new Promise((resolve) => server.close(resolve));
});

async function bind(server: Server): Promise<Address> {
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('not bound');
  return { host: '127.0.0.1', port: address.port };
}

/** An address at which nobody listens. */
async function nobody(): Promise<Address> {
  const server = createServer();
  const address = await bind(server);
  await new Promise((resolve) => server.close(resolve));
  servers.pop();
  return address;
}

async function failureAt(...addresses: Address[]): Promise<{ reason: string; detail: string } | undefined> {
  const dialer = await fixture.dialer({ addresses, connectTimeoutMs: 500 });
  const { channel, said } = openRecorded(dialer);
  channel.send(Buffer.from('x'));
  const { failure } = await said.untilEnded();
  expect(channel.queuedBytes).toBe(0);
  return failure;
}

describe('a dialer that is not answered', () => {
  it('says unreachable where nobody listens, with the address and the error', async () => {
    const { host, port } = await nobody();
    expect(await failureAt({ host, port })).toEqual({
      reason: 'unreachable',
      detail: `${host}:${port}: connect ECONNREFUSED ${host}:${port}`,
    });
  });

  it('says unreachable for a name that does not resolve', async () => {
    const failure = await failureAt({ host: 'nowhere.invalid', port: 1 });
    expect(failure?.reason).toBe('unreachable');
    expect(failure?.detail).toMatch(/^nowhere\.invalid:1: /);
  });

  it('says unreachable where something else listens', async () => {
    const address = await bind(createServer((socket) => socket.resume().end('SSH-2.0-nothing\r\n')));
    expect((await failureAt(address))?.reason).toBe('unreachable');
  });

  it('says unreachable where connections are swallowed', async () => {
    const proxy = await fixture.proxy({ host: '127.0.0.1', port: 1 });
    proxy.swallowNew();
    const failure = await failureAt(proxy.address);
    expect(failure).toMatchObject({ reason: 'unreachable', detail: expect.stringMatching(/no answer within 0\.5 s$/) });
  });

  it('understands the alert of a TLS server that demands what it did not get', async () => {
    // Not one of ours, which answer after the handshake.
    const { key, cert, ca } = await certificatesOf(acme, { cluster: 'hub' });
    const address = await bind(createTlsServer({ key, cert, ca, requestCert: true, ALPNProtocols: ['h2'] }));
    const dialler = await certificatesOf(acme, { cluster: 'plant' });
    const nothing = { ca: dialler.ca, identity: dialler.identity };
    const certs = { current: nothing as typeof dialler, failure: undefined, subscribe: () => () => undefined };
    const dialer = await fixture.dialer({ addresses: [address], certs });
    const { said } = openRecorded(dialer);
    expect((await said.untilEnded()).failure?.reason).toBe('certificate-missing');
  });

  it('says peer-silent where a stream that could be opened is not accepted in time', async () => {
    const hub = await fixture.listen();
    const proxy = await fixture.proxy(hub.listener.address);
    const dialer = await fixture.dialer({ addresses: [proxy.address], connectTimeoutMs: 500 });
    const first = await openThrough(dialer, hub);
    proxy.freeze();
    const { said } = openRecorded(dialer);
    expect((await said.untilEnded()).failure?.reason).toBe('peer-silent');
    expect(first.near.said.ends).toEqual([]);
    // The next stream does not try the silent connection again.
    await openThrough(dialer, hub);
    expect(proxy.connections).toBe(2);
  });
});

describe('a dialer with several addresses', () => {
  it('takes the next one, and stays with it', async () => {
    const hub = await fixture.listen();
    const proxy = await fixture.proxy(hub.listener.address);
    const dialer = await fixture.dialer({ addresses: [await nobody(), proxy.address] });
    const streams = await Promise.all([1, 2, 3].map(() => openThrough(dialer, hub)));
    expect(proxy.connections).toBe(1);
    expect(dialer.address).toEqual(proxy.address);
    proxy.cut();
    await Promise.all(streams.map(({ near }) => near.said.untilEnded()));
    await openThrough(dialer, hub);
    expect(proxy.connections).toBe(2);
  });

  it('leaves one that was lost for another that answers', async () => {
    const hub = await fixture.listen();
    const [a, b] = await Promise.all([fixture.proxy(hub.listener.address), fixture.proxy(hub.listener.address)]);
    const dialer = await fixture.dialer({ addresses: [a.address, b.address] });
    const { near } = await openThrough(dialer, hub);
    expect([a.connections, b.connections]).toEqual([1, 0]);
    await a.stop();
    expect((await near.said.untilEnded()).failure?.reason).toBe('connection-lost');
    await openThrough(dialer, hub);
    expect(b.connections).toBe(1);
  });

  it('takes the next one where packets vanish, or somebody else is', async () => {
    const hub = await fixture.listen();
    const black = await fixture.proxy({ host: '127.0.0.1', port: 1 });
    black.swallowNew();
    const berlin = await fixture.listen({
      certs: new HeldCertificates(await certificatesOf(acme, { cluster: 'berlin' })),
    });
    const addresses = [black.address, berlin.listener.address, hub.listener.address];
    const dialer = await fixture.dialer({ addresses, connectTimeoutMs: 500 });
    await openThrough(dialer, hub);
    expect(dialer.address).toEqual(hub.listener.address);
    // The next connection does not try them again: those that failed come last for a while.
    const before = black.connections;
    dialer.abandon({ reason: 'peer-silent', detail: 'a test' });
    await openThrough(dialer, hub);
    expect(black.connections).toBe(before);
  });

  it('goes back to the preferred one when a later connection is made', async () => {
    const hub = await fixture.listen();
    const [a, b] = await Promise.all([fixture.proxy(hub.listener.address), fixture.proxy(hub.listener.address)]);
    a.cutOff();
    const dialer = await fixture.dialer({ addresses: [a.address, b.address], avoidMs: 0 });
    await openThrough(dialer, hub);
    expect(dialer.address).toEqual(b.address);
    a.restore();
    // Nothing draws it back while the connection stands.
    await openThrough(dialer, hub);
    expect(dialer.address).toEqual(b.address);
    b.cut();
    await until(() => dialer.address === undefined, 'the connection to be lost');
    await openThrough(dialer, hub);
    expect(dialer.address).toEqual(a.address);
  });

  it('leaves one that has fallen silent', async () => {
    const hub = await fixture.listen();
    const [a, b] = await Promise.all([fixture.proxy(hub.listener.address), fixture.proxy(hub.listener.address)]);
    const dialer = await fixture.dialer({ addresses: [a.address, b.address] });
    await openThrough(dialer, hub);
    a.freeze();
    dialer.abandon({ reason: 'peer-silent', detail: 'no beat' });
    await openThrough(dialer, hub);
    expect([dialer.address, a.connections]).toEqual([b.address, 1]);
  });

  it('leaves one whose daemon is draining', async () => {
    const [a, b] = await Promise.all([fixture.listen(), fixture.listen()]);
    const dialer = await fixture.dialer({ addresses: [a.listener.address, b.listener.address] });
    await openThrough(dialer, a);
    a.listener.refuseNew({ reason: 'draining', detail: 'handing over' });
    await openThrough(dialer, b);
  });

  it('reports the failure that says most, with the words of all', async () => {
    const refusing = await fixture.listen({ knownPeer: () => false });
    const [first, second] = [await nobody(), refusing.listener.address];
    const failure = await failureAt(first, second);
    expect(failure?.reason).toBe('peer-unknown');
    expect(failure?.detail).toMatch(/ECONNREFUSED .*; the topology file here has no peer plant$/);
    expect((await failureAt(await nobody(), await nobody()))?.reason).toBe('unreachable');
  });
});

describe('a connection', () => {
  it('is shared by the streams of a peer', async () => {
    const hub = await fixture.listen();
    const proxy = await fixture.proxy(hub.listener.address);
    const dialer = await fixture.dialer({ addresses: [proxy.address] });
    await Promise.all(Array.from({ length: 10 }, () => openThrough(dialer, hub)));
    expect(proxy.connections).toBe(1);
  });

  it('that is made anew takes the streams that follow, and those of the old one go on there until they end', async () => {
    const hub = await fixture.listen();
    const proxy = await fixture.proxy(hub.listener.address);
    const dialer = await fixture.dialer({ addresses: [proxy.address] });
    const old = await openThrough(dialer, hub);
    const said = new Recorder();
    dialer.openAnew!('control', said).send(Buffer.from('anew'));
    await until(() => hub.accepted.length === 2, 'it to be accepted');
    expect(hub.accepted[1]?.channel.method).toBe('control');
    const after = await openThrough(dialer, hub);
    expect(proxy.connections).toBe(2);
    old.near.channel.send(Buffer.from('goes on'));
    await old.far.said.untilFrames(2);
    old.near.channel.end();
    await old.near.said.untilEnded();
    after.near.channel.send(Buffer.from('goes on'));
    await after.far.said.untilFrames(2);
    expect(said.ends).toEqual([]);
  });

  it('that cannot be made anew leaves the old one as it is, also for new streams', async () => {
    const hub = await fixture.listen();
    const proxy = await fixture.proxy(hub.listener.address);
    const dialer = await fixture.dialer({ addresses: [proxy.address], connectTimeoutMs: 500 });
    const { near, far } = await openThrough(dialer, hub);
    proxy.swallowNew();
    const said = new Recorder();
    dialer.openAnew!('control', said);
    expect((await said.untilEnded()).failure?.reason).toBe('unreachable');
    near.channel.send(Buffer.from('goes on'));
    await far.said.untilFrames(2);
    await openThrough(dialer, hub);
    expect(proxy.connections).toBe(2);
  });

  it('that is cut ends its streams as connection-lost at both ends', async () => {
    const hub = await fixture.listen();
    const proxy = await fixture.proxy(hub.listener.address);
    const dialer = await fixture.dialer({ addresses: [proxy.address] });
    const { near, far } = await openThrough(dialer, hub);
    proxy.cut();
    expect((await near.said.untilEnded()).failure?.reason).toBe('connection-lost');
    expect((await far.said.untilEnded()).failure?.reason).toBe('connection-lost');
    await openThrough(dialer, hub);
  });

  it('whose other end is frozen is noticed by keepalive, at both ends', async () => {
    const keepalive = { keepaliveMs: 100, keepaliveTimeoutMs: 200 };
    const hub = await fixture.listen(keepalive);
    const proxy = await fixture.proxy(hub.listener.address);
    const dialer = await fixture.dialer({ ...keepalive, addresses: [proxy.address] });
    const { near, far } = await openThrough(dialer, hub);
    const before = proxy.piecesToTarget;
    await until(() => proxy.piecesToTarget >= before + 12, 'several pings, and their answers, of both ends');
    expect(near.said.ends).toEqual([]);
    proxy.freeze();
    expect((await near.said.untilEnded()).failure?.reason).toBe('connection-lost');
    expect((await far.said.untilEnded()).failure?.reason).toBe('connection-lost');
  });
});

describe('a dialer that is closed', () => {
  it('ends its streams, those that are still being opened too, and opens no more', async () => {
    const hub = await fixture.listen();
    const proxy = await fixture.proxy({ host: '127.0.0.1', port: 1 });
    proxy.swallowNew();
    const dialer = await fixture.dialer({ addresses: [hub.listener.address] });
    const waiting = await fixture.dialer({ addresses: [proxy.address] });
    const { near, far } = await openThrough(dialer, hub);
    const never = openRecorded(waiting);
    await until(() => proxy.connections === 1, 'the connection that is not answered');
    dialer.close();
    waiting.close();
    for (const { said } of [near, never, openRecorded(dialer)]) {
      expect((await said.untilEnded()).failure?.reason).toBe('draining');
    }
    expect((await far.said.untilEnded()).failure?.reason).toBe('connection-lost');
  });

  it('has a stream that ends before it was open end cleanly, with what it had sent', async () => {
    const hub = await fixture.listen();
    const dialer = await fixture.dialer({ addresses: [hub.listener.address] });
    const { channel, said } = openRecorded(dialer);
    channel.send(Buffer.from('only this'));
    channel.end();
    expect(await said.untilEnded()).toEqual({});
    expect(hub.accepted[0]?.said.frames.map(String)).toEqual(['only this']);
  });
});

describe('a dialer that is stopped', () => {
  it('lets its last words arrive', async () => {
    const hub = await fixture.listen();
    const dialer = await fixture.dialer({ addresses: [hub.listener.address] });
    const { near, far } = await openThrough(dialer, hub);
    near.channel.send(Buffer.from('goodbye'));
    near.channel.end();
    await dialer.stop(5000);
    expect(near.said.ends).toEqual([{}]);
    expect(far.said.frames.at(-1)?.toString()).toBe('goodbye');
    await until(() => far.said.ends.length > 0, 'the end');
    expect(far.said.ends).toEqual([{}]);
  });

  it('waits for no channel that nobody has answered, and not for ever', async () => {
    const hub = await fixture.listen();
    const proxy = await fixture.proxy(hub.listener.address);
    proxy.swallowNew();
    const unanswered = await fixture.dialer({ addresses: [proxy.address] });
    const waiting = openRecorded(unanswered);
    await unanswered.stop(60_000);
    await until(() => waiting.said.ends.length > 0, 'the end');
    expect(waiting.said.ends[0]?.failure?.reason).toBe('draining');
    const dialer = await fixture.dialer({ addresses: [hub.listener.address] });
    const { near } = await openThrough(dialer, hub);
    await dialer.stop(1);
    await until(() => near.said.ends.length > 0, 'the end');
    expect(near.said.ends[0]?.failure?.reason).toBe('draining');
  });
});

describe('a connection that is abandoned', () => {
  it('takes its channels with it, and the next one is dialled anew', async () => {
    const hub = await fixture.listen();
    const proxy = await fixture.proxy(hub.listener.address);
    const dialer = await fixture.dialer({ addresses: [proxy.address] });
    const { near } = await openThrough(dialer, hub);
    // Nothing that is sent from here on is answered over this connection.
    proxy.freeze();
    const waiting = openRecorded(dialer);
    dialer.abandon({ reason: 'peer-silent', detail: 'no beat' });
    for (const { said } of [near, waiting]) {
      expect(await said.untilEnded()).toEqual({ failure: { reason: 'peer-silent', detail: 'no beat' } });
    }
    const { near: anew } = await openThrough(dialer, hub);
    expect(anew.said.ends).toEqual([]);
    expect(proxy.connections).toBe(2);
  });
});
