import { once } from 'node:events';
import { type ClientHttp2Session, type ClientHttp2Stream, connect } from 'node:http2';
import { connect as connectTls, type TLSSocket } from 'node:tls';
import { gzipSync } from 'node:zlib';
import { Metadata, Server, ServerCredentials, type ServerDuplexStream } from '@grpc/grpc-js';
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { until } from '../../test/support/recorder.ts';
import { certificatesOf } from '../../test/support/tls.ts';
import { openRecorded, openThrough, type TestListener, TransportFixture } from '../../test/support/transport.ts';
import type { Certificates } from '../security/identity.ts';
import { type Authority, makeAuthority } from '../security/make-certs.ts';
import { methodPaths } from './methods.ts';

/** Peers with a good certificate that speak HTTP/2 and gRPC as no daemon would. */

let acme: Authority;
let plant: Certificates;
beforeAll(async () => {
  acme = await makeAuthority('acme');
  plant = await certificatesOf(acme, { cluster: 'plant' });
});

let fixture: TransportFixture;
let hub: TestListener;
const stopping: (() => unknown)[] = [];
beforeEach(async () => {
  fixture = await TransportFixture.make(acme);
  hub = await fixture.listen({ maxFrameBytes: 100_000, maxStreamsPerPeer: 20 });
});
afterEach(async () => {
  for (const stop of stopping.splice(0)) stop();
  // Whatever was said: everybody else goes on.
  const dialer = await fixture.dialer({ addresses: [hub.listener.address] });
  await openThrough(dialer, hub);
  await fixture.close();
});

/** A connection whose certificate was accepted. */
async function secure(): Promise<TLSSocket> {
  const { cert, key, ca } = plant;
  const socket = connectTls({ ...hub.listener.address, cert, key, ca, ALPNProtocols: ['h2'], servername: 'localhost' });
  socket.on('error', () => {
    // Cut by the listener: that is seen at `closed`.
  });
  stopping.push(() => socket.destroy());
  await once(socket, 'secureConnect');
  return socket;
}

async function session(): Promise<ClientHttp2Session> {
  const socket = await secure();
  const made = connect('https://hub', { createConnection: () => socket });
  made.on('error', () => {
    // As above.
  });
  return made;
}

function call(over: ClientHttp2Session, headers: Record<string, string> = {}): ClientHttp2Stream {
  const stream = over.request({
    ':method': 'POST',
    ':path': methodPaths.exchange,
    'content-type': 'application/grpc',
    te: 'trailers',
    ...headers,
  });
  stream.on('error', () => {
    // Seen at its status, or by its end.
  });
  return stream.resume();
}

/** A gRPC message as it stands on the wire: flag, declared length, bytes. */
function message(bytes: Buffer, { compressed = false, length = bytes.length } = {}): Buffer {
  const head = Buffer.alloc(5);
  head.writeUInt8(compressed ? 1 : 0, 0);
  head.writeUInt32BE(length, 1);
  return Buffer.concat([head, bytes]);
}

async function accepted(): Promise<TestListener['accepted'][number]> {
  await until(() => hub.accepted.length > 0, 'the stream to be accepted');
  return hub.accepted[0]!;
}

