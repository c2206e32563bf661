import fc from 'fast-check';
import { expect, test } from 'vitest';
import { SinkWorld } from '../../test/support/sink-world.ts';
import type { Reason } from '../wire/reasons.ts';

const [a, b] = ['l/a/h', 'l/b/h'];
const lane = fc.constantFrom(a, b);
const count = fc.integer({ min: 1, max: 9 });
const action = fc.oneof(
  { weight: 8, arbitrary: fc.record({ do: fc.constant('feed' as const), lane, count }) },
  { weight: 8, arbitrary: fc.record({ do: fc.constant('serve' as const), count }) },
  { weight: 8, arbitrary: fc.record({ do: fc.constant('answer' as const), count }) },
  { weight: 6, arbitrary: fc.record({ do: fc.constant('read' as const) }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('open' as const), lane }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('keep' as const), told: fc.boolean() }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('close' as const), lane }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('cut' as const), lost: fc.nat(9) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('restart' as const), lost: fc.nat(9) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('foreign' as const) }) },
);

/** A sink that refuses some records of each lane for good, one of them before it is sent. */
function world(reason: Reason = 'record-refused'): SinkWorld {
  const made = new SinkWorld([a, b], 38);
  made.sink.refuses = (id, sequence) => {
    if (id === a && sequence % 9 === 2) return { by: 'server', reason };
    return id === b && (sequence === 1 || sequence === 17 || sequence === 18) ? { by: 'log', reason } : undefined;
  };
  return made;
}

test('I1-I4: what the sink refuses for good is in the quarantine, everything else in the sink, and once each', () => {
  fc.assert(
    fc.property(fc.array(action, { maxLength: 120, size: 'max' }), fc.boolean(), (actions, others) => {
      const it = world();
      for (const step of actions) {
        if (step.do === 'feed') it.feed(step.lane, step.count);
        else if (step.do === 'serve') it.sink.serve(step.count);
        else if (step.do === 'answer') for (let i = 0; i < step.count; i++) it.answer();
        else if (step.do === 'read') it.read();
        else if (step.do === 'open') it.openLane(step.lane);
        else if (step.do === 'close') it.closeLane(step.lane);
        else if (step.do === 'keep') it.setAside(step.told);
        else if (step.do === 'foreign') others && it.sink.stored.push({ sequence: 0, previous: 0 });
        else {
          it.cut(step.lost);
          if (step.do === 'restart') it.restart();
          else it.step({ type: 'unsure', failure: { reason: 'nats-unreachable', detail: '' }, chainBroken: false });
        }
      }
      // A daemon that forgot to say so begins anew.
      it.closeLane(a);
      it.closeLane(b);
      it.settle();
      it.checkProofs();
      it.check(others);
    }),
    { numRuns: 80 },
  );
});

/** Feeds a lane and serves it until nothing moves; returns what it was refused for. */
function run(it: SinkWorld, id: string): readonly string[] {
  it.read();
  it.openLane(id);
  for (let i = 0; i < 300; i++) {
    it.feed(id, 5);
    it.sink.serve(100);
    for (let n = 0; n < 10; n++) it.answer();
    it.read();
    it.setAside();
    it.step({ type: 'tick' });
  }
  return it.failures.map(({ reason }) => reason);
}

test('a lane of which nothing was ever stored is not taken apart for a subject that it may not write', () => {
  for (const reason of ['nats-permission', 'sink-subject', 'not-granted'] as const) {
    for (const by of ['log', 'server'] as const) {
      const it = new SinkWorld([a], 30);
      it.sink.refuses = () => ({ by, reason });
      expect(run(it, a)).toEqual([reason]);
      expect(it.quarantine.size).toBe(0);
    }
  }
});

test('of a lane whose records are refused one after the other so many are set aside, and then it waits', () => {
  const at = (first: number, reason: Reason) => {
    const it = new SinkWorld([a], 300);
    it.holes = false;
    it.sink.refuses = (_, sequence) => (sequence < first ? undefined : { by: 'server', reason });
    expect(run(it, a)).toEqual([reason]);
    expect(it.writer.lane(a).cursor?.sequence).toBe(first - 1 + it.quarantine.size);
    // And what waits is tried again, but not set aside, until one is stored.
    const { size } = it.quarantine;
    run(it, a);
    expect(it.quarantine.size).toBe(size);
    it.sink.refuses = () => undefined;
    run(it, a);
    expect(it.writer.lane(a).cursor?.sequence).toBe(300);
    return size;
  };
  expect(at(6, 'sink-subject')).toBe(10);
  expect(at(6, 'record-refused')).toBe(100);
});

test('a record that was stored between two refused ones ends the row, though only the reading that follows tells of it', () => {
  const it = new SinkWorld([a], 60);
  it.holes = false;
  it.sink.refuses = (_, sequence) => (sequence % 2 === 1 ? undefined : { by: 'server', reason: 'sink-subject' });
  it.read();
  it.openLane(a);
  it.feed(a, 60);
  expect(run(it, a)).toEqual([]);
  expect(it.quarantine.size).toBe(30);
  expect(it.writer.lane(a).cursor?.sequence).toBe(60);
});

test('a subject that is refused for less than a minute costs no record its place', () => {
  const it = new SinkWorld([a], 20, { subjectPatienceMs: 60_000 });
  it.holes = false;
  it.sink.refuses = (_, sequence) => (sequence === 6 ? { by: 'server', reason: 'nats-permission' } : undefined);
  expect(run(it, a)).toEqual(['nats-permission']);
  it.now += 40_000;
  run(it, a);
  expect([it.writer.lane(a).cursor?.sequence, it.quarantine.size]).toEqual([5, 0]);
  it.now += 20_000;
  run(it, a);
  expect([it.writer.lane(a).cursor?.sequence, it.quarantine.size]).toEqual([20, 1]);
});

test('a quarantine that takes nothing ends the session, and its record is tried again in the next', () => {
  const it = world();
  it.read();
  it.openLane(b);
  it.feed(b, 5);
  const [first] = it.aside.splice(0);
  it.step({
    type: 'quarantine-failed',
    lane: b,
    epoch: first!.epoch,
    failure: { reason: 'quarantine-full', detail: '' },
  });
  expect(it.failures.map(({ reason }) => reason)).toEqual(['quarantine-full']);
  expect(it.writer.lane(b).cursor?.sequence ?? 0).toBe(0);
  // What comes too late counts for nothing.
  it.step({ type: 'quarantined', lane: b, epoch: first!.epoch });
  expect(it.writer.lane(b).cursor?.sequence ?? 0).toBe(0);
  it.failures.length = 0;
  it.settle();
  it.check(false);
});
