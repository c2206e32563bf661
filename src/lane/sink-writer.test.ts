import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { SinkLane, SinkLog, TailRecord } from '../brokers/broker.ts';
import { OriginIndex } from '../dedupe/origin-index.ts';
import { BatchBuilder, decodeBatch } from '../wire/batch.ts';
import type { Failure } from '../wire/reasons.ts';
import type { RecordView } from '../wire/record-view.ts';
import { SinkWriter } from './sink-writer.ts';
import type { SinkWriterEffect, SinkWriterEvent } from './sink-writer-events.ts';

interface Stored {
  readonly lane?: string;
  readonly sequence: number;
  readonly previous: number;
}
interface Sent extends Stored {
  readonly expectLast: number | undefined;
  readonly round: number;
  readonly ordinal: number;
}

/** A sink stream in memory, with the answers a server gives, and the wire before it as a queue that faults can cut. */
class FakeSink implements SinkLog {
  readonly stored: Stored[] = [];
  readonly ids = new Map<string, number>();
  wire: Sent[] = [];
  round = 0;
  ordinal = 0;
  limit = Number.POSITIVE_INFINITY;
  readonly answers: SinkWriterEvent[] = [];

  restart(): void {
    this.round++;
    this.ordinal = 0;
    this.answers.length = 0;
  }
  append(view: RecordView, lane: SinkLane, _inc: string, previous: number, expectLast: number | undefined): undefined {
    this.ordinal++;
    this.wire.push({
      lane: lane.id,
      sequence: view.sequence,
      previous,
      expectLast,
      round: this.round,
      ordinal: this.ordinal,
    });
  }
  /** The server handles up to `count` messages that have arrived. */
  serve(count: number): void {
    for (const sent of this.wire.splice(0, count)) {
      const id = `${sent.lane}.${sent.sequence}`;
      const known = sent.expectLast === undefined ? this.ids.get(id) : undefined;
      const fits = sent.expectLast === undefined || this.stored.length === sent.expectLast;
      const full = this.stored.length >= this.limit;
      const stored = fits && !full && known === undefined;
      if (stored) this.stored.push(sent);
      if (stored && sent.expectLast === undefined) this.ids.set(id, this.stored.length);
      if (sent.round !== this.round) continue;
      const failure: Failure = { reason: full ? 'sink-full' : 'superseded', detail: '' };
      const sinkSequence = known ?? this.stored.length;
      if (stored || known !== undefined) this.answers.push({ type: 'stored', count: sent.ordinal, sinkSequence });
      else this.answers.push({ type: 'unsure', failure, chainBroken: !full });
    }
  }
}

function sinkLane(id: string): SinkLane {
  return { id, from: id.split('/')[1]!, sourceStream: 'S', map: (subject) => subject, allows: () => true };
}

/** Drives one writer over a fake sink, and feeds each lane in order from its cursor, as sessions do. */
class World {
  readonly sink = new FakeSink();
  readonly lanes: string[];
  readonly total: number;
  writer!: SinkWriter;
  now = 0;
  epoch = 0;
  pendingRead: number | undefined;
  readonly fed = new Map<string, number>();
  readonly open = new Map<string, number>();
  readonly failures: string[] = [];

  constructor(lanes: string[], total: number) {
    this.lanes = lanes;
    this.total = total;
    this.restart();
  }

  /** The process starts anew and knows nothing but what the sink holds. */
  restart(): void {
    this.writer = new SinkWriter(this.sink, new OriginIndex(), 'h/T', {
      maxInFlightRecords: 7,
      maxInFlightIdRecords: 4,
      maxInFlightBytes: 100_000,
      answerTimeoutMs: 1000,
      idModeMs: 3000,
    });
    this.open.clear();
    this.fed.clear();
    this.pendingRead = undefined;
    this.step({ type: 'start', accounted: 0 });
  }

  step(event: SinkWriterEvent): void {
    this.now++;
    this.apply(this.writer.step(event, this.now));
  }

  apply(effects: readonly SinkWriterEffect[]): void {
    for (const effect of effects) {
      if (effect.type === 'read') this.pendingRead = effect.after;
      if (effect.type === 'refused') this.failures.push(effect.failure.detail);
    }
  }

  answer(): void {
    const answer = this.sink.answers.shift();
    if (answer !== undefined) this.step(answer);
  }

