import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { windowOf } from '../../test/support/memory.ts';
import type { Source, SourceEvents } from '../brokers/broker.ts';
import { lineLimits } from '../lane/line.ts';
import type { LogFields, Logger } from '../lib/logger.ts';
import type { LanePlan } from '../topology/plan.ts';
import type { Channel, ChannelEvents } from '../transport/channel.ts';
import { memoryPair } from '../transport/memory.ts';
import { BatchBuilder, type InBatch } from '../wire/batch.ts';
import { decodeFrame, encodeFrame, type Frame } from '../wire/frame.ts';
import { awaitHello } from './await-hello.ts';
import { LaneRunner } from './lane-runner.ts';
import { LaneStats } from './lane-stats.ts';
import { openLine } from './line-driver.ts';
import type { SinkSessionEvents } from './sink-session.ts';

/** Both ends of a lane, with a source and a sink in memory, and connections that the test replaces. */

const plan = { id: 'l/a/b', link: 'l', linkHash: 'h', from: 'a', to: 'b', declaredBy: 'b' } as LanePlan;
const drainMs = 1000;

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

class Rig {
  readonly sender: LaneRunner;
  readonly receiver: LaneRunner;
  readonly story: string[] = [];
  /** Sequences that the sink holds, in the order in which they came. */
  readonly stored: number[] = [];
  /** The sink takes batches and stores none. */
  blocked = false;
  /** Channels that were opened; what the dialling end says over one may be put in place of the frame. */
  readonly opened: Channel[] = [];
  edit: (frame: Frame | undefined) => Buffer | undefined = () => undefined;
  /** How long the source takes to prove a cursor. */
  proofMs = 0;
  /** No new streams are taken. */
  closed = false;
  readonly #dials: 'sender' | 'receiver';
  #source: SourceEvents | undefined;
  /** Records in the source. */
  #held = 0;
  #epoch = 0;
  #waiting: (() => void)[] = [];

  constructor(dials: 'sender' | 'receiver') {
    this.#dials = dials;
    this.sender = this.#runner('sender');
    this.receiver = this.#runner('receiver');
  }

  #runner(role: 'sender' | 'receiver'): LaneRunner {
    const say = (event: string, { reason = '', to = '' }: LogFields = {}) =>
      this.story.push([role, event, reason, to].filter((word) => word !== '').join(' '));
    const log = { debug: say, info: say, warn: say, error: say, child: () => log } as unknown as Logger;
    return new LaneRunner({
      plan,
      role,
      peer: role === 'sender' ? 'b' : 'a',
      needsVerdict: false,
      node: role,
      log,
      stats: new LaneStats(plan, { batch: () => undefined }, Date.now()),
      maxFrameBytes: 1 << 20,
      batchBytes: 0,
      openWindow: () => windowOf(100_000),
      openOutbox: () => windowOf(100_000),
      line: openLine(lineLimits),
      openSource: () => this.#openSource(),
      openSink: (events) => this.#openSink(events),
      open: () => (role === this.#dials ? (events) => this.#open(events) : undefined),
      obstacle: () => undefined,
      appending: () => ({}),
    });
  }

