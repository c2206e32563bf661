import fc from 'fast-check';
import { expect, test } from 'vitest';
import { existing, SinkWorld, type WorldLane } from '../../test/support/sink-world.ts';
import type { SinkFacts, SinkMessage } from '../brokers/broker.ts';
import type { Checkpoint, StoredOrigins } from '../brokers/store.ts';
import { spacesFromJson, spacesToJson } from '../dedupe/origin-snapshot.ts';
import { WitnessHistory } from '../lane/witness-history.ts';
import { silentLogger } from '../lib/logger.ts';
import { payloadDigest } from '../wire/position.ts';
import { checkpointOf, findDigest, lostTail, recall } from './sink-recall.ts';
import { SinkWatch } from './sink-watch.ts';

const origin = (sequence: number) => `a/S/i/${sequence}/0000000000`;
/** Two links that carry the same stream, and a third way over another cluster. */
const lanes: readonly WorldLane[] = [
  { id: 'l/a/h' },
  { id: 'm/a/h', leftOut: (sequence) => sequence % 5 < 3 },
  { id: 'l/r/h', origin },
  { id: 'l/b/h' },
];
const created = '2026-11-22T10:00:00Z';

/** A daemon that keeps checkpoints and what the sink holds by origin, each now and then, and starts anew from whatever it kept. */
class Remembering extends SinkWorld {
  readonly checkpoints = new Map<string, Checkpoint>();
  readonly histories = new Map<string, WitnessHistory>();
  origins: StoredOrigins | undefined;
  scannedFrom = 0;
  readonly watch = new SinkWatch({
    log: silentLogger,
    writer: () => this.writer,
    sink: () => this.messages,
    lost: () => {
      this.lost = true;
      this.step({ type: 'reread' });
    },
  });
  /** The sink lost records of ours that the daemon knows, and it goes on as if they were there. */
  unnoticed = false;
  /** As it is in SinkStream. */
  lost = false;
  /**
   * What was sent before a loss was noticed is stored behind it: it names no predecessor that another lane had brought, and that may be
   * gone by then. Its lane has passed that one, and only the lane that brought it brings it again.
   */
  storedBehindLoss = false;
  created = created;

  /** A session opens with the checkpoint that its epoch is. */
  override openLane(id: string): void {
    const { epoch } = this;
    super.openLane(id);
    if (this.epoch > epoch) this.keep(id);
  }

  keep(id: string): Checkpoint {
    const history = this.histories.get(id) ?? new WitnessHistory();
    this.histories.set(id, history);
    const checkpoint = checkpointOf(this.writer, id, history);
    this.checkpoints.set(id, checkpoint);
    return checkpoint;
  }

  async saveLane(id: string): Promise<void> {
    await findDigest(this.writer.lane(id), this.messages);
    const checkpoint = this.keep(id);
    const { cursor, seen, witnesses } = checkpoint;
    if (cursor !== undefined && cursor.sequence > 0 && !this.isExpired(id, cursor.sequence))
      expect((seen ?? witnesses[0])?.position).toEqual(cursor);
  }

  saveOrigins(): void {
    const { upTo, mark, spaces } = this.writer.origins();
    if (mark === undefined && spaces.size > 0) return;
    const again = spacesFromJson(JSON.parse(JSON.stringify(spacesToJson(spaces))));
    this.origins = { upTo, mark, spaces: again!, created: this.created };
  }

  /** As SinkStream does it when it starts, and when it begins anew. */
  async remember(): Promise<void> {
    this.forget();
    this.histories.clear();
    this.unnoticed = false;
    const facts = { created: this.created, lastSequence: this.sink.stored.length } as SinkFacts;
    const { writer, index } = this;
    const context = { sink: this.messages, facts, floor: 0, isLost: this.lost, writer, index, log: silentLogger };
    const { from, mark, lost } = await recall([...this.checkpoints.values()], this.origins, context);
    if (lost) {
      this.origins = undefined;
      for (const id of this.checkpoints.keys())
        this.checkpoints.set(id, checkpointOf(this.writer, id, new WitnessHistory()));
    }
    this.lost = false;
    this.scannedFrom = from;
    this.step({ type: 'start', accounted: from, last: facts.lastSequence, mark });
  }

  get messages() {
    return { messageAt: async (sequence: number) => this.messageAt(sequence) };
  }

  /** As SinkStream does it. */
  async readAndProve(): Promise<void> {
    if (this.pendingRead === undefined) return;
    const { mark, storedUpTo } = this.writer;
    this.sink.serve(1000);
    const last = this.sink.stored.length;
    this.lost ||= this.pendingRead.lost || last < storedUpTo || (await lostTail(mark, last, this.messages));
    if (this.lost) await this.remember();
    this.read();
  }

