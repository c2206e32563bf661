import { expect, test } from 'vitest';
import { SinkWorld, type WorldLane, type WorldOptions } from '../../test/support/sink-world.ts';
import { SinkLaneState } from './sink-lane-state.ts';

const [a, relayed, b] = ['l/a/h', 'm/b/h', 'l/b/h'] as const;
/** A lane that brings the records of the first one by another way. */
const copies: WorldLane = { id: relayed, origin: (sequence) => `a/S/i/${sequence}/0000000000` };

/** Every lane open, nothing under way. */
function open(lanes: readonly (string | WorldLane)[], total: number, options: WorldOptions = {}): SinkWorld {
  const world = new SinkWorld(lanes, total, options);
  world.read();
  for (const { id } of world.lanes) world.openLane(id);
  return world;
}

function lost(world: SinkWorld): void {
  world.step({ type: 'unsure', failure: { reason: 'nats-unreachable', detail: '' }, chainBroken: false });
}

/** Until nothing happens by itself any more; no lane opens, none gets anything new. */
function rest(world: SinkWorld): void {
  for (let round = 0; round < 20; round++) {
    world.sink.serve(100);
    while (world.sink.answers.length > 0) world.answer();
    world.read();
    world.step({ type: 'tick' });
  }
}

const sequences = (world: SinkWorld): number[] =>
  world.sink.stored.filter(({ lane }) => lane !== undefined).map(({ sequence }) => sequence);

test('I1: what was in flight at the byte bound when a failure came goes on after it', () => {
  const world = open([a, b], 60, { maxInFlightRecords: 50, maxInFlightBytes: 200 });
  for (let i = 0; i < 6; i++) for (const lane of [a, b]) world.feed(lane, 6);
  world.cut(1000);
  lost(world);
  world.settle();
  world.check(false);
});

test('I3: a copy of a record that was in flight, and came to nothing, is stored', () => {
  const world = open([a, copies], 3);
  for (const lane of [a, relayed]) world.feed(lane, 3);
  world.cut(1000);
  lost(world);
  // Its source is gone for good.
  world.closeLane(a);
  rest(world);
  expect(world.writer.lane(relayed).cursor?.sequence).toBe(3);
  expect(sequences(world)).toEqual([1, 2, 3]);
});

test('a sink that was made anew while nothing was under way is noticed by the first answer, in id mode too', () => {
  const world = open([a], 20, { shared: true });
  world.feed(a, 6);
  rest(world);
  world.sink.loseTail(6);
  world.feed(a, 4);
  world.sink.serve(4);
  world.answer();
  expect(world.writer.isOpen).toBe(false);
  expect(world.pendingRead).toMatchObject({ after: 6, lost: true });
});

test.each([true, false])(
  'I3: what was left to a lane whose records came to nothing is a hole; shared: %s',
  (shared) => {
    const world = open([a, copies], 4, { shared });
    world.feed(a, 3);
    world.feed(relayed, 4);
    expect(world.sink.wire.map(({ lane, sequence }) => `${lane} ${sequence}`)).toEqual([
      ...[1, 2, 3].map((sequence) => `${a} ${sequence}`),
      `${relayed} 4`,
    ]);
    // Dropped during an election; in a chain the other one passes if as many of others come.
    world.sink.wire.splice(0, 3);
    if (!shared) for (let i = 0; i < 3; i++) world.sink.stored.push({ sequence: 0, previous: 0 });
    world.sink.serve(1);
    world.sink.answers.length = 0;
    lost(world);
    world.closeLane(a);
    rest(world);
    expect(world.writer.lane(relayed).cursor?.sequence).toBe(4);
    expect(sequences(world)).toEqual([4, 1, 2, 3]);
  },
);

test('what a lane left to others shows as no hole once it is stored, not to a daemon that begins anew either', () => {
  const half: WorldLane = { id: relayed, origin: (n) => `${n <= 6 ? 'a' : 'x'}/S/i/${n}/0000000000` };
  const world = open([a, half], 10, { shared: true });
  world.feed(a, 6);
  rest(world);
  world.feed(relayed, 10);
  rest(world);
  world.restart();
  world.read();
  expect(world.writer.lane(relayed)).toMatchObject({ cursor: { sequence: 10 }, ahead: new Set() });
});

/** What a lane sent comes late, after its session ended, and another lane has gone on. */
function comesLate(): SinkWorld {
  const world = open([a, b], 4, { shared: true });
  world.feed(a, 2);
  world.cut(1000, true);
  lost(world);
  world.closeLane(a);
  world.read();
  world.feed(b, 1);
  rest(world);
  world.sink.thaw(10);
  world.feed(b, 1);
  rest(world);
  expect(world.sink.stored.map(({ lane, sequence }) => `${lane} ${sequence}`)).toEqual([
    `${b} 1`,
    `${a} 1`,
    `${a} 2`,
    `${b} 2`,
  ]);
  // Nothing of what may have come is taken for looked at.
  expect(world.writer.completeUpTo).toBe(0);
  return world;
}

test('I4: what comes late of a lane whose session ended is found before the lane goes on', () => {
  const world = comesLate();
  world.sink.ids.clear();
  world.settle();
  world.check(true);
});

test('I4: what comes late of a lane that is gone for good is found when no more can come, and other lanes are not held up before', () => {
  const world = comesLate();
  expect(world.writer.isOpen).toBe(true);
  world.now += 5000;
  world.step({ type: 'tick' });
  expect(world.pendingRead).toMatchObject({ after: 0 });
  world.read();
  expect(world.writer.lane(a).cursor?.sequence).toBe(2);
  expect(world.writer.completeUpTo).toBe(4);
  world.feed(b, 1);
  rest(world);
  expect(world.writer.completeUpTo).toBe(5);
});

test('what was given up and is all there keeps nothing from being complete', () => {
  const world = open([a, b], 4, { shared: true });
  world.feed(a, 2);
  world.cut(0);
  lost(world);
  world.closeLane(a);
  world.read();
  world.feed(b, 1);
  rest(world);
  expect([world.writer.lane(a).cursor?.sequence, world.writer.completeUpTo]).toEqual([2, 3]);
});

test("the place of a record that was held already under another lane is nobody's", () => {
  const world = open([a, copies], 4, { shared: true });
  world.feed(a, 2);
  world.cut(1000, true);
  lost(world);
  world.closeLane(a);
  world.read();
  world.sink.thaw(10);
  world.feed(relayed, 2);
  rest(world);
  expect(world.writer.lane(relayed)).toMatchObject({ cursor: { sequence: 2 }, last: undefined });
  expect(world.writer.lane(relayed).seen?.position.sequence).toBe(2);
  // But that it is there can be proven.
  expect(world.writer.mark).toMatchObject({ sinkSequence: 2, lane: a, sequence: 2 });
  expect(sequences(world)).toEqual([1, 2]);
});

test('what lies behind a hole holds the numbers of its own incarnation only', () => {
  const lane = new SinkLaneState(a);
  const origin = { space: 'a/S/x', sequence: 4, time: 0, seconds: 1, nanos: 1 };
  lane.observe({ sinkSequence: 1, lane: a, position: { incarnation: 'x', sequence: 4 }, previous: 3, origin }, true);
  expect([lane.cursor, lane.holds('x', 4), lane.holds('y', 4)]).toEqual([undefined, true, false]);
  lane.moveCursor({ incarnation: 'y', sequence: 0 });
  expect(lane.holds('y', 4)).toBe(false);
});
