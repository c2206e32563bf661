import fc from 'fast-check';
import { expect, test } from 'vitest';
import { existing, SinkWorld, type WorldLane } from '../../test/support/sink-world.ts';

/** The records of one source come by three ways, each of which leaves out or adds something; those of another by one. */
const lanes: readonly WorldLane[] = [
  { id: 'l/a/h' },
  { id: 'm/a/h', origin: (n) => `a/S/i/${n}/0000000000` },
  { id: 'm/r/h', origin: (n) => `${n % 4 === 0 ? 'r' : 'a'}/S/i/${n}/0000000000` },
  { id: 'l/b/h' },
];
const total = 24;
const origins = [
  ...existing(total).map((n) => `a/S/i/${n}/0000000000`),
  ...existing(total).map((n) => `b/S/i/${n}/0000000000`),
  ...existing(total).flatMap((n) => (n % 4 === 0 ? [`r/S/i/${n}/0000000000`] : [])),
].sort();

const lane = fc.constantFrom(...lanes.map(({ id }) => id));
const some = fc.integer({ min: 1, max: 9 });
const action = fc.oneof(
  { weight: 8, arbitrary: fc.record({ do: fc.constant('feed' as const), lane, count: some }) },
  { weight: 6, arbitrary: fc.record({ do: fc.constant('serve' as const), count: some }) },
  { weight: 6, arbitrary: fc.record({ do: fc.constant('answer' as const), count: some }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('read' as const) }) },
  { weight: 5, arbitrary: fc.record({ do: fc.constant('open' as const), lane }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('close' as const), lane }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('cut' as const), count: some, late: fc.boolean() }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('drop' as const), at: fc.nat(6) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('thaw' as const), count: some }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('restart' as const), count: some }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('foreign' as const) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('later' as const) }) },
);
type Action = typeof action extends fc.Arbitrary<infer T> ? T : never;

function lost(world: SinkWorld): void {
  world.sink.answers.length = 0;
  world.step({ type: 'unsure', failure: { reason: 'nats-unreachable', detail: '' }, chainBroken: false });
}

function play(actions: readonly Action[], world: SinkWorld): void {
  for (const step of actions) {
    if (step.do === 'feed') world.feed(step.lane, step.count);
    else if (step.do === 'serve') world.sink.serve(step.count);
    else if (step.do === 'answer') for (let i = 0; i < step.count; i++) world.answer();
    else if (step.do === 'read') world.read();
    else if (step.do === 'open') world.openLane(step.lane);
    else if (step.do === 'close') world.closeLane(step.lane);
    else if (step.do === 'thaw') world.sink.thaw(step.count);
    else if (step.do === 'foreign') world.sink.stored.push({ sequence: 0, previous: 0 });
    else if (step.do === 'drop') {
      // As at an election: the sink takes what follows.
      world.sink.wire.splice(step.at, 1);
      world.sink.serve(1000);
      lost(world);
    } else if (step.do === 'later') {
      // What was late has come by now. While nothing waits to be sent again, the sink may forget the ids too.
      world.sink.thaw(1000);
      const quiet = lanes.every(({ id }) => world.writer.lane(id).inFlight === 0);
      world.now += 5000;
      world.step({ type: 'tick' });
      if (quiet) world.read();
      if (quiet) world.sink.ids.clear();
    } else {
      // In a chain, where others write, a late copy may stand in for the very record that is expected (0002): not looked at here.
      world.cut(step.count, step.do === 'cut' && step.late && world.options.shared);
      // A new process knows nothing of what the one before it may have under way still.
      if (step.do === 'restart') world.sink.thaw(1000);
      if (step.do === 'restart') world.restart();
      else lost(world);
    }
    checkPlaces(world);
  }
  world.settle();
  world.sink.thaw(1000);
  world.settle();
}

/** What is taken for the place of a record holds that record. */
function checkPlaces(world: SinkWorld): void {
  for (const { id } of lanes) {
    const { last } = world.writer.lane(id);
    if (last === undefined || last.sinkSequence === 0) continue;
    expect(world.sink.stored[last.sinkSequence - 1]).toMatchObject({ lane: id, sequence: last.position.sequence });
  }
}

test.each([true, false])(
  'I1, I3, I4: what comes by several ways is there once, whatever of it is lost or late; shared: %s',
  (shared) => {
    fc.assert(
      fc.property(fc.array(action, { maxLength: 120, size: 'max' }), (actions) => {
        const world = new SinkWorld(lanes, total, { shared });
        play(actions, world);
        const stored = world.sink.stored.flatMap(({ origin }) => (origin === undefined ? [] : [origin]));
        expect(stored.sort()).toEqual(origins);
        expect(world.failures).toEqual([]);
      }),
      { numRuns: 80 },
    );
  },
);