  /** As SinkStream does it before it keeps anything, which it then does not. */
  async mayKeep(): Promise<boolean> {
    return this.writer.isOpen && (await this.watch.holds(this.now));
  }

  /** The stream is restored from an older copy, and written by others meanwhile. */
  loseTail(count: number, others: number): void {
    const { mark } = this.writer;
    // A late copy of the marked record would look like it if, of all places, it came to stand in its place: by that a loss is not told.
    this.sink.late = this.sink.late.filter(({ lane, sequence }) => lane !== mark?.lane || sequence !== mark?.sequence);
    this.storedBehindLoss ||= this.sink.late.length > 0;
    this.sink.loseTail(count);
    this.unnoticed ||= (mark?.sinkSequence ?? 0) > this.sink.stored.length;
    for (let i = 0; i < others; i++) this.sink.stored.push({ sequence: 0, previous: 0 });
  }

  messageAt(sequence: number): SinkMessage | undefined {
    const stored = sequence <= this.sink.expired ? undefined : this.sink.stored[sequence - 1];
    if (stored === undefined) return undefined;
    const payload = Buffer.from(`${stored.sequence}`);
    return { seconds: 0, nanos: 0, payload, record: this.sink.record(sequence) };
  }

  protected override beforeOpen(id: string): void {
    const state = this.writer.lane(id);
    if (state.cursor === undefined) {
      this.sink.tail(0, (sequence, record) => {
        if (record?.lane === id && sequence <= this.scannedFrom) state.observe(record, false);
      });
    }
    const { last } = state;
    if (last !== undefined && last.sinkSequence > this.sink.expired)
      last.digest ??= payloadDigest(Buffer.from(`${last.position.sequence}`));
  }

  /** Reads what there is to be read, and opens every lane. */
  async wake(): Promise<void> {
    await this.readAndProve();
    for (const { id } of this.lanes) if (await this.mayKeep()) this.openLane(id);
  }

  /** Brings records of a lane the whole way. */
  carry(id: string, count: number): void {
    this.feed(id, count);
    this.sink.serve(1000);
    while (this.sink.answers.length > 0) this.answer();
  }

  /** Until nothing is on its way. */
  rest(): void {
    while (this.sink.wire.length > 0 || this.sink.answers.length > 0) {
      this.sink.serve(1000);
      while (this.sink.answers.length > 0) this.answer();
    }
  }

  /** I3: of what a cursor has passed, and what is known by origin, each was stored: whoever brought it may never come again. */
  checkKnown(): void {
    this.checkProofs();
    const held = new Set(this.sink.stored.map(({ origin }) => origin));
    const { spaces } = this.writer.origins();
    for (const cluster of ['a', 'b']) {
      const passed = this.lanes
        .filter(({ id, leftOut }) => leftOut === undefined && (cluster === 'b') === (id === 'l/b/h'))
        .map(({ id }) => this.writer.lane(id).cursor?.sequence ?? 0);
      const known = spaces.get(`${cluster}/S/i`);
      const lost = existing(this.total).filter(
        (sequence) =>
          ((!this.storedBehindLoss && sequence <= Math.max(...passed)) || known?.has(sequence)) &&
          !held.has(`${cluster}/S/i/${sequence}/0000000000`),
      );
      expect(lost).toEqual([]);
    }
  }

  /** Every record once, whatever way it came. */
  checkOrigins(): void {
    const stored = this.sink.stored.flatMap(({ origin }) => origin ?? []).sort();
    const expected = ['a', 'b'].flatMap((cluster) =>
      existing(this.total).map((sequence) => `${cluster}/S/i/${sequence}/0000000000`),
    );
    expect(stored).toEqual(expected.sort());
    expect(this.failures).toEqual([]);
  }
}

const lane = fc.constantFrom(...lanes.map(({ id }) => id));
const count = fc.integer({ min: 1, max: 9 });
const weighed = <T extends string>(weight: number, what: T) => ({
  weight,
  arbitrary: fc.record({ do: fc.constant(what), lane, count }),
});
const common = [
  // Little of chance would come far without these.
  weighed(8, 'carry'),
  weighed(3, 'save-all'),
  weighed(2, 'wake'),
  weighed(8, 'feed'),
  weighed(8, 'serve'),
  weighed(8, 'answer'),
  weighed(4, 'read'),
  weighed(4, 'open'),
  weighed(1, 'close'),
  weighed(2, 'save-lane'),
  weighed(2, 'save-origins'),
  weighed(1, 'cut'),
  weighed(2, 'restart'),
  weighed(1, 'expire'),
];
const ours = fc.oneof(...common);
const othersToo = fc.oneof(...common, weighed(3, 'foreign'), weighed(1, 'cut-late'), weighed(1, 'thaw'));
const losing = fc.oneof(
  ...common.slice(0, -1),
  weighed(2, 'lose-tail'),
  weighed(2, 'lose-tail-alive'),
  weighed(1, 'lose-tail-unseen'),
);
const losingOthersToo = fc.oneof(
  ...common.slice(0, -1),
  weighed(3, 'foreign'),
  weighed(1, 'cut-late'),
  weighed(1, 'thaw'),
  weighed(2, 'lose-tail'),
  weighed(2, 'lose-tail-alive'),
  weighed(1, 'lose-tail-unseen'),
);
type Action = { do: string; lane: string; count: number };

