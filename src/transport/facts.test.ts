import { copyFile, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Client, credentials, Metadata, Server, ServerCredentials, type ServerDuplexStream } from '@grpc/grpc-js';
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { until } from '../../test/support/recorder.ts';
import { tempDir } from '../../test/support/temp.ts';
import { certificatesOf, HeldCertificates } from '../../test/support/tls.ts';
import { openRecorded, openThrough, TransportFixture } from '../../test/support/transport.ts';
import { openCertificates } from '../security/certs.ts';
import { type Authority, makeAuthority, writeCerts } from '../security/make-certs.ts';
import { clientOptions, serverOptions } from './grpc-options.ts';
import { methodPaths } from './methods.ts';

/**
 * The eight facts about grpc-js 1.14 that decide what the transport does for itself, by their numbers. Where the library is said to
 * lack something, the stock library is looked at, too: the day it has it, a test here says so.
 */

let acme: Authority;
beforeAll(async () => {
  acme = await makeAuthority('acme');
});

let fixture: TransportFixture;
const stopping: (() => unknown)[] = [];
beforeEach(async () => {
  fixture = await TransportFixture.make(acme);
});
afterEach(async () => {
  await fixture.close();
  for (const stop of stopping.splice(0)) stop();
});

const identity = (frame: Buffer): Buffer => frame;

/** A server and a call as the library makes them. The server reads nothing unless `onCall` does. */
async function stock(onCall: (call: ServerDuplexStream<Buffer, Buffer>) => void, options: object = {}) {
  const server = new Server();
  server.register(methodPaths.exchange, onCall, identity, identity, 'bidi');
  const port = await new Promise<number>((resolve, reject) =>
    server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, bound) =>
      error === null ? resolve(bound) : reject(error),
    ),
  );
  const client = new Client(`127.0.0.1:${port}`, credentials.createInsecure(), options);
  const call = client.makeBidiStreamRequest(methodPaths.exchange, identity, identity, new Metadata());
  call.on('error', () => {
    // It is cut at the end of the test.
  });
  stopping.push(() => {
    call.cancel();
    client.close();
    server.forceShutdown();
  });
  return { server, call };
}

describe('fact 1: an upload is not held to 64 KiB per round trip', () => {
  // As many bytes as must be under way at once for 20 MiB/s at a round trip of 50 ms; http2-seam.test.ts has the rest.
  const enough = 20 * 1024 * 1024 * 0.05;

  it('20 MiB/s at 50 ms fit on the line without an answer', async () => {
    const hub = await fixture.listen();
    const line = await fixture.proxy({ ...hub.listener.address, delayMs: 25 });
    const dialer = await fixture.dialer({ addresses: [line.address] });
    const { near } = await openThrough(dialer, hub);
    line.freeze('from-target');
    line.freeze('to-target');
    for (let i = 0; i < 40; i++) near.channel.send(Buffer.alloc(128 * 1024));
    await until(() => line.bytesToTarget > 4 * enough, 'four times as much as that to be under way');
  });

  it('the stock server is still held to it', async () => {
    const { call } = await stock((incoming) => void incoming.pause(), { 'grpc.per_rpc_retry_buffer_size': 0 });
    let taken = 0;
    for (let i = 0; i < 16; i++) call.write(Buffer.alloc(32 * 1024), () => taken++);
    await until(() => taken >= 1, 'the first to be taken');
    await turns(50);
    // What fits in the window, and what is in the buffers in front of it.
    expect(taken).toBeLessThan(10);
  });
});

describe('fact 2: a write is called taken when HTTP/2 has taken it', () => {
  const frameBytes = 4 * 1024;
  const frames = 512;

  it('by a channel, whatever the other side does', async () => {
    const windowBytes = 65_536;
    const hub = await fixture.listen({ windowBytes });
    const dialer = await fixture.dialer({ addresses: [hub.listener.address], windowBytes });
    const { near, far } = await openThrough(dialer, hub);
    far.channel.pause();
    let taken = 0;
    for (let i = 0; i < frames; i++) near.channel.send(Buffer.alloc(frameBytes), () => taken++);
    await until(() => taken > 0, 'the first to be taken');
    await roundTrips(dialer, hub, 20);
    // A window, and the 16 messages that the other side takes though it is paused.
    expect(taken * frameBytes).toBeLessThan(256 * 1024);
    expect(near.channel.queuedBytes).toBe((frames - taken) * frameBytes);
    far.channel.resume();
    await until(() => taken === frames, 'the rest to be taken');
  });

  it('and not so by the stock client, which keeps a MiB of each call for retries that are off', async () => {
    const { call } = await stock((incoming) => void incoming.pause());
    let taken = 0;
    for (let i = 0; i < frames; i++) call.write(Buffer.alloc(frameBytes), () => taken++);
    await until(() => taken * frameBytes >= 0.9 * 1024 * 1024, 'a MiB to be called taken that was not');
  });
});

