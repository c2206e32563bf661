import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { windowOf } from '../../test/support/memory.ts';
import type { Source, SourceEvents } from '../brokers/broker.ts';
import { lineLimits } from '../lane/line.ts';
import type { LanePlan } from '../topology/plan.ts';
import type { Channel, ChannelEvents } from '../transport/channel.ts';
import { memoryPair } from '../transport/memory.ts';
import { BatchBuilder } from '../wire/batch.ts';
import { decodeControl, encodeControl } from '../wire/control.ts';
import { decodeFrame, encodeFrame, type Hello, type Opening } from '../wire/frame.ts';
import type { Failure } from '../wire/reasons.ts';
import { RecordView } from '../wire/record-view.ts';
import { awaitHello } from './await-hello.ts';
import { ControlSession } from './control-session.ts';
import { LaneSession } from './lane-session.ts';
import { LaneStats } from './lane-stats.ts';
import { openLine } from './line-driver.ts';
import type { SinkSession, SinkSessionEvents } from './sink-session.ts';

/**
 * Whole sessions over a channel in memory, with a peer that sends whatever comes to its mind: frames that are good and come at the
 * wrong time, frames with wrong numbers, and bytes that are no frame. A session ends with a reason that blames the peer, or
 * goes on; it never throws, never hangs when the channel has ended, and never takes more than it allowed.
 */

const windowBytes = 4096;
const plan = { id: 'l/peer/self', link: 'l', linkHash: 'hash', from: 'peer', to: 'self' } as LanePlan;
const stats = () => new LaneStats(plan, { batch: () => undefined }, 0);
const opening: Opening = { epoch: 3, witnesses: [], creditLimit: windowBytes, maxFrameBytes: 1 << 20 };

/** Reasons with which a session may end that a liar opened. `internal` would be a defect. */
const blames: readonly string[] = [
  'bad-frame',
  'credit-exceeded',
  'superseded',
  'version-mismatch',
  'link-unknown',
  'overloaded',
  'draining',
  'connection-lost',
  'frame-too-large',
];

interface Peer {
  readonly channel: Channel;
  /** Turns of the event loop until everything that was sent has been dealt with. */
  settle(): Promise<void>;
  ended: boolean;
  readonly received: Buffer[];
}

function connect(take: (channel: Channel) => ChannelEvents): Peer {
  const [near, far] = memoryPair({ clusters: ['peer', 'self'] });
  const received: Buffer[] = [];
  const peer: Peer = {
    channel: near,
    received,
    ended: false,
    settle: async () => {
      for (let i = 0; i < 12; i++) await new Promise((resolve) => setImmediate(resolve));
    },
  };
  near.attach({
    frame: (bytes) => received.push(bytes),
    ended: () => {
      peer.ended = true;
    },
  });
  far.attach(take(far));
  return peer;
}

const position = fc.record({
  incarnation: fc.constantFrom('i', 'j'),
  sequence: fc.oneof(fc.nat(5), fc.constantFrom(2 ** 53 - 1, 2 ** 32)),
});
const epoch = fc.constantFrom(3, 3, 3, 0, 4, 2 ** 53 - 1);
const version = fc.constantFrom(0, 1, 2, 2, 99);

const hello: fc.Arbitrary<Buffer> = fc
  .record({
    role: fc.constantFrom('sender' as const, 'receiver' as const),
    minVersion: version,
    maxVersion: version,
    opening: fc.option(fc.constant(opening), { nil: undefined }),
    lane: fc.constantFrom(plan.id, plan.id, 'other/x/y', ''),
  })
  .map(({ opening: given, ...rest }) =>
    encodeFrame({
      kind: 'hello',
      node: 'n',
      session: '0123456789abcdef',
      linkHash: 'hash',
      ...rest,
      ...(given === undefined ? {} : { opening: given }),
    }),
  );

