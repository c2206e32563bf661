import fc from 'fast-check';
import { expect, test } from 'vitest';
import { SinkWorld } from '../../test/support/sink-world.ts';

const lanes = ['l/a/h', 'l/b/h', 'l/c/h'];
const lane = fc.constantFrom(...lanes);
const common = [
  {
    weight: 8,
    arbitrary: fc.record({ do: fc.constant('feed' as const), lane, count: fc.integer({ min: 1, max: 9 }) }),
  },
  { weight: 8, arbitrary: fc.record({ do: fc.constant('serve' as const), count: fc.integer({ min: 1, max: 9 }) }) },
  { weight: 8, arbitrary: fc.record({ do: fc.constant('answer' as const), count: fc.integer({ min: 1, max: 9 }) }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('read' as const) }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('open' as const), lane }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('close' as const), lane }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('cut' as const), lost: fc.nat(9) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('restart' as const), lost: fc.nat(9) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('full' as const), room: fc.nat(5) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('roomy' as const) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('timeout' as const) }) },
];
const foreign = { weight: 2, arbitrary: fc.record({ do: fc.constant('foreign' as const) }) };
const ours = fc.oneof(...common);
const shared = fc.oneof(...common, foreign);
type Action = typeof shared extends fc.Arbitrary<infer T> ? T : never;

function play(actions: readonly Action[]): SinkWorld {
  // One of them leaves out much of what its source holds, often the last record of a batch or all of them.
  const world = new SinkWorld(
    lanes.map((id) => (id === 'l/c/h' ? { id, leftOut: (sequence) => sequence % 5 < 3 } : { id })),
    40,
  );
  for (const step of actions) {
    world.checkProofs();
    if (step.do === 'feed') world.feed(step.lane, step.count);
    else if (step.do === 'serve') world.sink.serve(step.count);
    else if (step.do === 'answer') for (let i = 0; i < step.count; i++) world.answer();
    else if (step.do === 'read') world.read();
    else if (step.do === 'open') world.openLane(step.lane);
    else if (step.do === 'close') world.closeLane(step.lane);
    else if (step.do === 'foreign') world.sink.stored.push({ sequence: 0, previous: 0 });
    else if (step.do === 'full') world.sink.limit = world.sink.stored.length + step.room;
    else if (step.do === 'roomy') world.sink.limit = Number.POSITIVE_INFINITY;
    else if (step.do === 'timeout') {
      world.now += 5000;
      world.step({ type: 'tick' });
    } else {
      world.cut(step.lost);
      if (step.do === 'restart') world.restart();
      else world.step({ type: 'unsure', failure: { reason: 'nats-unreachable', detail: '' }, chainBroken: false });
    }
  }
  world.checkProofs();
  world.settle();
  world.checkProofs();
  return world;
}

test('I1-I4: exactly once and in order through cuts, restarts, full sinks and lost answers', () => {
  fc.assert(
    fc.property(fc.array(ours, { maxLength: 120, size: 'max' }), (actions) => play(actions).check(false)),
    { numRuns: 80 },
  );
});

test('I1, I3, I4: exactly once on a stream that others write too', () => {
  fc.assert(
    fc.property(fc.array(shared, { maxLength: 120, size: 'max' }), (actions) => play(actions).check(true)),
    { numRuns: 80 },
  );
});

test('a hole left by a connection that came back late costs order, never a record and never a repeat', () => {
  const world = new SinkWorld(['l/a/h'], 6);
  world.read();
  world.openLane('l/a/h');
  world.feed('l/a/h', 3);
  // Only the second record gets through, late, behind a foreign one: its predecessor was never stored.
  const late = { ...world.sink.wire[1]!, expectLast: 1 };
  world.sink.wire.length = 0;
  world.sink.stored.push({ sequence: 0, previous: 0 }, late);
  world.step({ type: 'unsure', failure: { reason: 'nats-unreachable', detail: '' }, chainBroken: false });
  world.settle();
  const sequences = world.sink.stored.filter((stored) => stored.lane !== undefined).map((stored) => stored.sequence);
  expect(sequences).toEqual([2, 1, 3, 4, 5, 6]);
});

test('I2: what others wrote while nothing was under way costs neither order nor the chain', () => {
  const world = new SinkWorld(['l/a/h'], 13);
  world.read();
  world.openLane('l/a/h');
  for (const upTo of [2, 6, 13]) {
    world.now += 1000;
    world.sink.stored.push({ sequence: 0, previous: 0 });
    world.feed('l/a/h', upTo - world.fed.get('l/a/h')!);
    for (let round = 0; round < 5; round++) {
      world.sink.serve(100);
      for (let i = 0; i < 20; i++) world.answer();
      world.read();
    }
  }
  world.check(false);
  expect(world.writer.mode).toBe('chain');
});

test('a sink that is found to hold all that was in doubt is well: nobody would send anything to prove it', () => {
  const world = new SinkWorld(['l/a/h'], 10);
  world.read();
  world.openLane('l/a/h');
  world.feed('l/a/h', 3);
  world.sink.serve(1000);
  expect(world.sink.stored.length).toBeGreaterThan(0);
  world.sink.answers.length = 0;
  const failure = { reason: 'nats-unreachable', detail: '' } as const;
  world.step({ type: 'unsure', failure, chainBroken: false });
  world.step({ type: 'read-failed', failure });
  expect(world.writer.failure).toEqual(failure);
  world.read();
  expect([world.writer.lane('l/a/h').inFlight, world.writer.failure]).toEqual([0, undefined]);
});

test('where somebody else served a lane, and may do so still, the chain goes on; where others write by design, ids do', () => {
  const modes = [false, true].map((shared) => {
    const world = new SinkWorld(['l/a/h'], 20, { shared });
    world.read();
    world.openLane('l/a/h');
    const carry = (): void => {
      world.feed('l/a/h', 3);
      world.sink.serve(1000);
      while (world.sink.answers.length > 0) world.answer();
      world.read();
    };
    carry();
    world.sink.stored.push({ sequence: 0, previous: 0 });
    carry();
    carry();
    expect([world.writer.mode, world.writer.lane('l/a/h').inFlight]).toEqual(['id', 0]);
    world.step({ type: 'reread' });
    world.read();
    return world.writer.mode;
  });
  expect(modes).toEqual(['chain', 'id']);
});
