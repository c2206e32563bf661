import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { ChaosProxy } from './chaos-proxy.ts';
import { Seed } from './seed.ts';
import { until } from './until.ts';

/** What an end has heard. */
class End {
  readonly socket: Socket;
  readonly chunks: Buffer[] = [];
  ended = false;
  closed = false;

  constructor(socket: Socket) {
    this.socket = socket;
    socket.on('data', (chunk) => this.chunks.push(chunk));
    socket.on('end', () => {
      this.ended = true;
    });
    socket.on('error', () => {
      // Seen as the close that follows.
    });
    socket.on('close', () => {
      this.closed = true;
    });
  }

  get bytes(): Buffer {
    return Buffer.concat(this.chunks);
  }
}

let server: Server;
let accepted: End[];
let proxy: ChaosProxy;
const dialled: Socket[] = [];

beforeEach(async () => {
  accepted = [];
  server = createServer((socket) => accepted.push(new End(socket)));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
});

afterEach(async () => {
  await proxy.stop();
  for (const socket of [...dialled.splice(0), ...accepted.map((end) => end.socket)]) socket.destroy();
  server.close();
});

async function over(options: Parameters<typeof ChaosProxy.start>[1] = {}): Promise<void> {
  proxy = await ChaosProxy.start({ host: '127.0.0.1', port: (server.address() as AddressInfo).port }, options);
}

async function dial(): Promise<{ near: End; far: End }> {
  const before = accepted.length;
  const socket = connect(proxy.address);
  dialled.push(socket);
  const near = new End(socket);
  await until(() => accepted.length > before, { what: 'the connection' });
  return { near, far: accepted[before]! };
}

const has = (end: End, bytes: number) =>
  until(() => end.bytes.length >= bytes, { what: () => `${bytes} bytes, and not ${end.bytes.length}` });
const closed = (end: End) => until(() => end.closed, { what: 'the close' });
const counted = (length: number) => Buffer.from(Uint32Array.from({ length: length / 4 }, (_, i) => i).buffer);

test('what is late and uneven arrives in order, and the end behind it', async () => {
  const seed = new Seed(7);
  await over({ delayMs: 5, jitterMs: 30, random: () => seed.next() });
  const { near, far } = await dial();
  const sent = counted(40_000);
  for (let at = 0; at < sent.length; at += 1000) {
    near.socket.write(sent.subarray(at, at + 1000));
    if (at % 5000 === 0) await new Promise((resolve) => setImmediate(resolve));
  }
  near.socket.end();
  await until(() => far.ended, { what: 'the end' });
  expect(far.bytes.equals(sent)).toBe(true);
  expect(proxy.passed('to-target')).toBe(40_000);
  expect(proxy.passed()).toBe(40_000);
});

test('a slow line holds its sender back, is as fast as it is told, and fast again', async () => {
  await over({ bytesPerSecond: 40_000 });
  const { near, far } = await dial();
  const sent = counted(32 * 1024 * 1024);
  let written = 0;
  const startedMs = performance.now();
  const pump = () => {
    while (written < sent.length) {
      const more = near.socket.write(sent.subarray(written, written + 65_536));
      written += 65_536;
      if (!more) break;
    }
    if (written >= sent.length) near.socket.off('drain', pump);
  };
  near.socket.on('drain', pump);
  pump();
  await has(far, 20_000);
  // Not faster than it may be; how much slower is up to the machine.
  const atMostBytes = ((performance.now() - startedMs) * 40_000) / 1000;
  expect(far.bytes.length).toBeLessThanOrEqual(atMostBytes);
  // The kernel takes in some megabytes, the proxy itself next to nothing.
  expect(written).toBeLessThan(sent.length / 2);
  expect(proxy.bytesToTarget).toBeLessThan(200_000);
  proxy.shape({ bytesPerSecond: Number.POSITIVE_INFINITY });
  await until(() => proxy.passed('to-target') === sent.length, { what: 'the rest' });
  await has(far, sent.length);
  expect(far.bytes.equals(sent)).toBe(true);
});

test('one direction is frozen, and the other is not', async () => {
  await over();
  const { near, far } = await dial();
  proxy.freeze('to-target');
  near.socket.write('lost?');
  far.socket.write('hello');
  await has(near, 5);
  await until(() => proxy.bytesToTarget === 5, { what: 'the proxy to hold it' });
  expect(far.bytes.length).toBe(0);
  proxy.thaw();
  await has(far, 5);
  expect(far.bytes.toString()).toBe('lost?');
});

test('after so many bytes everything is cut, in the middle of a write, and once only', async () => {
  await over();
  const first = await dial();
  const bystander = await dial();
  proxy.cutAfter(1234, 'to-target');
  // Does not count.
  first.far.socket.write(Buffer.alloc(5000));
  await has(first.near, 5000);
  first.near.socket.write(counted(1000));
  await has(first.far, 1000);
  first.near.socket.write(counted(1000));
  for (const end of [first.near, first.far, bystander.near, bystander.far]) await closed(end);
  expect(proxy.passed('to-target')).toBe(1234);
  expect(first.far.bytes.length).toBeLessThanOrEqual(1234);
  const second = await dial();
  second.near.socket.write(counted(4000));
  await has(second.far, 4000);
  expect(proxy.connections).toBe(3);
});

test.each(['dialler', 'target'] as const)('an end is gone, and the other is not told (%s)', async (gone) => {
  await over();
  const { near, far } = await dial();
  near.socket.write('before');
  await has(far, 6);
  const [lost, left] = gone === 'dialler' ? [near, far] : [far, near];
  const heard = left.bytes.length;
  proxy.halfOpen(gone);
  await closed(lost);
  left.socket.write('is anybody there?');
  left.socket.write(Buffer.alloc(1_000_000));
  await until(() => left.socket.writableLength === 0, { what: 'the line to swallow it' });
  // New ones are not concerned.
  const next = await dial();
  next.near.socket.write('here');
  await has(next.far, 4);
  expect(left.closed).toBe(false);
  expect(left.bytes.length).toBe(heard);
});
