import { expect, test } from 'vitest';
import { windowOf } from '../../test/support/memory.ts';
import { MemoryBudget, type MemoryShare } from '../lib/memory-budget.ts';
import { BatchBuilder, decodeBatch, type InBatch } from '../wire/batch.ts';
import { type Gap, protocolVersions } from '../wire/frame.ts';
import { creditBytes, LaneReceiver, negotiate } from './lane-receiver.ts';

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
  return new LaneReceiver({
    epoch: 7,
    cursor: { incarnation: 'i', sequence: 10 },
    memory: windowOf(windowBytes),
    batchBytes: 0,
    creditLimit: windowBytes,
  });
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
  to.step({ type: 'stored', position: { incarnation: 'i', sequence: 12 }, bytes: first.packed.length, nowMs: 0 });
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

/** Of the batches that these lanes send. */
const batchBytes = batch(10, 5, 1).packed.length + 30;

/** A lane whose sender sends as much as it may as soon as it may, in batches of five records. */
class GreedyLane {
  readonly to: LaneReceiver;
  readonly memory: MemoryShare;
  limitBytes: number;
  storedBytes = 0;
  #stored = 10;
  #frames = 0;
  readonly #sent: number[] = [];

  constructor(memory: MemoryShare) {
    this.memory = memory;
    this.limitBytes = creditBytes(memory, batchBytes);
    const cursor = { incarnation: 'i', sequence: 10 };
    this.to = new LaneReceiver({ epoch: 7, cursor, memory, batchBytes, creditLimit: this.limitBytes });
  }

  send(): void {
    while (this.storedBytes + this.to.inFlightBytes < this.limitBytes) {
      const arrived = batch(10 + 5 * this.#frames, 5, ++this.#frames);
      this.#sent.push(arrived.packed.length);
      const reason = reasonOf(feed(this.to, arrived));
      if (reason !== undefined) throw new Error(reason);
    }
  }

  /** The sink stores the oldest batch. */
  store(): void {
    const bytes = this.#sent.shift()!;
    this.storedBytes += bytes;
    this.#stored += 5;
    this.to.step({ type: 'stored', position: { incarnation: 'i', sequence: this.#stored }, bytes, nowMs: 0 });
    this.limitBytes = this.to.ack().creditLimit;
  }
}

function greedy(bytes: number, count: number): { readonly budget: MemoryBudget; readonly lanes: GreedyLane[] } {
  const budget = new MemoryBudget({ bytes, leastBytes: 1000, firstBytes: 2000 });
  return { budget, lanes: Array.from({ length: count }, () => new GreedyLane(budget.share(64_000))) };
}

test('I5: a sink that stands still gets no more than it had; its neighbours go on, and all keep within the budget', () => {
  const bytes = 200_000;
  const { budget, lanes } = greedy(bytes, 12);
  const [still, moving] = [lanes.slice(0, 3), lanes.slice(3)];
  const held = (of: readonly GreedyLane[]) => of.reduce((sum, { to }) => sum + to.inFlightBytes, 0);
  const windows = (of: readonly GreedyLane[]) => of.map(({ memory }) => memory.windowBytes);
  let [peakBytes, peakUsed] = [0, 0];
  const round = (stores: readonly GreedyLane[]): void => {
    for (const lane of lanes) lane.send();
    peakBytes = Math.max(peakBytes, held(lanes));
    peakUsed = Math.max(peakUsed, budget.usedBytes);
    for (const lane of stores) lane.store();
  };
  for (let i = 0; i < 20; i++) round(lanes);
  round(moving);
  const before = held(still);
  for (let i = 0; i < 200; i++) round(moving);
  expect(held(still)).toBe(before);
  expect(Math.min(...windows(moving))).toBeGreaterThanOrEqual(bytes / 2 / 12 / 2);
  for (let i = 0; i < 400; i++) round(lanes);
  expect(Math.max(...windows(lanes))).toBeLessThanOrEqual(2 * Math.min(...windows(lanes)));
  expect(peakBytes).toBeGreaterThan(bytes / 2);
  expect(peakBytes).toBeLessThanOrEqual(bytes);
  expect(peakUsed).toBeLessThanOrEqual(bytes);
});

test('a lane begins with a small credit, which grows with what is stored and is never taken back', () => {
  const [lane] = greedy(1_000_000, 1).lanes as [GreedyLane];
  expect(lane.limitBytes).toBe(2000 - batchBytes);
  for (let i = 0; i < 300; i++) {
    const before = lane.limitBytes;
    lane.send();
    lane.store();
    expect(lane.limitBytes).toBeGreaterThanOrEqual(before);
  }
  expect(lane.limitBytes - lane.storedBytes).toBe(64_000 - batchBytes);
});