async function play(actions: readonly Action[], shared = false): Promise<Remembering> {
  const world = new Remembering(lanes, 30, { shared });
  await world.wake();
  for (const step of actions) {
    if (!world.unnoticed) world.checkKnown();
    if (step.do === 'carry') world.carry(step.lane, step.count);
    else if (step.do === 'wake') await world.wake();
    else if (step.do === 'save-all' && (await world.mayKeep())) {
      // One of them is behind.
      for (const { id } of lanes) if (id !== step.lane) await world.saveLane(id);
      if (step.count > 2) world.saveOrigins();
    } else if (step.do === 'feed') world.feed(step.lane, step.count);
    else if (step.do === 'serve') world.sink.serve(step.count);
    else if (step.do === 'answer') for (let i = 0; i < step.count; i++) world.answer();
    else if (step.do === 'read') await world.readAndProve();
    else if (step.do === 'open' && (await world.mayKeep())) world.openLane(step.lane);
    else if (step.do === 'close') world.closeLane(step.lane);
    else if (step.do === 'save-lane' && (await world.mayKeep())) await world.saveLane(step.lane);
    else if (step.do === 'save-origins' && (await world.mayKeep())) world.saveOrigins();
    else if (step.do === 'foreign') world.sink.stored.push({ sequence: 0, previous: 0 });
    else if (step.do === 'thaw') world.sink.thaw(step.count);
    // What goes before anything was kept of it is known to nobody.
    else if (step.do === 'expire')
      world.sink.expired = Math.min(world.origins?.upTo ?? 0, world.sink.expired + step.count);
    else if (step.do === 'cut' || step.do === 'cut-late') {
      world.cut(step.count, step.do === 'cut-late');
      world.step({ type: 'unsure', failure: { reason: 'nats-unreachable', detail: '' }, chainBroken: false });
    } else if (step.do === 'restart') {
      world.cut(step.count);
      await world.remember();
    } else if (step.do === 'lose-tail' || step.do === 'lose-tail-alive') {
      world.cut(step.count);
      world.loseTail(step.count, step.lane === 'l/b/h' ? 0 : 2 * step.count);
      if (step.do === 'lose-tail') await world.remember();
      else world.step({ type: 'unsure', failure: { reason: 'nats-unreachable', detail: '' }, chainBroken: false });
    } else if (step.do === 'lose-tail-unseen') {
      // No connection of ours is lost. A server does not come back that fast: nothing is on its way, and the sink has been looked at.
      world.rest();
      if (lanes.some(({ id }) => world.writer.lane(id).ahead.size > 0) || !(await world.mayKeep())) continue;
      world.loseTail(step.count, 2 * step.count);
      world.storedBehindLoss ||= world.unnoticed;
    }
  }
  world.sink.thaw(1000);
  await world.readAndProve();
  world.now += 60_000;
  await world.mayKeep();
  await world.readAndProve();
  expect(world.unnoticed).toBe(false);
  world.settle();
  world.checkKnown();
  return world;
}

test('I4: a record that comes over several ways is stored once, through restarts that know it from what was kept', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(ours, { minLength: 40, maxLength: 120, size: 'max' }), async (actions) =>
      (await play(actions)).checkOrigins(),
    ),
    { numRuns: 40 },
  );
});

test('I4: the same on a shared stream, with appends that come back late', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(othersToo, { minLength: 40, maxLength: 120, size: 'max' }), async (actions) =>
      (await play(actions, true)).checkOrigins(),
    ),
    { numRuns: 40 },
  );
});

test('I3: what the sink lost is not believed to be held, and is stored again', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(losing, { minLength: 40, maxLength: 120, size: 'max' }), async (actions) =>
      (await play(actions)).checkOrigins(),
    ),
    { numRuns: 40 },
  );
});

test('I3: the same on a shared stream, with appends that come back late', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(losingOthersToo, { minLength: 40, maxLength: 120, size: 'max' }), async (actions) =>
      (await play(actions, true)).checkOrigins(),
    ),
    { numRuns: 40 },
  );
});