describe('fact 3: an option that is not known is ignored', () => {
  it('without a word, so ours come from a closed type (grpc-options.test.ts)', async () => {
    const { call } = await stock((incoming) => void incoming.write(Buffer.from('x')), {
      'grpc.keepalive_tim_ms': 'no',
    });
    await new Promise((resolve) => call.once('data', resolve));
  });
});

describe('fact 4: keepalive', () => {
  it('is on at both ends, and notices a frozen peer within half a minute', () => {
    const client = clientOptions({ maxFrameBytes: 1 }, 'hub');
    const server = serverOptions({ maxFrameBytes: 1 });
    expect(client['grpc.keepalive_permit_without_calls']).toBe(1);
    expect(client['grpc.keepalive_time_ms'] + client['grpc.keepalive_timeout_ms']).toBeLessThanOrEqual(30_000);
    expect(server['grpc.keepalive_time_ms'] + server['grpc.keepalive_timeout_ms']).toBeLessThanOrEqual(40_000);
  });

  it('of a connection whose other end is frozen ends its channels, at the end that dials and at the one that listens', async () => {
    // The sum of both is what it may take. Only that it comes is asserted: how long a busy machine takes is its own affair.
    const tuning = { keepaliveMs: 200, keepaliveTimeoutMs: 300 };
    const hub = await fixture.listen(tuning);
    const line = await fixture.proxy(hub.listener.address);
    const dialer = await fixture.dialer({ ...tuning, addresses: [line.address] });
    const { near, far } = await openThrough(dialer, hub);
    line.freeze();
    expect((await near.said.untilEnded()).failure?.reason).toBe('connection-lost');
    expect((await far.said.untilEnded()).failure?.reason).toBe('connection-lost');
  });

  it('pings wait behind data, of which no more than a window is ever under way', async () => {
    const tuning = { keepaliveMs: 200, keepaliveTimeoutMs: 300, windowBytes: 256 * 1024 };
    const hub = await fixture.listen(tuning);
    const line = await fixture.proxy(hub.listener.address);
    const dialer = await fixture.dialer({ ...tuning, addresses: [line.address] });
    const { near } = await openThrough(dialer, hub);
    line.freeze();
    for (let i = 0; i < 64; i++) near.channel.send(Buffer.alloc(64 * 1024));
    await near.said.untilEnded();
    expect(line.peakBytesToTarget).toBeGreaterThan(200 * 1024);
    expect(line.peakBytesToTarget).toBeLessThan(2 * tuning.windowBytes);
  });
});

describe('fact 5: a message costs, however small it is', () => {
  it('many times as much as its share of a batch', async () => {
    const hub = await fixture.listen();
    const dialer = await fixture.dialer({ addresses: [hub.listener.address] });
    const { near, far } = await openThrough(dialer, hub);
    const recordBytes = 128;
    const records = 8192;
    const cost = async (perFrame: number): Promise<number> => {
      const before = process.cpuUsage();
      const seen = far.said.frames.length;
      for (let i = 0; i < records / perFrame; i++) near.channel.send(Buffer.alloc(perFrame * recordBytes));
      await far.said.untilFrames(seen + records / perFrame);
      const { user, system } = process.cpuUsage(before);
      return user + system;
    };
    await cost(1024);
    // Time of the processor, not of the clock: what else runs on the machine does not count.
    const [batched, single] = [await cost(1024), await cost(1)];
    expect(single).toBeGreaterThan(3 * batched);
  });
});

