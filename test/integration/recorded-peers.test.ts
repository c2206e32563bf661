/**
 * Daemons of other versions, by what they said when it was recorded: the same bytes, but for the values that only a session knows
 * (epoch, hash of the link, incarnation of the source).
 */
import { createHash } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { protocolVersions, verifyVersion } from '../../src/wire/frame.ts';
import { RecordView } from '../../src/wire/record-view.ts';
import { inProcess } from '../support/in-process.ts';
import { judge, perfect, type Stored } from '../support/oracle.ts';
import {
  altered,
  field,
  newer,
  type Recording,
  recordedLanes,
  recordedNode,
  recordedPayload,
  recordedPositions,
  recordings,
} from '../support/recordings.ts';
import { authorityIn, ScriptedPeer, type ScriptedStream } from '../support/scripted-peer.ts';
import { until } from '../support/until.ts';
import { type TestCluster, World } from '../support/world.ts';

const { sender: inLane, receiver: outLane } = recordedLanes;

/** A hub with a link from the recorded peer and one to it. */
async function withGhost(): Promise<{
  readonly world: World;
  readonly hub: TestCluster;
  ghost(): Promise<ScriptedPeer>;
}> {
  const world = await World.make({
    hub: {
      peers: ['ghost'],
      streams: { GHOSTLY: { subjects: ['ghostly.>'] }, OUT: { subjects: ['out.>'] } },
      links: {
        ghostly: { kind: 'fan-in', from: { cluster: 'ghost', stream: 'S' }, to: { stream: 'GHOSTLY' } },
        ghostward: { kind: 'fan-out', from: { stream: 'OUT' }, to: { cluster: 'ghost', stream: 'IN' } },
      },
      topology: { listen: '127.0.0.1:0', admin: { socket: 'hub.sock' } },
    },
  });
  const hub = world.cluster('hub');
  await world.start();
  const address = (await hub.daemon.status()).listen!;
  const authority = await authorityIn(world.dir);
  const certificate = { cluster: 'ghost' };
  return { world, hub, ghost: () => ScriptedPeer.make({ address, expect: 'hub', authority, certificate }) };
}

/** The control stream as it was recorded; gives the hash of each link of the hub. */
async function greets(peer: ScriptedPeer, { control }: Recording): Promise<(link: string) => Buffer> {
  const stream = peer.open('control');
  stream.channel.send(control.greeting);
  const { links } = await stream.received('declaration');
  const hashOf = (name: string) => Buffer.from(links.find((link) => link.name === name)!.hash);
  if ('unknownKind' in control) stream.channel.send(control.unknownKind as Buffer);
  stream.channel.send(control.declaration);
  const verdict = Buffer.concat([field(1, Buffer.from('ghostly')), field(2, hashOf('ghostly'))]);
  stream.channel.send(altered(control.verdicts, { 2: verdict }));
  stream.channel.send(control.beat);
  await stream.received('verdicts');
  await stream.received('beat');
  return hashOf;
}

/** What comes behind the handshake, with the frames of unknown kinds of a newer peer in between. */
function say(stream: ScriptedStream, side: Recording['sender' | 'receiver'], ...frames: readonly Buffer[]): void {
  for (const frame of frames) {
    if ('unknownKind' in side) stream.channel.send(side.unknownKind as Buffer);
    stream.channel.send(frame);
  }
}

