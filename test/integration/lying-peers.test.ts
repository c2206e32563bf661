/** A peer with a good certificate that lies: it is named, it is counted, and nobody else notices. */
import { connect } from 'node:net';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { BatchBuilder } from '../../src/wire/batch.ts';
import { encodeControl } from '../../src/wire/control.ts';
import { encodeFrame } from '../../src/wire/frame.ts';
import { GoodAndBad, ghostLane } from '../support/good-and-bad.ts';
import type { ScriptedPeer } from '../support/scripted-peer.ts';
import { until } from '../support/until.ts';

let all: GoodAndBad;

beforeAll(async () => {
  all = await GoodAndBad.start();
});

afterAll(async () => {
  await all?.[Symbol.asyncDispose]();
});

afterEach(() => all.goesOn());

/** Greets, and learns the hash of the link that the hub declares. */
async function declared(scripted: ScriptedPeer): Promise<{ readonly linkHash: string }> {
  const { links } = await scripted.greet().received('declaration');
  return { linkHash: links.find(({ name }) => name === 'ghostly')!.hash };
}

test('more than was allowed is credit-exceeded, and the lane is parked', async () => {
  await using scripted = await all.ghost();
  const { linkHash } = await declared(scripted);
  const stream = scripted.hello({ lane: ghostLane, linkHash });
  const { opening } = await stream.received('welcome');
  // Nothing can be stored, so nothing is allowed beyond the window and the one batch that always is.
  await all.hub.server.freeze();
  try {
    const recordBytes = 900 * 1024;
    const frames = Math.ceil(opening!.creditLimit / recordBytes) + 3;
    for (let i = 0; i < frames; i++) {
      const builder = new BatchBuilder('i', i, recordBytes);
      builder.append(i + 1, 1, 0, Buffer.from('ghostly.x'), Buffer.alloc(0), Buffer.alloc(recordBytes));
      stream.channel.send(builder.frame(opening!.epoch, i + 1, 0));
    }
    expect((await stream.ended()).reason).toBe('credit-exceeded');
  } finally {
    all.hub.server.thaw();
  }
  await all.hub.shows(ghostLane, 'credit-exceeded', 'parked');
});

test('a frame beyond the limit ends the stream, before it is read', async () => {
  await using scripted = await all.ghost();
  const { linkHash } = await declared(scripted);
  const stream = scripted.hello({ lane: ghostLane, linkHash });
  await stream.received('welcome');
  stream.channel.send(Buffer.alloc(17 * 1024 * 1024));
  expect((await stream.ended()).reason).toBe('frame-too-large');
});

test('kinds of frames that nobody knows are skipped, wherever they come', async () => {
  await using scripted = await all.ghost();
  const unknown = Buffer.from('a2060568656c6c6f', 'hex');
  const control = scripted.greet();
  control.channel.send(unknown);
  const { links } = await control.received('declaration');
  const stream = scripted.hello({ lane: ghostLane, linkHash: links.find(({ name }) => name === 'ghostly')!.hash });
  const { opening } = await stream.received('welcome');
  stream.channel.send(unknown);
  stream.channel.send(encodeFrame({ kind: 'drain', reason: 'draining' }));
  const next = new BatchBuilder('i', opening!.cursor?.sequence ?? 0, 100);
  next.append(next.firstSequence, 1, 0, Buffer.from('ghostly.y'), Buffer.alloc(0), Buffer.from('y'));
  if (opening!.cursor === undefined) stream.channel.send(next.frame(opening!.epoch, 1, 0));
  control.channel.send(encodeControl({ kind: 'beat', sentMs: 1, echoMs: 0, heldMs: 0, wallMs: 0 }));
  await control.received('beat');
  expect(control.control.map(({ kind }) => kind)).not.toContain('goodbye');
});

test('declarations that pour in end the connection, and the memory of the daemon stays', async () => {
  await using scripted = await all.ghost();
  const before = (await all.hub.daemon.status()).memory.rssBytes;
  const control = scripted.greet();
  await control.received('declaration');
  for (let generation = 0; generation < 2000; generation++) {
    const links = Array.from({ length: 100 }, (_, index) => ({
      name: `l${index}`,
      hash: `${generation}-${index}`,
      body: JSON.stringify({ name: `l${index}`, generation, filler: 'x'.repeat(500) }),
    }));
    control.channel.send(encodeControl({ kind: 'declaration', generation, fileHash: String(generation), links }));
  }
  expect(await control.ended()).toMatchObject({ reason: 'overloaded', retryAfterMs: 60_000 });
  await all.hub.showsPeer('ghost', 'overloaded');
  expect((await all.hub.daemon.status()).memory.rssBytes - before).toBeLessThan(150 * 1024 * 1024);
});

test('connections that never finish their handshake are given up and counted, and keep nobody out', async () => {
  const [host, port] = all.listen.split(':');
  const sockets = Array.from({ length: 400 }, () => {
    const socket = connect({ host: host!, port: Number(port) });
    socket.on('error', () => {
      // Cut, as it should be.
    });
    socket.resume().write(Buffer.from([22, 3, 1, 2, 0, 1]));
    return socket;
  });
  try {
    const refused = async () => (await all.hub.daemon.status()).refusedConnections?.overloaded ?? 0;
    await until(async () => (await refused()) >= 144, { what: 'the oldest handshakes to be given up' });
    await using scripted = await all.ghost();
    await scripted.greet().received('greeting');
    await all.hub.logs('connection-refused', 'overloaded');
  } finally {
    for (const socket of sockets) socket.destroy();
  }
});
