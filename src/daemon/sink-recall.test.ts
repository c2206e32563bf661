import fc from 'fast-check';
import { expect, test } from 'vitest';
import { existing, SinkWorld, type WorldLane } from '../../test/support/sink-world.ts';
import type { SinkFacts, SinkMessage } from '../brokers/broker.ts';
import { readTail } from '../brokers/nats/provenance.ts';
import type { Checkpoint, StoredOrigins } from '../brokers/store.ts';
import { spacesFromJson, spacesToJson } from '../dedupe/origin-snapshot.ts';
import { WitnessHistory } from '../lane/witness-history.ts';
import { silentLogger } from '../lib/logger.ts';
import { checkpointOf, findDigest, recall } from './sink-recall.ts';

const origin = (sequence: number) => `a/S/i/${sequence}/0000000000`;
/** Two links that carry the same stream, and a third way over another cluster. */
const lanes: readonly WorldLane[] = [
  { id: 'l/a/h' },
  { id: 'm/a/h', leftOut: (sequence) => sequence % 5 < 3 },
  { id: 'l/r/h', origin },
  { id: 'l/b/h' },
];
const place = 'h/T';
const created = '2026-11-22T10:00:00Z';

/** A daemon that keeps checkpoints and what the sink holds by origin, each now and then, and starts anew from whatever it kept. */
class Remembering extends SinkWorld {
  readonly checkpoints = new Map<string, Checkpoint>();
  readonly histories = new Map<string, WitnessHistory>();
  origins: StoredOrigins | undefined;
  scannedFrom = 0;
  created = created;

  async saveLane(id: string): Promise<void> {
    await findDigest(this.writer.lane(id), { messageAt: async (sequence) => this.messageAt(sequence) });
    const history = this.histories.get(id) ?? new WitnessHistory();
    this.histories.set(id, history);
    const checkpoint = checkpointOf(this.writer, id, history);
    this.checkpoints.set(id, checkpoint);
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

  async remember(): Promise<void> {
    this.forget();
    this.histories.clear();
    const facts = { created: this.created, lastSequence: this.sink.stored.length } as SinkFacts;
    const { writer, index } = this;
    const sink = { messageAt: async (sequence: number) => this.messageAt(sequence) };
    this.scannedFrom = await recall([...this.checkpoints.values()], this.origins, {
      facts,
      sink,
      writer,
      index,
      log: silentLogger,
    });
    this.step({ type: 'start', accounted: this.scannedFrom });
  }

  messageAt(sequence: number): SinkMessage | undefined {
    const stored = sequence <= this.sink.expired ? undefined : this.sink.stored[sequence - 1];
    if (stored === undefined) return undefined;
    const lane = stored.lane === undefined ? '' : `Causeway-Lane: ${stored.lane};i.${stored.sequence};0\r\n`;
    const text = `NATS/1.0\r\n${lane}Causeway-Origin: ${stored.origin}\r\nCauseway-At: ${place}/-\r\n\r\n`;
    const record = readTail(Buffer.from(text), place, sequence);
    return { seconds: 0, nanos: 0, payload: Buffer.from(`${stored.sequence}`), record };
  }

  protected override beforeOpen(id: string): void {
    const state = this.writer.lane(id);
    if (state.cursor !== undefined || this.scannedFrom === 0) return;
    this.sink.tail(0, (sequence, record) => {
      if (record?.lane === id && sequence <= this.scannedFrom) state.observe(record, false);
    });
  }

  /** Reads what there is to be read, and opens every lane. */
  wake(): void {
    this.read();
    for (const { id } of this.lanes) this.openLane(id);
  }

  /** Brings records of a lane the whole way. */
  carry(id: string, count: number): void {
    this.feed(id, count);
    this.sink.serve(1000);
    while (this.sink.answers.length > 0) this.answer();
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
const losing = fc.oneof(...common.slice(0, -1), weighed(2, 'lose-tail'));
type Action = { do: string; lane: string; count: number };

async function play(actions: readonly Action[], shared = false): Promise<Remembering> {
  const world = new Remembering(lanes, 30, { shared });
  world.wake();
  for (const step of actions) {
    world.checkProofs();
    if (step.do === 'carry') world.carry(step.lane, step.count);
    else if (step.do === 'wake') world.wake();
    else if (step.do === 'save-all' && world.writer.isOpen) {
      // One of them is behind.
      for (const { id } of lanes) if (id !== step.lane) await world.saveLane(id);
      if (step.count > 2) world.saveOrigins();
    } else if (step.do === 'feed') world.feed(step.lane, step.count);
    else if (step.do === 'serve') world.sink.serve(step.count);
    else if (step.do === 'answer') for (let i = 0; i < step.count; i++) world.answer();
    else if (step.do === 'read') world.read();
    else if (step.do === 'open') world.openLane(step.lane);
    else if (step.do === 'close') world.closeLane(step.lane);
    else if (step.do === 'save-lane' && world.writer.isOpen) await world.saveLane(step.lane);
    else if (step.do === 'save-origins' && world.writer.isOpen) world.saveOrigins();
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
    } else if (step.do === 'lose-tail') {
      world.cut(step.count);
      world.sink.loseTail(step.count);
      // Others may have filled up what is missing.
      if (step.lane !== 'l/b/h')
        for (let i = 0; i < 2 * step.count; i++) world.sink.stored.push({ sequence: 0, previous: 0 });
      await world.remember();
    }
  }
  world.sink.thaw(1000);
  world.settle();
  world.checkProofs();
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
