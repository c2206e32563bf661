import { expect, test } from 'vitest';
import { BatchBuilder, decodeBatch, type InBatch } from '../wire/batch.ts';
import { type Gap, protocolVersions } from '../wire/frame.ts';
import { LaneReceiver, negotiate } from './lane-receiver.ts';

const none = new Uint8Array();

function batch(
  after: number,
  count: number,
  frame: number,
  options: { epoch?: number; incarnation?: string } = {},
): InBatch {
  const builder = new BatchBuilder(options.incarnation ?? 'i', after, 10_000);
  for (let i = 1; i <= count; i++) builder.append(after + i, 0, 0, Buffer.from('s'), none, Buffer.alloc(100));
  return decodeBatch(builder.frame(options.epoch ?? 7, frame, 0));
}

function receiver(windowBytes = 1000): LaneReceiver {
  return new LaneReceiver({ epoch: 7, cursor: { incarnation: 'i', sequence: 10 }, windowBytes });
}

const feed = (to: LaneReceiver, arrived: InBatch) =>
  to.step({ type: 'frame', frame: { kind: 'batch', batch: arrived } });
const reasonOf = (effects: ReturnType<LaneReceiver['step']>) =>
  effects.find((effect) => effect.type === 'close')?.failure?.reason;

test('I2: a batch that follows on is appended; one that leaves a hole, repeats or skips a frame ends the session', () => {
  expect(feed(receiver(), batch(10, 2, 1))).toMatchObject([{ type: 'append' }]);
  expect(reasonOf(feed(receiver(), batch(11, 2, 1)))).toBe('bad-frame');
  expect(reasonOf(feed(receiver(), batch(9, 2, 1)))).toBe('bad-frame');
  expect(reasonOf(feed(receiver(), batch(10, 2, 2)))).toBe('bad-frame');
  expect(reasonOf(feed(receiver(), batch(10, 2, 1, { incarnation: 'j' })))).toBe('bad-frame');
});

test('frames of an older pair of ends are refused', () => {
  expect(reasonOf(feed(receiver(), batch(10, 2, 1, { epoch: 6 })))).toBe('superseded');
});

test('I5: more than the credit ends the session, one batch beyond it does not', () => {
  const to = receiver(150);
  expect(reasonOf(feed(to, batch(10, 3, 1)))).toBeUndefined();
  expect(reasonOf(feed(to, batch(13, 1, 2)))).toBe('credit-exceeded');
});

test('I1: the acknowledgement names what is stored, and gives back the credit for it', () => {
  const to = receiver(1000);
  const first = batch(10, 2, 1);
  feed(to, first);
  expect(to.ack()).toMatchObject({ stored: { sequence: 10 }, creditLimit: 1000 });
  to.step({ type: 'stored', position: { incarnation: 'i', sequence: 12 }, bytes: first.packed.length });
  expect(to.ack()).toMatchObject({ stored: { sequence: 12 }, creditLimit: 1000 + first.packed.length });
  expect(to.inFlightBytes).toBe(0);
});

test('a gap moves on to where the source goes on, if it follows what came before', () => {
  const gap = (after: number): Gap => ({
    kind: 'gap',
    epoch: 7,
    frame: 1,
    stripe: 0,
    after: { incarnation: 'i', sequence: after },
    upTo: { incarnation: 'j', sequence: 3 },
    reason: 'recreated',
  });
  const to = receiver();
  expect(to.step({ type: 'frame', frame: gap(10) })).toMatchObject([{ type: 'append-gap' }]);
  expect(feed(to, batch(3, 1, 2, { incarnation: 'j' }))).toMatchObject([{ type: 'append' }]);
  expect(reasonOf(receiver().step({ type: 'frame', frame: gap(9) }))).toBe('bad-frame');
});

test('after the end nothing is taken any more', () => {
  const to = receiver();
  to.step({ type: 'refused', failure: { reason: 'record-refused', detail: '' } });
  expect(feed(to, batch(10, 2, 1))).toEqual([]);
});

test('two daemons speak the highest version that both know, or say why not', () => {
  const { max } = protocolVersions;
  expect(negotiate(1, max + 2)).toBe(max);
  expect(negotiate(1, 1)).toBe(1);
  expect(negotiate(max + 1, max + 2)).toMatchObject({ reason: 'version-mismatch' });
  expect(negotiate(0, 0)).toMatchObject({ reason: 'version-mismatch' });
});