describe('a peer that lies', () => {
  it('about HTTP/2 loses its connection', async () => {
    for (const garbage of [
      'GET / HTTP/1.1\r\nHost: hub\r\n\r\n',
      `PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n${'\xff'.repeat(99)}`,
    ]) {
      const socket = await secure();
      socket.resume().write(Buffer.from(garbage, 'latin1'));
      await until(() => socket.closed, 'the connection to be cut');
    }
    expect(hub.accepted).toEqual([]);
  });

  it('about the path is told that there is no such method', async () => {
    const stream = call(await session(), { ':path': '/causeway.v1.Bridge/Nothing' });
    const [headers] = (await once(stream, 'response')) as [Record<string, string>];
    expect(headers['grpc-status']).toBe('12');
  });

  it('about the length of a message ends its stream, before the bytes have come', async () => {
    const stream = call(await session());
    stream.write(message(Buffer.alloc(10), { length: 0xffff_ffff }));
    const { said } = await accepted();
    expect((await said.untilEnded()).failure?.reason).toBe('frame-too-large');
    expect(said.frames).toEqual([]);
  });

  it('with little that inflates to much ends its stream, and nothing is inflated beyond the limit', async () => {
    const bomb = gzipSync(Buffer.alloc(200 * 1024 * 1024));
    const before = process.memoryUsage().rss;
    const stream = call(await session(), { 'grpc-encoding': 'gzip' });
    // Each of them small enough to be read.
    const part = bomb.subarray(0, 90_000);
    for (let i = 0; i < 20; i++) stream.write(message(part, { compressed: true }));
    const { said } = await accepted();
    await said.untilEnded();
    expect(said.ends[0]?.failure).toBeDefined();
    expect(said.frames).toEqual([]);
    expect(process.memoryUsage().rss - before).toBeLessThan(100 * 1024 * 1024);
  });

  it('about an encoding that nobody has ends its stream', async () => {
    const stream = call(await session(), { 'grpc-encoding': 'moon' });
    stream.write(message(Buffer.from('x'), { compressed: true }));
    const { said } = await accepted();
    expect((await said.untilEnded()).failure).toBeDefined();
    expect(said.frames).toEqual([]);
  });

  it('by half a message has sent nothing, and its end is an end', async () => {
    const stream = call(await session());
    stream.end(message(Buffer.alloc(10), { length: 1000 }));
    const { said } = await accepted();
    await said.untilEnded();
    expect(said.frames).toEqual([]);
  });

  it('by streams without end is refused those beyond the limit, over all its connections', async () => {
    const statuses: (string | undefined)[] = [];
    for (let connection = 0; connection < 3; connection++) {
      const over = await session();
      for (let i = 0; i < 10; i++) {
        const stream = call(over);
        stream.on('response', (headers) => statuses.push(headers['causeway-reason'] as string | undefined));
        stream.on('trailers', (headers) => statuses.push(headers['causeway-reason'] as string | undefined));
      }
    }
    await until(() => statuses.filter((reason) => reason === 'overloaded').length === 10, 'ten to be refused');
    expect(hub.accepted).toHaveLength(20);
    // They count no more when they are over.
    for (const stop of stopping.splice(0)) stop();
    await Promise.all(hub.accepted.map(({ said }) => said.untilEnded()));
    call(await session());
    await until(() => hub.accepted.length === 21, 'one more to be accepted');
  });

  it('by streams that it opens and resets at once does not keep the listener', async () => {
    const over = await session();
    for (let i = 0; i < 500 && !over.destroyed; i++) call(over).close(8);
    await until(() => hub.accepted.every(({ said }) => said.ends.length > 0), 'all to be over');
  });
});

describe('a listener that lies', () => {
  it('with a frame that is too large, or inflates to one, ends the stream and no more', async () => {
    const { cert, key, ca } = await certificatesOf(acme, { cluster: 'hub' });
    const server = new Server({ 'grpc.default_compression_algorithm': 2 });
    const identity = (frame: Buffer): Buffer => frame;
    const answer = (incoming: ServerDuplexStream<Buffer, Buffer>): void => {
      incoming.on('error', () => undefined);
      incoming.sendMetadata(new Metadata());
      incoming.on('data', () => incoming.write(Buffer.alloc(50 * 1024 * 1024)));
    };
    server.register(methodPaths.exchange, answer, identity, identity, 'bidi');
    const port = await new Promise<number>((resolve, reject) =>
      server.bindAsync(
        '127.0.0.1:0',
        ServerCredentials.createSsl(ca, [{ cert_chain: cert, private_key: key }], true),
        (error, bound) => (error === null ? resolve(bound) : reject(error)),
      ),
    );
    stopping.push(() => server.forceShutdown());
    const dialer = await fixture.dialer({ addresses: [{ host: '127.0.0.1', port }], maxFrameBytes: 100_000 });
    const { channel, said } = openRecorded(dialer);
    channel.send(Buffer.from('x'));
    expect((await said.untilEnded()).failure?.reason).toBe('frame-too-large');
    expect(said.frames).toEqual([]);
  });
});
