import { expect, test } from 'vitest';
import { SinkWorld, type WorldLane, type WorldOptions } from '../../test/support/sink-world.ts';
import { payloadDigest } from '../wire/position.ts';

const [a, copy, b] = ['l/a/h', 'm/a/h', 'l/b/h'] as const;
const foreign = { sequence: 0, previous: 0 };

/** Every lane open, nothing under way. */
function open(lanes: readonly (string | WorldLane)[], total: number, options: WorldOptions = {}): SinkWorld {
  const world = new SinkWorld(lanes, total, options);
  world.read();
  for (const { id } of world.lanes) world.openLane(id);
  return world;
}

function answerAll(world: SinkWorld): void {
  while (world.sink.answers.length > 0) world.answer();
}

function lost(world: SinkWorld): void {
  world.step({ type: 'unsure', failure: { reason: 'nats-unreachable', detail: '' }, chainBroken: false });
}

/** What it would be kept to hold, in numbers of one source. */
function held(world: SinkWorld, space: string, upTo: number): number[] {
  const set = world.writer.origins().spaces.get(space);
  return Array.from({ length: upTo }, (_, i) => i + 1).filter((n) => set?.has(n));
}

function origins(world: SinkWorld): (string | undefined)[] {
  return world.sink.stored.filter(({ lane }) => lane !== undefined).map(({ origin }) => origin);
}

test('what is kept ends where everything before it is stored, and has nothing of what is under way', () => {
  const world = open([a], 6);
  world.feed(a, 3);
  world.feed(a, 3);
  world.sink.serve(4);
  answerAll(world);
  expect(world.writer.origins()).toMatchObject({ upTo: 3, mark: { sinkSequence: 4, lane: a, sequence: 4 } });
  expect(held(world, 'a/S/i', 6)).toEqual([1, 2, 3]);
  world.sink.serve(2);
  answerAll(world);
  expect([world.writer.origins().upTo, held(world, 'a/S/i', 6)]).toEqual([6, [1, 2, 3, 4, 5, 6]]);
});

test('among the records of others the place of each is known from its own answer', () => {
  const world = open([a], 4, { shared: true });
  expect(world.writer.mode).toBe('id');
  world.sink.stored.push(foreign, foreign, foreign);
  world.feed(a, 2);
  world.sink.serve(2);
  world.sink.stored.push(foreign);
  answerAll(world);
  expect(world.writer.origins()).toMatchObject({ upTo: 5, mark: { sinkSequence: 5, sequence: 2 } });
  world.feed(a, 1);
  world.sink.serve(1);
  answerAll(world);
  expect(world.writer.origins()).toMatchObject({ upTo: 7, mark: { sinkSequence: 7, sequence: 3 } });
});

test('a shared stream stays in id mode; one that becomes shared goes there by way of a reading', () => {
  const world = open([a], 6, { shared: true });
  world.now += 100_000;
  world.step({ type: 'tick' });
  expect(world.writer.mode).toBe('id');
  const other = open([a], 6);
  other.feed(a, 6);
  other.sink.serve(2);
  other.step({ type: 'shared', shared: true });
  expect(other.writer.isOpen).toBe(false);
  other.sink.serve(10);
  other.settle();
  other.check(false);
  expect(other.writer.mode).toBe('id');
  other.step({ type: 'shared', shared: false });
  other.now += 100_000;
  other.step({ type: 'tick' });
  other.read();
  expect(other.writer.mode).toBe('chain');
});

test('nothing counts as complete while a copy may come of what is sent again', () => {
  const world = open([a, b], 1, { shared: true });
  world.feed(a, 1);
  world.feed(b, 1);
  world.cut(2, true);
  lost(world);
  world.read();
  // The record of b comes after all, before that of a is sent again.
  world.sink.late.reverse();
  world.sink.thaw(1);
  world.sink.serve(1);
  answerAll(world);
  expect(world.writer.lane(a).cursor?.sequence).toBe(1);
  expect(world.writer.origins().upTo).toBe(0);
  world.sink.serve(1);
  answerAll(world);
  expect(world.writer.origins().upTo).toBe(2);
  expect([held(world, 'a/S/i', 1), held(world, 'b/S/i', 1)]).toEqual([[1], [1]]);
});

test('the last record that was stored of a batch is a witness, also if the batch ended early or with what was held already', () => {
  const early = open([a], 20, { shared: true });
  early.feed(a, 10);
  // Four of them are under way.
  early.closeLane(a);
  early.sink.serve(10);
  answerAll(early);
  const known = open([a, { id: b, origin: (n) => (n <= 3 ? `b/S/i/${n}/0` : `a/S/i/${n - 3}/0`) }], 6);
  for (const lane of [a, b]) known.feed(lane, lane === a ? 3 : 6);
  known.sink.serve(10);
  answerAll(known);
  const proof = (sequence: number) => ({ position: { sequence }, digest: payloadDigest(Buffer.from(`${sequence}`)) });
  expect(early.writer.lane(a)).toMatchObject({ cursor: { sequence: 4 }, seen: undefined });
  expect(early.writer.lane(a).witness()).toMatchObject(proof(4));
  expect(known.writer.lane(b)).toMatchObject({ cursor: { sequence: 6 }, seen: proof(6) });
  expect(known.writer.lane(b).witness()).toMatchObject(proof(3));
});

test('I4: a copy that another lane left behind, and that comes after all, is not stored a second time', () => {
  for (const shared of [false, true]) {
    const world = open([a, copy], 1, { shared });
    world.feed(copy, 1);
    world.cut(1, true);
    lost(world);
    world.closeLane(copy);
    world.feed(a, 1);
    world.read();
    world.sink.thaw(1);
    world.settle();
    expect(origins(world)).toEqual(['a/S/i/1/0000000000']);
  }
});

test('a record of a cluster in whose name the peer may not speak ends the session, those before it are stored', () => {
  const world = new SinkWorld([{ id: a, origin: (n) => `${n < 3 ? 'a' : 'mill'}/S/i/${n}/0000000000` }], 5);
  const asked: string[] = [];
  world.acceptsOrigin = (cluster) => {
    asked.push(cluster);
    return false;
  };
  world.read();
  world.openLane(a);
  world.feed(a, 5);
  world.sink.serve(5);
  answerAll(world);
  expect(world.failures).toMatchObject([{ reason: 'origin-refused', detail: expect.stringContaining('mill') }]);
  expect(world.writer.lane(a).cursor?.sequence).toBe(2);
  expect(asked).toEqual(['mill']);
  world.closeLane(a);
  world.acceptsOrigin = () => true;
  world.failures.length = 0;
  world.settle();
  world.check(false);
});

test('a record that began in this very stream is dropped without asking for consent', () => {
  const world = new SinkWorld([{ id: a, origin: (n) => `h/T/i/${n}/0000000000` }], 3);
  world.acceptsOrigin = () => false;
  world.settle();
  expect([world.sink.stored, world.failures]).toEqual([[], []]);
});
