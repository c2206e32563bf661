import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { lanePlan as plan } from '../../test/support/lane-plan.ts';
import { windowOf } from '../../test/support/memory.ts';
import type { Source, SourceEvents } from '../brokers/broker.ts';
import { lineLimits } from '../lane/line.ts';
import type { Logger } from '../lib/logger.ts';
import type { Channel, ChannelEvents } from '../transport/channel.ts';
import { BatchBuilder } from '../wire/batch.ts';
import { encodeFrame } from '../wire/frame.ts';
import type { Failure } from '../wire/reasons.ts';
import { LaneRunner } from './lane-runner.ts';
import { LaneStats } from './lane-stats.ts';
import { openLine } from './line-driver.ts';

const quiet = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined };
const log = { ...quiet, child: () => log } as unknown as Logger;
const full: Failure = { reason: 'sink-full', detail: 'no room' };

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

/** The sending end of a lane that dials; the test answers every session that it opens. */
function sender() {
  const opened: ChannelEvents[] = [];
  let obstacle: Failure | undefined;
  let source: SourceEvents | undefined;
  const send = (_frame: Buffer, taken?: () => void) => taken?.();
  const channel = { send, end: () => undefined, abort: () => undefined } as unknown as Channel;
  const runner = new LaneRunner({
    plan,
    role: 'sender',
    peer: 'b',
    needsVerdict: false,
    node: 'n',
    log,
    stats: new LaneStats(plan, { batch: () => undefined }, Date.now()),
    maxFrameBytes: 1000,
    batchBytes: 0,
    openWindow: () => windowOf(1000),
    openOutbox: () => windowOf(1000),
    line: openLine(lineLimits),
    openSource: (): Source => ({
      open: (_opening, events) => {
        source = events;
      },
      pull: () => undefined,
      settle: () => undefined,
      close: () => undefined,
    }),
    openSink: () => Promise.reject(new Error('a sender has no sink')),
    open: () => (events) => {
      opened.push(events);
      return channel;
    },
    obstacle: () => obstacle,
    appending: () => ({}),
  });
  return {
    runner,
    blockedBy: (failure: Failure | undefined) => {
      obstacle = failure;
    },
    /** Until the next session is opened. */
    async opens(): Promise<ChannelEvents> {
      const before = opened.length;
      while (opened.length === before) await vi.advanceTimersByTimeAsync(100);
      return opened.at(-1)!;
    },
    refused: (events: ChannelEvents, { reason, detail }: Failure) =>
      events.frame(encodeFrame({ kind: 'goodbye', reason, detail, retryAfterMs: 0 })),
    /** The source has a record. */
    reads(): void {
      const batch = new BatchBuilder('i', 0, 100);
      batch.append(1, 1, 0, Buffer.from('s'), new Uint8Array(), Buffer.from('p'));
      source?.batch(batch);
    },
    goesLive(events: ChannelEvents): void {
      const opening = { epoch: 1, witnesses: [], creditLimit: 1000, maxFrameBytes: 1000 };
      events.frame(encodeFrame({ kind: 'welcome', version: 2, node: 'm', opening }));
      source?.opened({ incarnation: 'i', sequence: 0 });
    },
  };
}

test('a lane that is refused again and again for one reason is what it was all along, attempts included', async () => {
  const { runner, opens, refused, goesLive } = sender();
  const now = () => runner.status(Date.now());
  runner.peerChanged(true, undefined);
  refused(await opens(), full);
  const { state, sinceMs } = now();
  expect(state).toBe('blocked');
  for (let attempt = 0; attempt < 3; attempt++) {
    const events = await opens();
    expect(now()).toMatchObject({ state, reason: 'sink-full', sinceMs });
    refused(events, full);
    expect(now()).toMatchObject({ state, reason: 'sink-full', sinceMs });
  }
  goesLive(await opens());
  const live = now();
  expect(live.state).toBe('live');
  expect(live).not.toHaveProperty('reason');
  expect(live.sinceMs).toBeGreaterThan(sinceMs);
});

test('an obstacle that goes and comes back during an attempt has been there all the time; after a success it is a new one', async () => {
  const { runner, opens, goesLive, blockedBy } = sender();
  const now = () => runner.status(Date.now());
  blockedBy(full);
  const { sinceMs } = now();
  runner.peerChanged(true, undefined);
  const events = await opens();
  blockedBy(undefined);
  expect(now()).toMatchObject({ state: 'blocked', reason: 'sink-full', sinceMs });
  await vi.advanceTimersByTimeAsync(1000);
  blockedBy(full);
  expect(now()).toMatchObject({ state: 'blocked', sinceMs });
  blockedBy(undefined);
  goesLive(events);
  expect(now().state).toBe('live');
  blockedBy(full);
  expect(now().sinceMs).toBeGreaterThan(sinceMs);
});

test('no state is younger than the status that shows it', () => {
  const { runner, blockedBy } = sender();
  const askedMs = Date.now() - 5;
  blockedBy(full);
  expect(runner.status(askedMs).sinceMs).toBe(askedMs);
});

test('a live lane whose receiver stores nothing of what it has is blocked, until something is stored', async () => {
  const { runner, opens, goesLive, reads } = sender();
  runner.peerChanged(true, undefined);
  const events = await opens();
  goesLive(events);
  await vi.advanceTimersByTimeAsync(60_000);
  expect(runner.status(Date.now()).state).toBe('live');
  reads();
  await vi.advanceTimersByTimeAsync(9_000);
  expect(runner.status(Date.now()).state).toBe('live');
  await vi.advanceTimersByTimeAsync(3_000);
  const detail = 'the peer has not stored anything for 12 s';
  expect(runner.status(Date.now())).toMatchObject({ state: 'blocked', reason: 'sink-blocked', detail });
  const stored = { incarnation: 'i', sequence: 1 };
  events.frame(encodeFrame({ kind: 'ack', epoch: 1, stored, creditLimit: 1000, arrivedBytes: 0, arrivedMs: 0 }));
  expect(runner.status(Date.now()).state).toBe('live');
});

test('why the peer was away is not shown when it is back; what its sink says is', async () => {
  const { runner, opens, refused } = sender();
  const lost: Failure = { reason: 'connection-lost', detail: 'gone' };
  runner.peerChanged(false, lost);
  expect(runner.status(Date.now())).toMatchObject({ state: 'disconnected', reason: 'connection-lost' });
  runner.peerChanged(true, undefined);
  const attempt = await opens();
  expect(runner.status(Date.now())).not.toHaveProperty('reason');
  refused(attempt, full);
  expect(runner.status(Date.now())).toMatchObject({ state: 'blocked', reason: 'sink-full' });
});