describe('fact 6: a server that is to stop', () => {
  it('waits for open streams without end, if it is the stock one', async () => {
    let incoming: ServerDuplexStream<Buffer, Buffer> | undefined;
    const { server, call } = await stock((started) => {
      incoming = started;
      started.on('data', (frame: Buffer) => started.write(frame));
      started.on('error', () => undefined);
    });
    call.write(Buffer.from('x'));
    await new Promise((resolve) => call.once('data', resolve));
    let stopped = false;
    server.tryShutdown(() => {
      stopped = true;
    });
    for (let i = 0; i < 20; i++) {
      call.write(Buffer.from('x'));
      await new Promise((resolve) => call.once('data', resolve));
    }
    expect(stopped).toBe(false);
    incoming?.end();
    await until(() => stopped, 'it to stop when the last stream has ended');
  });

  it('loses nothing of what was under way, and draws no storm of attempts', async () => {
    const hub = await fixture.listen();
    const line = await fixture.proxy(hub.listener.address);
    const dialer = await fixture.dialer({ addresses: [line.address] });
    const { near, far } = await openThrough(dialer, hub);
    const frames = 200;
    for (let i = 0; i < frames; i++) {
      near.channel.send(Buffer.alloc(20_000, i));
      far.channel.send(Buffer.alloc(20_000, i));
    }
    const before = line.connections;
    const stopped = hub.listener.stop(60_000);
    // Told so by a frame, as a daemon does; both sides finish.
    await far.said.untilFrames(1 + frames);
    far.channel.end();
    expect(await near.said.untilEnded()).toEqual({});
    await stopped;
    expect(near.said.frames).toHaveLength(frames);
    // Whoever opens a stream now is told that there is nobody: an attempt for each, gRPC may make another, and that is all.
    for (let i = 0; i < 5; i++) {
      expect((await openRecorded(dialer).said.untilEnded()).failure?.reason).toBe('unreachable');
    }
    await turns(50);
    expect(line.connections).toBeLessThanOrEqual(before + 10);
  });
});

describe('fact 7: certificates change while streams stand', () => {
  it('and half a renewal on disk changes nothing', async () => {
    await using dir = await tempDir();
    const [old, next] = [join(dir.path, 'old'), join(dir.path, 'next')];
    await Promise.all([mkdir(old), mkdir(next)]);
    // One authority for both.
    const { certificate, key } = acme;
    for (const into of [old, next]) {
      await Promise.all([writeFile(join(into, 'ca.crt'), certificate), writeFile(join(into, 'ca.key'), key)]);
      await writeCerts(into, { trustDomain: 'acme', clusters: [{ cluster: 'hub' }] });
    }
    const files = { cert: join(old, 'hub.crt'), key: join(old, 'hub.key'), ca: join(old, 'ca.crt') };
    const certs = await openCertificates(files, { trustDomain: 'acme', cluster: 'hub' }, { pollMs: 3_600_000 });
    stopping.push(() => certs.close());
    const first = certs.current!.identity.fingerprint;
    const hub = await fixture.listen({ certs: certs as unknown as HeldCertificates });
    const through = async () => openThrough(await fixture.dialer({ addresses: [hub.listener.address] }), hub);
    const open = await through();

    await copyFile(join(next, 'hub.crt'), files.cert);
    await certs.reload();
    expect(certs.failure?.reason).toBe('certificate-unusable');
    expect((await through()).near.channel.peer.fingerprint).toBe(first);

    await copyFile(join(next, 'hub.key'), files.key);
    await certs.reload();
    expect(certs.failure).toBeUndefined();
    expect((await through()).near.channel.peer.fingerprint).not.toBe(first);
    open.near.channel.send(Buffer.from('still here'));
    await open.far.said.untilFrames(2);
  });
});

describe('fact 8: whoever shows no certificate', () => {
  it('is told so in our words, where the stock library has a TLS alert; and both ends know the other (grpc-identity.test.ts)', async () => {
    const hub = await fixture.listen();
    const { ca, identity: own } = await certificatesOf(acme, { cluster: 'plant' });
    const nothing = new HeldCertificates({ ca, identity: own } as never);
    const dialer = await fixture.dialer({ addresses: [hub.listener.address], certs: nothing });
    expect((await openRecorded(dialer).said.untilEnded()).failure?.reason).toBe('certificate-missing');
    const proven = await openThrough(await fixture.dialer({ addresses: [hub.listener.address] }), hub);
    expect([proven.near.channel.peer.cluster, proven.far.channel.peer.cluster]).toEqual(['hub', 'plant']);
  });
});

/** So many turns of the event loop with its input and output. */
async function turns(count: number): Promise<void> {
  for (let i = 0; i < count; i++) await new Promise((resolve) => setTimeout(resolve, 1));
}

/** Streams that come and go over the same connection show that time has passed. */
async function roundTrips(
  dialer: Awaited<ReturnType<TransportFixture['dialer']>>,
  hub: Awaited<ReturnType<TransportFixture['listen']>>,
  count: number,
): Promise<void> {
  for (let i = 0; i < count; i++) (await openThrough(dialer, hub)).near.channel.end();
}