const batch: fc.Arbitrary<Buffer> = fc
  .record({ after: fc.nat(4), records: fc.nat(3), bytes: fc.nat(3000), frame: fc.integer({ min: 1, max: 5 }), epoch })
  .map(({ after, records, bytes, frame, epoch: number }) => {
    const builder = new BatchBuilder('i', after, 20_000);
    for (let i = 1; i <= records; i++)
      builder.append(after + i, 1, 1, Buffer.from('s'), new Uint8Array(), Buffer.alloc(bytes));
    return Buffer.from(builder.frame(number, frame, 0));
  });

const laneFrame: fc.Arbitrary<Buffer> = fc.oneof(
  { weight: 2, arbitrary: hello },
  { weight: 5, arbitrary: batch },
  {
    weight: 3,
    arbitrary: fc
      .record({
        epoch,
        stored: fc.option(position, { nil: undefined }),
        creditLimit: fc.constantFrom(0, 4096, 2 ** 53 - 1),
        arrivedBytes: fc.constantFrom(0, 100, 2 ** 53 - 1),
        arrivedMs: fc.constantFrom(0, 2 ** 53 - 1),
      })
      .map((ack) => encodeFrame({ kind: 'ack', ...ack })),
  },
  {
    weight: 2,
    arbitrary: fc
      .record({ epoch, frame: fc.integer({ min: 1, max: 4 }), after: position, upTo: position })
      .map((gap) => encodeFrame({ kind: 'gap', stripe: 0, reason: 'expired', ...gap })),
  },
  { weight: 1, arbitrary: fc.constant(encodeFrame({ kind: 'welcome', version: 3, node: 'n', opening })) },
  { weight: 1, arbitrary: fc.constant(encodeFrame({ kind: 'drain', reason: 'draining' })) },
  { weight: 1, arbitrary: fc.constant(Buffer.from('a2060568656c6c6f', 'hex')) },
  { weight: 1, arbitrary: fc.uint8Array({ maxLength: 40 }).map((noise) => Buffer.from(noise)) },
);

/** Mostly begins as a good peer does, or the deeper states would never be seen. */
const script = (first: Buffer) =>
  fc
    .tuple(fc.boolean(), fc.array(laneFrame, { maxLength: 12 }))
    .map(([well, rest]) => (well ? [first, ...rest] : rest));

const goodHello = (role: 'sender' | 'receiver'): Buffer =>
  encodeFrame({
    kind: 'hello',
    minVersion: 1,
    maxVersion: 3,
    lane: plan.id,
    role,
    node: 'n',
    session: '0123456789abcdef',
    linkHash: 'hash',
    ...(role === 'receiver' ? { opening } : {}),
  });