  read(): void {
    if (this.pendingRead === undefined) return;
    const after = this.pendingRead;
    this.pendingRead = undefined;
    this.sink.stored.slice(after).forEach((stored, i) => {
      const sinkSequence = after + i + 1;
      let record: TailRecord | undefined;
      if (stored.lane !== undefined) {
        record = {
          sinkSequence,
          lane: stored.lane,
          position: { incarnation: 'i', sequence: stored.sequence },
          previous: stored.previous,
          origin: { space: `${stored.lane.split('/')[1]}/S/i`, sequence: stored.sequence, seconds: 0, nanos: 0 },
        };
      }
      this.writer.observe(sinkSequence, record);
    });
    this.step({ type: 'tail', lastSequence: this.sink.stored.length });
  }

  feed(lane: string, count: number): void {
    const epoch = this.open.get(lane);
    if (epoch === undefined) return;
    const from = this.fed.get(lane)!;
    const to = Math.min(this.total, from + count);
    if (to === from) return;
    const builder = new BatchBuilder('i', from, 4096);
    const none = new Uint8Array();
    for (let sequence = from + 1; sequence <= to; sequence++) {
      // Every seventh number does not exist at the source.
      if (sequence % 7 !== 0) builder.append(sequence, 0, 0, Buffer.from('s'), none, Buffer.from(`${sequence}`));
    }
    builder.lastSequence = to;
    this.fed.set(lane, to);
    this.step({ type: 'batch', lane, epoch, batch: decodeBatch(builder.frame(epoch, 1, 0)) });
  }

  openLane(lane: string): void {
    if (this.open.has(lane) || !this.writer.isOpen || this.writer.lane(lane).inFlight > 0) return;
    this.epoch++;
    this.open.set(lane, this.epoch);
    this.fed.set(lane, this.writer.lane(lane).cursor?.sequence ?? 0);
    this.step({ type: 'open', lane: sinkLane(lane), epoch: this.epoch });
  }

  closeLane(lane: string): void {
    const epoch = this.open.get(lane);
    if (epoch === undefined) return;
    this.open.delete(lane);
    this.step({ type: 'close', lane, epoch });
  }

  /** No more faults: everything must arrive. */
  settle(): void {
    this.sink.limit = Number.POSITIVE_INFINITY;
    for (let round = 0; round < 2000; round++) {
      for (const lane of this.lanes) {
        this.openLane(lane);
        this.feed(lane, 5);
      }
      this.sink.serve(1000);
      for (let i = 0; i < 20; i++) this.answer();
      this.read();
      if (round % 10 === 9) this.now += 2000;
      this.step({ type: 'tick' });
      const done = this.lanes.every(
        (lane) => this.writer.lane(lane).cursor?.sequence === this.total && this.writer.lane(lane).inFlight === 0,
      );
      if (done && this.pendingRead === undefined) return;
    }
    throw new Error('the lanes do not come to rest');
  }

  /** The delivery oracle: exactly once, and in order unless `anyOrder`, per lane. */
  check(anyOrder: boolean): void {
    const expected: number[] = [];
    for (let sequence = 1; sequence <= this.total; sequence++) if (sequence % 7 !== 0) expected.push(sequence);
    for (const lane of this.lanes) {
      const stored = this.sink.stored.filter((stored) => stored.lane === lane).map((stored) => stored.sequence);
      expect(anyOrder ? stored.sort((a, b) => a - b) : stored).toEqual(expected);
    }
    expect(this.failures).toEqual([]);
  }
}

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

function play(actions: readonly Action[]): World {
  const world = new World(lanes, 40);
  for (const step of actions) {
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
      // The connection drops: the newest of what was on the wire is lost, the rest is served before anything newer.
      world.sink.wire.splice(Math.max(0, world.sink.wire.length - step.lost));
      world.sink.serve(1000);
      world.sink.answers.length = 0;
      if (step.do === 'restart') world.restart();
      else world.step({ type: 'unsure', failure: { reason: 'nats-unreachable', detail: '' }, chainBroken: false });
    }
  }
  world.settle();
  return world;
}

test('I1-I4: exactly once and in order through cuts, restarts, full sinks and lost answers', () => {
  fc.assert(
    fc.property(fc.array(ours, { maxLength: 120 }), (actions) => play(actions).check(false)),
    { numRuns: 150 },
  );
});

test('I1, I3, I4: exactly once on a stream that others write too', () => {
  fc.assert(
    fc.property(fc.array(shared, { maxLength: 120 }), (actions) => play(actions).check(true)),
    { numRuns: 150 },
  );
});

test('a hole left by a connection that came back late costs order, never a record and never a repeat', () => {
  const world = new World(['l/a/h'], 6);
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
  const world = new World(['l/a/h'], 13);
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
