import { expect, test } from 'vitest';
import { windowOf } from '../../test/support/memory.ts';
import { BatchBuilder } from '../wire/batch.ts';
import type { Ack } from '../wire/frame.ts';
import { LaneSender, type SenderEffect } from './lane-sender.ts';

const none = new Uint8Array();

function batch(after: number, bytes: number): BatchBuilder {
  const builder = new BatchBuilder('i', after, bytes + 100);
  builder.append(after + 1, 0, 0, Buffer.from('s'), none, Buffer.alloc(bytes));
  return builder;
}

function sender(creditLimit = 1000, outboxBytes = 10_000): LaneSender {
  const made = new LaneSender(
    { epoch: 3, cursor: { incarnation: 'i', sequence: 5 }, creditLimit },
    { outbox: windowOf(outboxBytes) },
  );
  expect(made.start()).toEqual([{ type: 'pull', bytes: Math.min(creditLimit, outboxBytes) }]);
  return made;
}

const ack = (sequence: number, creditLimit: number, epoch = 3): { type: 'frame'; frame: Ack } => ({
  type: 'frame',
  frame: { kind: 'ack', epoch, stored: { incarnation: 'i', sequence }, creditLimit, arrivedBytes: 0, arrivedMs: 0 },
});
const pulls = (effects: readonly SenderEffect[]) =>
  effects.filter((effect) => effect.type === 'pull').map(({ bytes }) => bytes);

test('I5: pulls no more than the credit and the own outbox allow, and nothing when they are used up', () => {
  const lane = sender(1000);
  const first = batch(5, 600);
  expect(pulls(lane.step({ type: 'batch', batch: first }))).toEqual([1000 - first.rawBytes]);
  expect(pulls(lane.step({ type: 'batch', batch: batch(6, 600) }))).toEqual([0]);
  expect(pulls(lane.step({ type: 'taken', bytes: first.rawBytes, nowMs: 0 }))).toEqual([]);
  expect(pulls(lane.step(ack(6, 5000)))[0]).toBeGreaterThan(0);
  const narrow = sender(1_000_000, 500);
  const large = batch(5, 600);
  expect(pulls(narrow.step({ type: 'batch', batch: large }))).toEqual([0]);
  expect(pulls(narrow.step({ type: 'taken', bytes: large.rawBytes, nowMs: 0 }))).toEqual([500]);
});

test('I1: the source is settled only up to what was acknowledged, and by this session', () => {
  const lane = sender();
  lane.step({ type: 'batch', batch: batch(5, 10) });
  expect(lane.step(ack(6, 2000))).toContainEqual({ type: 'settle', position: { incarnation: 'i', sequence: 6 } });
  expect(lane.step(ack(9, 9000, 2))).toEqual([]);
});

test('credit is absolute: an older or repeated acknowledgement takes nothing back', () => {
  const lane = sender(1000);
  lane.step(ack(5, 4000));
  lane.step(ack(5, 2000));
  expect(lane.creditBytes).toBe(4000);
});

test('a drain reads no more, waits for what was sent, and then ends', () => {
  const lane = sender();
  lane.step({ type: 'batch', batch: batch(5, 10) });
  const effects = lane.step({ type: 'drain', reason: 'draining' });
  expect(pulls(effects)).toEqual([0]);
  expect(effects).not.toContainEqual(expect.objectContaining({ type: 'close' }));
  expect(lane.step({ type: 'batch', batch: batch(6, 10) })).toEqual([]);
  expect(lane.step(ack(6, 2000))).toContainEqual(
    expect.objectContaining({ type: 'close', failure: expect.objectContaining({ reason: 'draining' }) }),
  );
});

test('a source that fails ends the session with its reason, told to the other end', () => {
  const effects = sender().step({ type: 'source-failed', failure: { reason: 'source-missing', detail: 'S' } });
  expect(effects).toMatchObject([
    { type: 'send', frame: { kind: 'goodbye', reason: 'source-missing' } },
    { type: 'close', failure: { reason: 'source-missing' } },
  ]);
});

test('frames are numbered from 1 over batches and gaps', () => {
  const lane = sender();
  const numbers = [
    lane.step({ type: 'batch', batch: batch(5, 10) }),
    lane.step({
      type: 'gap',
      after: { incarnation: 'i', sequence: 6 },
      upTo: { incarnation: 'i', sequence: 9 },
      reason: 'expired',
    }),
    lane.step({ type: 'batch', batch: batch(9, 10) }),
  ].map(([effect]) =>
    effect?.type === 'send-batch'
      ? effect.frame
      : effect?.type === 'send' && effect.frame.kind === 'gap'
        ? effect.frame.frame
        : -1,
  );
  expect(numbers).toEqual([1, 2, 3]);
});