describe('a lane', () => {
  /** The accepting end of a lane, with a sink or a source of the test. */
  function accepting(role: 'sender' | 'receiver') {
    const seen = { ends: [] as (Failure | undefined)[], appended: 0, settled: 0, sent: 0 };
    const openSink = async (events: SinkSessionEvents): Promise<SinkSession> => ({
      epoch: opening.epoch,
      cursor: { incarnation: 'i', sequence: 0 },
      witnesses: [],
      append: (arrived) => {
        const view = new RecordView(arrived.packed);
        while (view.next());
        seen.appended += arrived.packed.length;
        // Of a slow sink: nothing is stored within a test, so all of it is in flight.
        void events;
      },
      gap: () => undefined,
      close: () => undefined,
      released: () => Promise.resolve(),
    });
    const openSource = (): Source => {
      let events: SourceEvents | undefined;
      return {
        open: (_opening, given) => {
          events = given;
          setImmediate(() => given.opened({ incarnation: 'i', sequence: 0 }));
        },
        pull: (bytes) => {
          if (bytes <= 0 || seen.sent >= 3) return;
          const builder = new BatchBuilder('i', seen.sent, 1000);
          builder.append(++seen.sent, 1, 1, Buffer.from('s'), new Uint8Array(), Buffer.alloc(10));
          setImmediate(() => events?.batch(builder));
        },
        settle: ({ sequence }) => {
          seen.settled = Math.max(seen.settled, sequence);
        },
        close: () => {
          events = undefined;
        },
      };
    };
    const session = new LaneSession({
      plan,
      role,
      node: 'self',
      stats: stats(),
      maxFrameBytes: 1 << 20,
      batchBytes: 0,
      openWindow: () => windowOf(windowBytes),
      openOutbox: () => windowOf(windowBytes),
      line: openLine(lineLimits),
      openSource,
      openSink,
      live: () => undefined,
      ended: (failure) => seen.ends.push(failure),
    });
    let assigned = 0;
    const peer = connect((channel) =>
      awaitHello(channel, (frame: Hello) => {
        assigned++;
        if (frame.lane !== plan.id) return { reason: 'link-unknown', detail: '' };
        return session.accept(channel, frame);
      }),
    );
    return { peer, seen, session, assigned: () => assigned };
  }

  it.each(['receiver', 'sender'] as const)('whose %s end is here stands any sequence of frames', async (role) => {
    const first = goodHello(role === 'receiver' ? 'sender' : 'receiver');
    await fc.assert(
      fc.asyncProperty(script(first), async (frames) => {
        const { peer, seen, session, assigned } = accepting(role);
        for (const frame of frames) {
          peer.channel.send(frame);
          await new Promise((resolve) => setImmediate(resolve));
        }
        await peer.settle();
        expect(assigned()).toBeLessThanOrEqual(1);
        // Nothing is given up at the source that was never sent.
        expect(seen.settled).toBeLessThanOrEqual(seen.sent);
        for (const bytes of peer.received) {
          const frame = decodeFrame(bytes);
          if (frame?.kind === 'goodbye') expect(blames).toContain(frame.reason);
        }
        for (const failure of seen.ends)
          if (failure !== undefined) expect(blames.concat('expired')).toContain(failure.reason);
        peer.channel.abort({ reason: 'connection-lost', detail: 'the test is over' });
        await peer.settle();
        session.finish({ reason: 'draining', detail: 'the test is over' });
        expect(seen.ends.length).toBeLessThanOrEqual(1);
        if (assigned() === 1 && frames.length > 0 && seen.ends.length === 0) expect(peer.ended).toBe(true);
      }),
      { numRuns: 300 },
    );
  });

  it('takes no more than it allowed from a sender that does not care', async () => {
    const { peer, seen } = accepting('receiver');
    peer.channel.send(goodHello('sender'));
    await peer.settle();
    for (let i = 0; i < 50; i++) {
      const builder = new BatchBuilder('i', i, 3000);
      builder.append(i + 1, 1, 1, Buffer.from('s'), new Uint8Array(), Buffer.alloc(3000));
      peer.channel.send(builder.frame(opening.epoch, i + 1, 0));
    }
    await peer.settle();
    expect(seen.ends).toMatchObject([{ reason: 'credit-exceeded' }]);
    expect(seen.appended).toBeLessThan(windowBytes + 3100);
  });

  it('that is told of more than it sent does not believe it', async () => {
    const { peer, seen } = accepting('sender');
    peer.channel.send(goodHello('receiver'));
    await peer.settle();
    expect(seen.sent).toBeGreaterThan(0);
    peer.channel.send(
      encodeFrame({
        kind: 'ack',
        epoch: 3,
        stored: { incarnation: 'i', sequence: 4 },
        creditLimit: 9999,
        arrivedBytes: 0,
        arrivedMs: 0,
      }),
    );
    await peer.settle();
    expect(seen.ends).toMatchObject([{ reason: 'bad-frame', detail: expect.stringMatching(/was never sent/) }]);
    expect(seen.settled).toBe(0);
  });

  it('that is told of more that arrived than it sent does not believe it', async () => {
    const { peer, seen } = accepting('sender');
    peer.channel.send(goodHello('receiver'));
    await peer.settle();
    peer.channel.send(
      encodeFrame({
        kind: 'ack',
        epoch: 3,
        stored: undefined,
        creditLimit: 9999,
        arrivedBytes: 1_000_000,
        arrivedMs: 1,
      }),
    );
    await peer.settle();
    expect(seen.ends).toMatchObject([{ reason: 'bad-frame', detail: expect.stringMatching(/said to have arrived/) }]);
  });
});