describe.each(recordings)('a peer that speaks as $name', (recording) => {
  const { version, control, sender, receiver } = recording;
  const spoken = Math.min(version, protocolVersions.max);

  test('is heard as a sender, served as a receiver, and lets go in peace', async () => {
    const { world, hub, ghost } = await withGhost();
    await using _ = world;
    await using peer = await ghost();
    const hashOf = await greets(peer, recording);
    expect(await hub.daemon.peer('ghost')).toMatchObject({ connected: true, node: recordedNode(version) });

    const sends = peer.open('exchange');
    sends.channel.send(altered(sender.hello, { 8: hashOf('ghostly') }));
    const welcome = await sends.received('welcome');
    expect(welcome.version).toBe(spoken);
    const { epoch } = welcome.opening!;
    const { first, second, gap, third } = sender;
    const beginning = spoken > 1 && sender.beginning !== undefined ? [sender.beginning] : [];
    say(sends, sender, ...[...beginning, first, second, gap, third].map((frame) => altered(frame, { 1: epoch })));
    await world.stored(inLane, 10);
    await until(
      () =>
        sends.frames.some((frame) => frame.kind === 'ack' && frame.epoch === epoch && frame.stored?.sequence === 10),
      { what: 'everything to be acknowledged' },
    );
    say(sends, sender, sender.drain, sender.goodbye);
    await sends.ended();
    expect(await hub.daemon.lane(inLane)).toMatchObject({
      recordsTotal: recordedPositions(version).length,
      gapsTotal: 1,
    });
    const source = recordedPositions(version).map((at) => recorded(version, at));
    const subject = (record: Stored) => record.subject;
    const { verdicts, foreign } = judge(await hub.read('GHOSTLY'), 'hub/GHOSTLY', [{ lane: inLane, source, subject }]);
    expect(verdicts).toEqual({ [inLane]: perfect(source.length) });
    expect(foreign).toEqual([]);

    if (version < verifyVersion) {
      const { code, out } = await inProcess(['verify', inLane, '--config', hub.file]);
      expect([code, out]).toEqual([2, expect.stringContaining('the daemon of ghost is too old to verify')]);
    }

    const receives = peer.open('exchange');
    receives.channel.send(altered(receiver.hello, { 8: hashOf('ghostward') }));
    expect((await receives.received('welcome')).version).toBe(spoken);
    await using feed = await hub.feed('OUT', { count: 3, label: 'hub' });
    const numbers = (): string[] =>
      receives.frames.flatMap((frame) => (frame.kind === 'batch' ? payloads(frame.batch.packed) : []));
    const incarnation = () => {
      const batch = receives.frames.find((frame) => frame.kind === 'batch');
      return batch?.kind === 'batch' ? Buffer.from(batch.batch.incarnation) : Buffer.alloc(0);
    };
    const acked = (frame: Buffer, sequence: number) =>
      altered(frame, { 2: Buffer.concat([field(1, incarnation()), field(2, sequence)]) });
    const arrived = (count: number) =>
      until(() => numbers().length >= count, { what: () => `${count} records: ${numbers()}` });
    const settled = (sequence: number) =>
      until(async () => (await hub.daemon.lane(outLane)).storedSequence === sequence, {
        what: `${sequence} to be settled`,
      });
    await arrived(3);
    say(receives, receiver, acked(receiver.ackOfThree, 3));
    await settled(3);
    feed.allow(5);
    await arrived(5);
    say(receives, receiver, acked(receiver.ackOfFive, 5), receiver.drain);
    expect((await receives.received('goodbye')).reason).toBe('draining');
    await settled(5);
    expect(numbers()).toEqual([0, 1, 2, 3, 4].map((number) => `hub ${number}`));

    expect(trouble(hub)).toEqual([]);
    const last = peer.open('control');
    last.channel.send(control.greeting);
    await last.received('declaration');
    say(last, recording.sender, control.drain, control.goodbye);
    await hub.showsPeer('ghost', version === newer.version ? 'connection-lost' : 'draining');
  });
});

test('a peer of versions that are out of reach is refused at both ends, and shown; lanes of such a one are parked', async () => {
  const { world, hub, ghost } = await withGhost();
  await using _ = world;
  await using peer = await ghost();
  const stream = peer.open('control');
  stream.channel.send(newer.control.beyondUs);
  const { min, max } = protocolVersions;
  const detail = `peer speaks 90 to 99, this daemon ${min} to ${max}`;
  expect(await stream.ended()).toMatchObject({ reason: 'version-mismatch', detail });
  await hub.showsPeer('ghost', 'version-mismatch');
  expect(await hub.daemon.peer('ghost')).toMatchObject({ connected: false, detail });

  const hashOf = await greets(peer, newer);
  for (const [side, lane, link] of [
    [newer.sender, inLane, 'ghostly'],
    [newer.receiver, outLane, 'ghostward'],
  ] as const) {
    const attempt = peer.open('exchange');
    attempt.channel.send(altered(side.beyondUs, { 8: hashOf(link) }));
    expect(await attempt.ended()).toMatchObject({ reason: 'version-mismatch', detail });
    await hub.shows(lane, 'version-mismatch', 'parked');
  }
});

function payloads(packed: Buffer): string[] {
  const view = new RecordView(packed);
  const found: string[] = [];
  while (view.next())
    found.push(view.buffer.toString('latin1', view.payloadStart, view.payloadEnd).split(' ').slice(0, 2).join(' '));
  return found;
}

/** A record of a recorded sender as the oracle would have read it at its source. */
function recorded(version: number, sequence: number): Stored {
  const text = recordedPayload(version, sequence);
  return {
    sequence,
    subject: `ghostly.${sequence % 3}`,
    headers: sequence % 2 === 1 ? [`Nats-Msg-Id: reading-${sequence}`, `X-Number: ${sequence}`] : [],
    bytes: text.length,
    digest: createHash('sha1').update(text).digest('base64'),
    text,
  };
}

/** Lines that blame the peer, or ourselves. */
function trouble({ daemon }: TestCluster): readonly string[] {
  const bad = /"reason":"(bad-frame|internal|version-mismatch|superseded|credit-exceeded)"/;
  return daemon
    .lastRun()
    .split('\n')
    .filter((line) => bad.test(line));
}