  #openSource(): Source {
    return {
      open: ({ cursor = { incarnation: 'i', sequence: 0 } }, events) => {
        this.#source = undefined;
        setTimeout(() => {
          this.#source = events;
          events.opened(cursor);
          this.#read(cursor.sequence);
        }, this.proofMs);
      },
      pull: () => undefined,
      settle: () => undefined,
      close: () => undefined,
    };
  }

  async #openSink(events: SinkSessionEvents) {
    const epoch = ++this.#epoch;
    const last = this.stored.at(-1);
    let open = true;
    const store = ({ incarnation, firstSequence, lastSequence, packed, count }: InBatch): void => {
      if (!open) return;
      for (let n = firstSequence; n <= lastSequence; n++) this.stored.push(n);
      const position = { incarnation, sequence: lastSequence };
      const counts = { bytes: packed.length, records: count, duplicates: 0, loops: 0, quarantined: 0 };
      events.stored({ type: 'stored', lane: plan.id, epoch, position, ...counts });
    };
    return {
      epoch,
      cursor: last === undefined ? undefined : { incarnation: 'i', sequence: last },
      witnesses: [],
      append: (batch: InBatch) => {
        if (this.blocked) this.#waiting.push(() => store(batch));
        else store(batch);
      },
      gap: () => undefined,
      close: () => {
        open = false;
      },
      released: () => Promise.resolve(),
    };
  }

  #open(events: ChannelEvents): Channel {
    const acceptor = this.#dials === 'sender' ? this.receiver : this.sender;
    const [near, far] = memoryPair({ clusters: ['near', 'far'] });
    this.opened.push(near);
    near.attach(events);
    if (this.closed) near.abort({ reason: 'unreachable', detail: 'nobody there' });
    else {
      const heard = awaitHello(far, (hello) => acceptor.accept(far, hello));
      far.attach({ ...heard, frame: (bytes) => heard.frame(this.edit(decodeFrame(bytes)) ?? bytes) });
    }
    return near;
  }

  /** The source has so many records more. */
  reads(count: number): void {
    this.#held += count;
    this.#read(this.#held - count);
  }

  #read(after: number): void {
    if (this.#source === undefined || after === this.#held) return;
    const batch = new BatchBuilder('i', after, 10_000);
    for (let n = after + 1; n <= this.#held; n++)
      batch.append(n, 1, 0, Buffer.from('s'), new Uint8Array(), Buffer.from('p'));
    this.#source.batch(batch);
  }

  unblock(): void {
    this.blocked = false;
    for (const store of this.#waiting.splice(0)) store();
  }

  get dialler(): LaneRunner {
    return this.#dials === 'sender' ? this.sender : this.receiver;
  }

  /** Starts, and forgets how that went. */
  async live(): Promise<void> {
    this.sender.peerChanged(true, undefined);
    this.receiver.peerChanged(true, undefined);
    await vi.advanceTimersByTimeAsync(10);
    this.reads(3);
    await vi.advanceTimersByTimeAsync(10);
    expect(this.stored).toEqual([1, 2, 3]);
    this.story.length = 0;
  }

  status() {
    return [this.sender, this.receiver].map((runner) => runner.status(Date.now()));
  }
}

const range = (last: number) => Array.from({ length: last }, (_, i) => i + 1);

describe.each(['sender', 'receiver'] as const)('a lane whose %s dials', (dials) => {
  test('moves, and is live all the time', async () => {
    const rig = new Rig(dials);
    await rig.live();
    const before = rig.status();
    for (let round = 1; round <= 20; round++) {
      rig.reads(2);
      rig.dialler.rotate(drainMs);
      for (let i = 0; i < 20; i++) {
        await vi.advanceTimersByTimeAsync(1);
        for (const { state } of rig.status()) expect(state).toBe('live');
      }
      expect(rig.opened).toHaveLength(1 + round);
      expect(rig.stored).toEqual(range(3 + 2 * round));
    }
    for (const [index, { sinceMs, reconnectsTotal }] of rig.status().entries())
      expect([sinceMs, reconnectsTotal]).toEqual([before[index]!.sinceMs, 0]);
    expect(new Set(rig.story)).toEqual(new Set(['sender lane-rotated', 'receiver lane-rotated']));
    expect(rig.story).toHaveLength(40);
  });

  test('waits for a sink that stands still, not for ever, and brings again what that has not stored', async () => {
    const rig = new Rig(dials);
    await rig.live();
    rig.blocked = true;
    rig.reads(4);
    await vi.advanceTimersByTimeAsync(10);
    rig.dialler.rotate(drainMs);
    await vi.advanceTimersByTimeAsync(drainMs - 10);
    expect(rig.opened).toHaveLength(1);
    await vi.advanceTimersByTimeAsync(100);
    expect(rig.opened).toHaveLength(2);
    expect(rig.status().map(({ state }) => state)).toEqual(['live', 'live']);
    rig.unblock();
    rig.reads(1);
    await vi.advanceTimersByTimeAsync(100);
    expect(rig.stored).toEqual(range(8));
    expect(rig.status().map(({ reconnectsTotal }) => reconnectsTotal)).toEqual([0, 0]);
  });

  test('that is not taken over the new connection is out of order after a while, at both ends, and goes on when it is', async () => {
    const rig = new Rig(dials);
    await rig.live();
    rig.closed = true;
    rig.dialler.rotate(drainMs);
    await vi.advanceTimersByTimeAsync(11_000);
    for (const { state } of rig.status()) expect(state).toBe('disconnected');
    expect(rig.story.filter((said) => said.includes('lane-ended')).toSorted()).toEqual(
      [
        `${dials === 'sender' ? 'receiver' : 'sender'} lane-ended rotated`,
        `${dials} lane-ended unreachable`,
      ].toSorted(),
    );
    rig.closed = false;
    await vi.advanceTimersByTimeAsync(2000);
    rig.reads(1);
    await vi.advanceTimersByTimeAsync(10);
    expect(rig.stored).toEqual(range(4));
    for (const { state, reconnectsTotal } of rig.status()) expect([state, reconnectsTotal]).toEqual(['live', 1]);
  });

  test('whose new Hello overtakes all that was said over the old connection has moved; a Hello of another name has not', async () => {
    const rig = new Rig(dials);
    await rig.live();
    // Nothing more of the old connection is heard at the other end.
    const [old] = rig.opened;
    let name = '';
    rig.edit = (frame) => {
      if (frame?.kind !== 'hello') return undefined;
      name = frame.session;
      return encodeFrame(frame);
    };
    old!.pause();
    const acceptor = dials === 'sender' ? rig.receiver : rig.sender;
    rig.dialler.rotate(10);
    await vi.advanceTimersByTimeAsync(100);
    expect(rig.opened.length).toBeGreaterThan(1);
    expect(name).toMatch(/^[0-9a-f]{16}$/);
    expect(acceptor.status(Date.now())).toMatchObject({ state: 'live', reconnectsTotal: 0 });

    rig.edit = (frame) =>
      frame?.kind === 'hello' ? encodeFrame({ ...frame, session: '0123456789abcdef' }) : undefined;
    rig.dialler.rotate(drainMs);
    await vi.advanceTimersByTimeAsync(100);
    expect(acceptor.status(Date.now())).toMatchObject({ state: 'live', reconnectsTotal: 1 });
  });

  test('moves again before the other end has begun, and after that', async () => {
    const rig = new Rig(dials);
    await rig.live();
    rig.proofMs = 20;
    for (const waitMs of [3, 5, 30]) {
      rig.dialler.rotate(drainMs);
      await vi.advanceTimersByTimeAsync(waitMs);
      for (const { state } of rig.status()) expect(state).toBe('live');
    }
    rig.reads(1);
    await vi.advanceTimersByTimeAsync(100);
    expect(rig.stored).toEqual(range(4));
    for (const { state, reconnectsTotal } of rig.status()) expect([state, reconnectsTotal]).toEqual(['live', 0]);
    expect(rig.story.filter((said) => !said.includes('lane-rotated'))).toEqual([]);
  });

  test('that drains while it moves is quiet soon', async () => {
    const rig = new Rig(dials);
    await rig.live();
    rig.blocked = true;
    rig.reads(1);
    await vi.advanceTimersByTimeAsync(5);
    rig.dialler.rotate(drainMs);
    const drained = rig.dialler.drain();
    rig.unblock();
    await vi.advanceTimersByTimeAsync(10);
    await drained;
    await vi.advanceTimersByTimeAsync(20_000);
    expect(rig.opened).toHaveLength(1);
    expect(rig.dialler.status(Date.now()).state).toBe('draining');
  });

  test('is moved by the end that dials only', async () => {
    const rig = new Rig(dials);
    await rig.live();
    (dials === 'sender' ? rig.receiver : rig.sender).rotate(drainMs);
    await vi.advanceTimersByTimeAsync(5000);
    expect(rig.opened).toHaveLength(1);
    expect(rig.story).toEqual([]);
  });

  test('whose other end says time and again that it rotates is dialled by the schedule', async () => {
    const rig = new Rig(dials);
    await rig.live();
    for (let i = 0; i < 600; i++) {
      const acceptor = dials === 'sender' ? rig.receiver : rig.sender;
      if (rig.dialler.isLive) acceptor.stop({ reason: 'rotated', detail: 'and again' });
      await vi.advanceTimersByTimeAsync(50);
    }
    // In half a minute; one every 50 ms would be 600.
    expect(rig.opened.length).toBeLessThan(100);
  });
});

test('a sender of an older version, which says that it is draining, is left as planned', async () => {
  const rig = new Rig('receiver');
  await rig.live();
  rig.edit = (frame) => (frame?.kind === 'drain' ? encodeFrame({ kind: 'drain', reason: 'draining' }) : undefined);
  rig.dialler.rotate(drainMs);
  await vi.advanceTimersByTimeAsync(50);
  expect(rig.opened).toHaveLength(2);
  expect(rig.receiver.status(Date.now())).toMatchObject({ state: 'live', reconnectsTotal: 0 });
});
