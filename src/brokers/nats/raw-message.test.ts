import { type AddressInfo, createServer, type Socket } from 'node:net';
import { connect, headers, type Msg, type NatsConnection } from 'nats';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { decimal, RawHeaders, rawHeaders, rawPayload, rawReply, rawSize, rawSubject } from './raw-message.ts';

/** Just enough of a server to see the client's bytes as they are, and to send it any. */
class WireServer {
  readonly #server = createServer((socket) => this.#accept(socket));
  #socket: Socket | undefined;
  received = Buffer.alloc(0);

  async listen(): Promise<string> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve));
    return `nats://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** Sends the bytes in pieces, each after the client has read the one before. */
  async send(bytes: Buffer, pieceBytes: number): Promise<void> {
    const client = (nc as unknown as { protocol: { transport: { socket: Socket } } }).protocol.transport.socket;
    for (let at = 0; at < bytes.length; at += pieceBytes) {
      const piece = bytes.subarray(at, at + pieceBytes);
      const readUpTo = client.bytesRead + piece.length;
      this.#socket!.write(piece);
      while (client.bytesRead < readUpTo) await new Promise(setImmediate);
    }
  }

  async close(): Promise<void> {
    this.#socket?.destroy();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #accept(socket: Socket): void {
    this.#socket = socket;
    socket.setNoDelay();
    socket.write('INFO {"server_id":"s","version":"2.15.1","headers":true,"max_payload":1048576,"proto":1}\r\n');
    socket.on('data', (chunk) => {
      this.received = Buffer.concat([this.received, chunk]);
      for (const _ of chunk.toString('latin1').matchAll(/PING\r\n/g)) socket.write('PONG\r\n');
    });
  }
}

const server = { current: new WireServer() };
let nc: NatsConnection;

beforeEach(async () => {
  server.current = new WireServer();
  nc = await connect({ servers: await server.current.listen(), reconnect: false });
});
afterEach(async () => {
  await nc.close();
  await server.current.close();
});

/** What a subscriber gets for these bytes of the server, sent in pieces of `pieceBytes`. */
async function receive(bytes: Buffer, pieceBytes = bytes.length): Promise<Msg> {
  const arrived = new Promise<Msg>((resolve) => {
    nc.subscribe('>', { callback: (_error, message) => resolve(message) });
  });
  await nc.flush();
  await server.current.send(bytes, pieceBytes);
  return arrived;
}

function hmsg(subject: string, reply: string, block: Buffer, payload: Buffer): Buffer {
  const line = `HMSG ${subject} 1 ${reply}${reply === '' ? '' : ' '}${block.length} ${block.length + payload.length}\r\n`;
  return Buffer.concat([Buffer.from(line), block, payload, Buffer.from('\r\n')]);
}

/** Repeated keys, odd spacing, an empty value, and bytes that are no text. */
const odd = Buffer.concat([
  Buffer.from('NATS/1.0\r\nA:1\r\na:   two  \r\nA:3\r\nA: 1\r\nempty:\r\nbin: '),
  Buffer.from([0, 1, 0xff, 0xfe, 0x80]),
  Buffer.from('\r\n\r\n'),
]);

describe.each([
  ['whole', 1 << 20],
  ['in pieces of 7 bytes', 7],
])('a message that arrives %s', (_name, pieceBytes) => {
  test('is its bytes', async () => {
    const payload = Buffer.from([13, 10, 0, 255, 13, 10]);
    const bytes = hmsg('orders.new', '_R_.1', odd, payload);
    const message = await receive(bytes, pieceBytes);
    expect(rawSubject(message).toString()).toBe('orders.new');
    expect(rawReply(message).toString()).toBe('_R_.1');
    expect(rawHeaders(message)).toEqual(odd);
    expect(rawPayload(message)).toEqual(payload);
    expect(rawSize(message)).toBe('orders.new'.length + '_R_.1'.length + odd.length + payload.length);
  });

  test('may lack reply, headers and payload', async () => {
    const message = await receive(Buffer.from('MSG a 1 0\r\n\r\n'), pieceBytes);
    expect(rawSubject(message).toString()).toBe('a');
    expect(rawReply(message)).toHaveLength(0);
    expect(rawHeaders(message)).toHaveLength(0);
    expect(rawPayload(message)).toHaveLength(0);
    expect(rawSize(message)).toBe(1);
  });

  test('may have headers only', async () => {
    const message = await receive(hmsg('a', '', odd, Buffer.alloc(0)), pieceBytes);
    expect(rawHeaders(message)).toEqual(odd);
    expect(rawPayload(message)).toHaveLength(0);
  });
});

test('messages stay as they were when others have arrived behind them', async () => {
  const messages: Msg[] = [];
  nc.subscribe('>', { callback: (_error, message) => void messages.push(message) });
  await nc.flush();
  const parts = Array.from({ length: 200 }, (_, i) => hmsg(`s.${i}`, `r.${i}`, odd, Buffer.alloc(i * 7, i)));
  // Cut anywhere: some messages are parsed in place, some are put together by the client.
  await server.current.send(Buffer.concat(parts), 1009);
  await nc.flush();
  expect(messages.map((message) => rawSubject(message).toString())).toEqual(parts.map((_, i) => `s.${i}`));
  expect(messages.map((message) => rawReply(message).toString())).toEqual(parts.map((_, i) => `r.${i}`));
  expect(messages.every((message, i) => rawPayload(message).equals(Buffer.alloc(i * 7, i)))).toBe(true);
  expect(messages.every((message) => rawHeaders(message).equals(odd))).toBe(true);
});

test('raw headers are sent byte for byte, which the codec of the client would not do', async () => {
  const codec = headers();
  expect(codec.constructor.name).toBe('MsgHdrsImpl');
  nc.publish('x.y', Buffer.from('payload'), { reply: 'r', headers: new RawHeaders(odd).asHeaders });
  await nc.flush();
  const expected = Buffer.concat([
    Buffer.from(`HPUB x.y r ${odd.length} ${odd.length + 7}\r\n`),
    odd,
    Buffer.from('payload\r\n'),
  ]);
  expect(server.current.received.includes(expected)).toBe(true);
});

test('decimal reads the digits of a range', () => {
  const bytes = Buffer.from('a.9007199254740991.0');
  expect(decimal(bytes, 2, 18)).toBe(Number.MAX_SAFE_INTEGER);
  expect(decimal(bytes, 19, 20)).toBe(0);
});
