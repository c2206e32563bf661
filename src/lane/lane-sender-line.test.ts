import { expect, test } from 'vitest';
import { windowOf } from '../../test/support/memory.ts';
import { BatchBuilder } from '../wire/batch.ts';
import { LaneSender, type SenderEffect } from './lane-sender.ts';
import type { LineShare } from './line.ts';

/** A line that has room for so many pieces, as the test says. */
class TestLine implements LineShare {
  pieceBytes = 250;
  room = 0;
  sentBytes = 0;
  asked = 0;
  refusals = 0;
  readonly isFull = false;

  request(): boolean {
    this.asked++;
    return this.room > 0;
  }
  sent(bytes: number): void {
    this.room--;
    this.sentBytes += bytes;
  }
  refused(): void {
    this.refusals++;
  }
  arrived(): void {}
  leave(): void {}
}

/** Ten records of some 100 bytes each. */
function batch(after: number, records = 10): BatchBuilder {
  const builder = new BatchBuilder('i', after, 4000);
  for (let i = 1; i <= records; i++)
    builder.append(after + i, 0, 0, Buffer.from('s'), new Uint8Array(), Buffer.alloc(80));
  return builder;
}

function rig(room: number, creditLimit = 100_000) {
  const line = new TestLine();
  line.room = room;
  const cursor = { incarnation: 'i', sequence: 0 };
  const outbox = windowOf(50_000);
  const lane = new LaneSender({ epoch: 3, cursor, creditLimit }, { outbox, line });
  lane.start();
  return { line, lane };
}

/** What is sent and asked for, in short. */
const told = (effects: readonly SenderEffect[]) =>
  effects.map((effect) => {
    if (effect.type === 'send-batch')
      return `${effect.frame}: ${effect.batch.firstSequence}-${effect.batch.lastSequence}`;
    if (effect.type === 'send') return effect.frame.kind === 'gap' ? `${effect.frame.frame}: gap` : effect.frame.kind;
    return effect.type === 'pull' ? (effect.bytes === 0 ? 'stop' : 'pull') : effect.type;
  });

test('a batch goes in pieces, as the line has room, and nothing is read meanwhile; then what came behind it', () => {
  const { line, lane } = rig(2);
  const whole = batch(0).rawBytes;
  expect(told(lane.step({ type: 'batch', batch: batch(0) }))).toEqual(['1: 1-2', '2: 3-4', 'stop']);
  const after = { incarnation: 'i', sequence: 10 };
  const gap = { type: 'gap', after, upTo: { incarnation: 'i', sequence: 20 }, reason: 'expired' } as const;
  expect(told(lane.step(gap))).toEqual([]);
  line.room = 1;
  expect(told(lane.step({ type: 'turn' }))).toEqual(['3: 5-6']);
  expect(told(lane.step({ type: 'turn' }))).toEqual([]);
  line.room = 5;
  expect(told(lane.step({ type: 'turn' }))).toEqual(['4: 7-8', '5: 9-10', '6: gap', 'pull']);
  expect(line.sentBytes).toBe(whole);
  line.pieceBytes = 100_000;
  expect(told(lane.step({ type: 'batch', batch: batch(20) }))).toEqual(['7: 21-30', 'pull']);
});

test('a batch without records needs no room, and keeps its place', () => {
  const { lane } = rig(0);
  const empty = (after: number) => {
    const builder = new BatchBuilder('i', after, 0);
    builder.pass(after + 1, 1, 1, Buffer.from('p'));
    return builder;
  };
  expect(told(lane.step({ type: 'batch', batch: empty(0) }))).toEqual(['1: 1-1']);
  expect(told(lane.step({ type: 'batch', batch: batch(1) }))).toEqual(['stop']);
  expect(told(lane.step({ type: 'batch', batch: empty(11) }))).toEqual([]);
});

test('I5: a lane without credit does not stand in line for room, and no piece goes beyond the credit', () => {
  const { line, lane } = rig(100, 250);
  expect(told(lane.step({ type: 'batch', batch: batch(0) }))).toEqual(['1: 1-2', '2: 3-4', 'stop']);
  const { asked } = line;
  lane.step({ type: 'turn' });
  expect(line.asked).toBe(asked);
  const frame = { kind: 'ack', epoch: 3, stored: undefined, creditLimit: 450, arrivedBytes: 0, arrivedMs: 0 } as const;
  expect(told(lane.step({ type: 'frame', frame }))).toEqual(['3: 5-6']);
});

test('a drain waits for the pieces that were sent, and leaves the others where they are', () => {
  const { lane } = rig(1);
  lane.step({ type: 'batch', batch: batch(0) });
  expect(told(lane.step({ type: 'drain', reason: 'draining' }))).toEqual(['stop', 'drain']);
  expect(told(lane.step({ type: 'turn' }))).toEqual([]);
  const stored = { incarnation: 'i', sequence: 2 };
  const frame = { kind: 'ack', epoch: 3, stored, creditLimit: 1, arrivedBytes: 100, arrivedMs: 0 } as const;
  expect(told(lane.step({ type: 'frame', frame }))).toEqual(['settle', 'goodbye', 'close']);
});

test('more than was sent cannot have arrived', () => {
  const { lane } = rig(1);
  lane.step({ type: 'batch', batch: batch(0) });
  const frame = { kind: 'ack', epoch: 3, stored: undefined, creditLimit: 1, arrivedBytes: 1000, arrivedMs: 0 } as const;
  expect(lane.step({ type: 'frame', frame })).toContainEqual(
    expect.objectContaining({ type: 'close', failure: expect.objectContaining({ reason: 'bad-frame' }) }),
  );
});

test('the line hears that the transport takes no more, but not that the receiver does', () => {
  const { line, lane } = rig(100);
  line.pieceBytes = 100_000;
  for (let after = 0; line.sentBytes < 49_000 && after < 1000; after += 10)
    lane.step({ type: 'batch', batch: batch(after) });
  expect(line.refusals).toBe(0);
  lane.step({ type: 'batch', batch: batch(1000) });
  expect(line.refusals).toBe(1);
  const poor = rig(100, 2000);
  for (let i = 0; i < 50; i += 10) poor.lane.step({ type: 'batch', batch: batch(i) });
  expect([poor.lane.creditBytes <= 0, poor.line.refusals]).toEqual([true, 0]);
});