/** A daemon with every lane open. */
async function awake(shared = false): Promise<Remembering> {
  const world = new Remembering(lanes, 30, { shared });
  await world.wake();
  return world;
}

async function keepAll(world: Remembering, but = ''): Promise<void> {
  for (const { id } of lanes) if (id !== but) await world.saveLane(id);
  world.saveOrigins();
}

/** Records that no lane wrote, which the daemon reads. */
async function foreign(world: Remembering, count: number): Promise<void> {
  world.loseTail(0, count);
  world.step({ type: 'reread' });
  await world.readAndProve();
}

test('I3: a record behind a hole that the sink lost, and others took its place, is stored again', async () => {
  const world = await awake();
  // The second record names the first one, which came by another lane: for its own lane there is a hole before it.
  world.feed('l/r/h', 1);
  world.carry('l/a/h', 2);
  await world.remember();
  await world.wake();
  expect(world.writer.lane('l/a/h')).toMatchObject({ last: undefined, ahead: new Set([2]) });
  await keepAll(world);
  world.loseTail(1, 2);
  await world.remember();
  world.settle();
  world.checkOrigins();
});

test('I3: what was kept of a sink that lost it does not count when the same record stands in the same place again', async () => {
  const world = await awake();
  for (const lane of ['l/b/h', 'l/a/h']) world.carry(lane, 1);
  await keepAll(world);
  world.loseTail(2, 1);
  await world.remember();
  await world.readAndProve();
  world.openLane('l/a/h');
  world.carry('l/a/h', 1);
  expect(world.sink.record(2)).toMatchObject({ lane: 'l/a/h', position: { sequence: 1 } });
  await world.remember();
  world.settle();
  world.checkOrigins();
});

test('I4: a sink that loses its tail between the first question and the first reading is not believed to end where it did', async () => {
  const world = await awake();
  await foreign(world, 2);
  // The one that lags has the scan begin before what the snapshot speaks of.
  await keepAll(world, 'l/r/h');
  await world.remember();
  world.loseTail(1, 0);
  await world.readAndProve();
  world.openLane('l/r/h');
  world.carry('l/r/h', 1);
  await world.saveLane('l/r/h');
  await world.remember();
  world.settle();
  world.checkOrigins();
});

test('I4: an answer that shows a loss counts more than what was kept, even if that looks true', async () => {
  const world = await awake(true);
  world.carry('l/b/h', 1);
  await foreign(world, 4);
  await keepAll(world);
  // Only what others wrote is lost.
  world.loseTail(3, 0);
  world.carry('l/b/h', 1);
  expect(world.pendingRead).toMatchObject({ lost: true });
  world.loseTail(0, 5);
  // The server has forgotten the ids.
  world.sink.ids.clear();
  await world.readAndProve();
  world.settle();
  world.checkOrigins();
});

test('I3: a sink that ends before a record that is known lost it, wherever the scan is to begin', async () => {
  const world = await awake();
  world.carry('l/b/h', 3);
  world.checkpoints.set('l/b/h', { ...world.keep('l/b/h'), sinkSequence: 0 });
  world.loseTail(1, 0);
  await world.remember();
  expect(world.writer.lane('l/b/h').cursor).toBeUndefined();
});

test.each(['goes on', 'stands still'])(
  'I3: a sink that lost its tail where no connection of ours was is noticed by a daemon that %s',
  async (does) => {
    const world = await awake(true);
    world.carry('l/b/h', 4);
    expect(await world.mayKeep()).toBe(true);
    world.loseTail(2, 6);
    if (does === 'goes on') {
      world.carry('l/b/h', 1);
      expect(world.writer.isOpen).toBe(true);
    } else world.now += 30_000;
    expect(await world.mayKeep()).toBe(false);
    await world.readAndProve();
    world.settle();
    world.checkOrigins();
  },
);

test('a scan from the first record leaves a cursor alone that a checkpoint has proven', () => {
  const world = new SinkWorld(['l/a/h'], 1);
  const cursor = { incarnation: 'second', sequence: 9 };
  const { writer } = world;
  const state = writer.lane('l/a/h');
  state.moveCursor(cursor);
  state.accounted = 2;
  const see = (sinkSequence: number, incarnation: string, sequence: number) =>
    writer.observe(sinkSequence, {
      sinkSequence,
      lane: 'l/a/h',
      position: { incarnation, sequence },
      previous: 0,
      origin: { space: `a/S/${incarnation}`, sequence, time: 0, seconds: 0, nanos: 0 },
    });
  see(1, 'first', 500);
  see(2, 'second', 7);
  expect(state.cursor).toEqual(cursor);
  expect(world.index.space('a/S/first').has(500)).toBe(true);
  see(3, 'second', 12);
  expect(state.cursor?.sequence).toBe(12);
});
