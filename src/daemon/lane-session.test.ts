import { describe, expect, test } from 'vitest';
import { lanePlan as plan } from '../../test/support/lane-plan.ts';
import { plentyOfMemory, windowOf } from '../../test/support/memory.ts';
import { lineLimits } from '../lane/line.ts';
import { MemoryBudget } from '../lib/memory-budget.ts';
import type { Channel, ChannelEvents } from '../transport/channel.ts';
import { BatchBuilder } from '../wire/batch.ts';
import { decodeFrame, encodeFrame, type Frame, type Goodbye, type Hello } from '../wire/frame.ts';
import { type Failure, FailureError } from '../wire/reasons.ts';
import type { Start } from '../wire/start.ts';
import { LaneSession } from './lane-session.ts';
import { LaneStats } from './lane-stats.ts';
import { openLine } from './line-driver.ts';

const hello: Hello = {
  kind: 'hello',
  minVersion: 1,
  maxVersion: 1,
  lane: plan.id,
  role: 'sender',
  node: 'n',
  session: '0123456789abcdef',
  linkHash: 'h',
};

const roomy = () => ({ budget: plentyOfMemory(), released: Promise.resolve() });

/** A receiving session whose sink says where the lane begins, and all that it sends. */
function receiver(
  start: Start | undefined,
  wrong?: Failure,
  role: 'receiver' | 'sender' = 'receiver',
  memory = roomy(),
) {
  const sent: Frame[] = [];
  let over: Failure | undefined;
  const channel: Channel = {
    method: 'exchange',
    peer: { trustDomain: 't', cluster: 'a', fingerprint: '', notAfterMs: 0 },
    queuedBytes: 0,
    send: (bytes) => {
      const frame = decodeFrame(bytes);
      if (frame !== undefined) sent.push(frame);
    },
    pause: () => undefined,
    resume: () => undefined,
    end: () => undefined,
    abort: () => undefined,
  };
  const session = new LaneSession({
    plan,
    role,
    node: 'n',
    stats: new LaneStats(plan, { batch: () => undefined }, 0),
    maxFrameBytes: 1000,
    batchBytes: 0,
    openWindow: () => memory.budget.share(1000),
    openOutbox: () => windowOf(1000),
    line: openLine(lineLimits),
    openSource: () => {
      throw new Error('a receiver has no source');
    },
    openSink: async () => {
      if (wrong !== undefined) throw new FailureError(wrong.reason, wrong.detail);
      return {
        epoch: 1,
        cursor: undefined,
        witnesses: [],
        ...(start === undefined ? {} : { start }),
        append: () => undefined,
        gap: () => undefined,
        close: () => undefined,
        released: () => memory.released,
      };
    },
    live: () => undefined,
    ended: (failure) => {
      over = failure;
    },
  });
  return { session, channel, sent, over: () => over };
}

const settled = () => new Promise((resolve) => setImmediate(resolve));

describe('a sender of version 1, which begins at its first record whatever it is told', () => {
  test.each([
    ['all', { at: 'all' }],
    ['nothing', undefined],
  ] as const)('is let in where the lane begins there: %s', async (_name, start) => {
    const dialled = receiver(start);
    dialled.session.accept(dialled.channel, hello);
    await settled();
    expect(dialled.sent).toMatchObject([{ kind: 'welcome', version: 1 }]);
  });

  test.each([
    ['new', { at: 'new' }],
    ['a sequence', { at: 'sequence', sequence: 5 }],
    ['copies', { at: 'copies', copies: [] }],
  ] as const)('is refused where it begins elsewhere, whoever dialled: %s', async (_name, start) => {
    const dialled = receiver(start);
    dialled.session.accept(dialled.channel, hello);
    await settled();
    expect(dialled.sent).toMatchObject([{ kind: 'goodbye', reason: 'version-mismatch' }]);

    const dials = receiver(start);
    let events: ChannelEvents | undefined;
    await dials.session.dial((given) => {
      events = given;
      return dials.channel;
    }, hello.session);
    expect(dials.sent).toMatchObject([{ kind: 'hello', opening: { start } }]);
    events?.frame(encodeFrame({ kind: 'welcome', version: 1, node: 'n' }));
    expect(dials.over()?.reason).toBe('version-mismatch');
  });

  test('one of version 2 is told where to begin', async () => {
    const dialled = receiver({ at: 'new' });
    dialled.session.accept(dialled.channel, { ...hello, maxVersion: 2 });
    await settled();
    expect(dialled.sent).toMatchObject([{ kind: 'welcome', version: 2, opening: { start: { at: 'new' } } }]);
  });
});

test('what is wrong with the sink is told to the sender, also where the receiver dials', async () => {
  const dials = receiver(undefined, { reason: 'sink-missing', detail: 'T does not exist' });
  await dials.session.dial(() => dials.channel, hello.session);
  expect(dials.over()?.reason).toBe('sink-missing');
  expect(dials.sent).toMatchObject([
    { kind: 'hello', role: 'receiver' },
    { kind: 'goodbye', reason: 'sink-missing' },
  ]);

  const sender = receiver(undefined, undefined, 'sender');
  const [said, left] = dials.sent;
  const events = sender.session.accept(sender.channel, said as Hello);
  await settled();
  expect(sender.over()).toBeUndefined();
  events.frame(encodeFrame(left as Goodbye));
  expect(sender.over()).toMatchObject({ reason: 'sink-missing', detail: 'T does not exist' });
});

test('what the sink has of a session that is over counts as memory until that is resolved', async () => {
  const budget = new MemoryBudget({ bytes: 1 << 20, leastBytes: 1000, firstBytes: 1000 });
  let release = () => {};
  const released = new Promise<void>((resolve) => {
    release = resolve;
  });
  const dialled = receiver(undefined, undefined, 'receiver', { budget, released });
  const events = dialled.session.accept(dialled.channel, { ...hello, maxVersion: 2 });
  await settled();
  expect(budget.usedBytes).toBe(1000);
  const builder = new BatchBuilder('i', 0, 500);
  builder.append(1, 1, 1, Buffer.from('s'), Buffer.alloc(0), Buffer.alloc(300));
  events.frame(builder.frame(1, 1, 0));
  dialled.session.finish({ reason: 'draining', detail: '' });
  await settled();
  expect(budget.usedBytes).toBe(builder.rawBytes);
  release();
  await settled();
  expect(budget.usedBytes).toBe(0);
});

test('a peer that gives up before Welcome has not broken the protocol', async () => {
  const dialled = receiver(undefined);
  const events = dialled.session.accept(dialled.channel, hello);
  events.frame(encodeFrame({ kind: 'goodbye', reason: 'draining', detail: 'the daemon stops', retryAfterMs: 0 }));
  await settled();
  expect(dialled.over()?.reason).toBe('draining');
});