describe('a control stream', () => {
  const greeting = encodeControl({
    kind: 'greeting',
    minVersion: 1,
    maxVersion: 2,
    cluster: 'peer',
    node: 'n',
    software: 's',
    fileHash: '',
    generation: 1,
    beatMs: 5000,
    file: '',
  });
  const declaration = (generation: number): Buffer =>
    encodeControl({
      kind: 'declaration',
      generation,
      fileHash: String(generation),
      links: [{ name: 'l', hash: String(generation), body: '{}' }],
    });
  const controlFrame: fc.Arbitrary<Buffer> = fc.oneof(
    fc.constant(greeting),
    fc.nat(9).map(declaration),
    fc.constant(encodeControl({ kind: 'verdicts', generation: 1, verdicts: [] })),
    fc
      .record({ sentMs: fc.nat(), echoMs: fc.constantFrom(0, 1, 2 ** 53 - 1), heldMs: fc.nat(), wallMs: fc.nat() })
      .map((beat) => encodeControl({ kind: 'beat', ...beat })),
    fc.constant(encodeControl({ kind: 'drain', reason: 'draining' })),
    fc.constant(encodeControl({ kind: 'goodbye', reason: 'draining', detail: '', retryAfterMs: 2 ** 50 })),
    fc.constant(Buffer.from('a2060568656c6c6f', 'hex')),
    fc.uint8Array({ maxLength: 40 }).map((noise) => Buffer.from(noise)),
  );

  function accepting() {
    const seen = { ends: [] as Failure[], declarations: 0, measures: [] as number[] };
    const session = new ControlSession({
      greeting: () => ({ cluster: 'self', node: 'n', software: 's', fileHash: '', generation: 1, file: '' }),
      greeted: () => undefined,
      declaration: () => void seen.declarations++,
      verdicts: () => undefined,
      verify: () => undefined,
      measured: ({ rttMs }) => void seen.measures.push(rttMs),
      ended: (failure) => seen.ends.push(failure),
    });
    const peer = connect((channel) => {
      session.start(channel);
      session.greet();
      return session.events;
    });
    return { peer, seen, session };
  }

  it('stands any sequence of frames', async () => {
    const frames = fc
      .tuple(fc.boolean(), fc.array(controlFrame, { maxLength: 12 }))
      .map(([well, rest]) => (well ? [greeting, ...rest] : rest));
    await fc.assert(
      fc.asyncProperty(frames, async (sent) => {
        const { peer, seen, session } = accepting();
        for (const frame of sent) peer.channel.send(frame);
        await peer.settle();
        for (const bytes of peer.received) {
          const frame = decodeControl(bytes);
          if (frame?.kind === 'goodbye') expect(blames).toContain(frame.reason);
        }
        for (const { reason, retryAfterMs = 0 } of seen.ends) {
          expect(blames).toContain(reason);
          expect(retryAfterMs).toBeLessThanOrEqual(3_600_000);
        }
        expect(seen.measures.every((rttMs) => rttMs >= 0)).toBe(true);
        session.finish({ reason: 'draining', detail: 'the test is over' });
        await peer.settle();
        expect(seen.ends).toHaveLength(1);
      }),
      { numRuns: 300 },
    );
  });

  it('over which declarations pour is ended, with the time to stay away', async () => {
    const { peer, seen } = accepting();
    peer.channel.send(greeting);
    for (let i = 0; i < 5000; i++) peer.channel.send(declaration(i));
    await peer.settle();
    expect(seen.declarations).toBe(600);
    const detail = 'the peer sent more than 600 declarations and verdicts within 60 s';
    expect(seen.ends).toMatchObject([{ reason: 'overloaded', detail, retryAfterMs: 60_000 }]);
    expect(peer.received.map((bytes) => decodeControl(bytes)?.kind)).toContain('goodbye');
  });
});
