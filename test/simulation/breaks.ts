/** Broken variants of the product, made by wrapping what the simulator hands to it: each has to be caught. */
import { createRequire } from 'node:module';
import { AppendAnswers } from '../../src/brokers/nats/append-answers.ts';
import { JetStreamSinkLog } from '../../src/brokers/nats/js-sink-log.ts';
import type { SinkStore } from '../../src/brokers/store.ts';
import { LaneStats } from '../../src/daemon/lane-stats.ts';
import { OriginIndex } from '../../src/dedupe/origin-index.ts';
import { SinkLaneState } from '../../src/lane/sink-lane-state.ts';
import { MemoryBudget, type MemoryShare } from '../../src/lib/memory-budget.ts';
import { BatchBuilder, decodeBatch, isBatchFrame } from '../../src/wire/batch.ts';
import { decodeFrame, encodeFrame, type Frame } from '../../src/wire/frame.ts';
import { RecordView } from '../../src/wire/record-view.ts';
import { replace, type VirtualClock } from './clock.ts';
import type { FaultKind } from './faults.ts';
import type { SimDaemon } from './sim-daemon.ts';
import type { SimStore } from './sim-store.ts';

const require = createRequire(import.meta.url);

export interface Break {
  readonly name: string;
  /** The invariant that it breaks, and so the word that has to be among what is found. */
  readonly breaks: string;
  /** Where it is looked for. */
  readonly world: string;
  /** How likely a world has two daemons in one cluster; 1: in every cluster. */
  readonly twins: number;
  /** Put in place of a frame that an end sends. */
  readonly says?: (frame: Buffer, lane: string) => Buffer;
  /** What the other end makes of a frame. */
  readonly hears?: (frame: Buffer, lane: string) => Buffer;
  readonly store?: (store: SimStore, daemon: SimDaemon, clock: VirtualClock) => SinkStore;
  /** Overwrites members of the product's classes; returns the ways back. */
  readonly patch?: () => (() => void)[];
  /** Faults that are drawn from instead of all. */
  readonly faults?: readonly FaultKind[];
}

export const noBreak: Break = { name: 'nothing', breaks: '', world: '', twins: 0.1 };

type Editable = Exclude<Frame, { kind: 'batch' }>;

/** Changes a frame that is not a batch. */
function edited(edit: (frame: Editable) => Editable): NonNullable<Break['says']> {
  return (bytes) => {
    if (isBatchFrame(bytes)) return bytes;
    const frame = decodeFrame(bytes);
    return frame === undefined || frame.kind === 'batch' ? bytes : encodeFrame(edit(frame));
  };
}

/** A store of which some calls do something else. */
function changed(store: SimStore, calls: Partial<SinkStore>): SinkStore {
  const asBefore: SinkStore = {
    checkpoint: (stream, lane) => store.checkpoint(stream, lane),
    checkpoints: (stream) => store.checkpoints(stream),
    saveCheckpoint: (stream, checkpoint, revision) => store.saveCheckpoint(stream, checkpoint, revision),
    deleteCheckpoint: (stream, lane, revision) => store.deleteCheckpoint(stream, lane, revision),
    origins: (stream) => store.origins(stream),
    saveOrigins: (stream, origins, head) => store.saveOrigins(stream, origins, head),
    intents: (stream) => store.intents(stream),
    saveIntent: (stream, slot, group, revision) => store.saveIntent(stream, slot, group, revision),
    recordGap: (entry) => store.recordGap(entry),
    quarantine: (record) => store.quarantine(record),
  };
  return { ...asBefore, ...calls };
}

/** Sends every record as if it had begun here: where it was before is forgotten. */
function withoutProvenance(bytes: Buffer): Buffer {
  if (!isBatchFrame(bytes)) return bytes;
  const batch = decodeBatch(bytes);
  if (batch.count === 0) return bytes;
  const builder = new BatchBuilder(batch.incarnation, batch.firstSequence - 1, 1 << 20);
  const view = new RecordView(batch.packed);
  while (view.next()) {
    const { buffer, sequence, seconds, nanos, subjectStart, subjectEnd, headersStart, headersEnd } = view;
    const part = (start: number, end: number): Buffer => buffer.subarray(start, end);
    const [subject, headers] = [part(subjectStart, subjectEnd), part(headersStart, headersEnd)];
    builder.append(sequence, seconds, nanos, subject, headers, part(view.payloadStart, view.payloadEnd));
  }
  builder.lastSequence = batch.lastSequence;
  builder.headSequence = batch.headSequence;
  return builder.frame(batch.epoch, batch.frame, batch.stripe);
}

/** Every way to break the product that the simulation is shown to catch. */
export const breaks: readonly Break[] = [
  {
    name: 'acknowledges what it has received, before it is stored',
    breaks: 'I1',
    world: 'pair',
    twins: 0,
    says: (() => {
      const newest = new Map<string, { readonly incarnation: string; readonly sequence: number }>();
      return (bytes, lane) => {
        if (isBatchFrame(bytes)) {
          const { epoch, incarnation, lastSequence } = decodeBatch(bytes);
          newest.set(`${lane} ${epoch}`, { incarnation, sequence: lastSequence });
          return bytes;
        }
        return edited((frame) => {
          const seen = frame.kind === 'ack' ? newest.get(`${lane} ${frame.epoch}`) : undefined;
          return frame.kind === 'ack' && seen !== undefined ? { ...frame, stored: seen } : frame;
        })(bytes, lane);
      };
    })(),
  },
  {
    name: 'does not enter gaps into the ledger',
    breaks: 'I2',
    world: 'pair',
    twins: 0,
    faults: ['source-purged', 'wire-cut', 'wire-cut'],
    store: (store) => changed(store, { recordGap: () => Promise.resolve(false) }),
  },
  {
    name: 'passes a record that the sink refuses, without keeping it',
    breaks: 'I1',
    world: 'pair',
    twins: 0,
    faults: ['poison', 'poison', 'wire-cut'],
    store: (store) => changed(store, { quarantine: () => Promise.resolve() }),
  },
  {
    name: 'keeps a record that the sink refuses in pieces',
    breaks: 'I2',
    world: 'pair',
    twins: 0,
    faults: ['poison', 'poison', 'wire-cut'],
    store: (store) =>
      changed(store, {
        quarantine: (record) => store.quarantine({ ...record, payload: record.payload.subarray(0, -1) }),
      }),
  },
  {
    name: 'takes what was not answered for not stored, without reading the tail',
    breaks: 'I4',
    world: 'pair',
    twins: 0,
    faults: ['line-cut', 'line-cut'],
    patch: () => {
      const { facts } = JetStreamSinkLog.prototype;
      async function tail(this: JetStreamSinkLog): Promise<number> {
        return (await facts.call(this)).lastSequence;
      }
      return [replace(JetStreamSinkLog.prototype, { tail })];
    },
  },
  {
    name: 'does not write down what it is going to append to a queue',
    breaks: 'I4',
    world: 'queue',
    twins: 0,
    faults: ['kill', 'kill'],
    store: (store) => changed(store, { saveIntent: () => Promise.resolve(1) }),
  },
  {
    name: 'reads the tail while answers are still to come',
    breaks: 'I4',
    world: 'ring',
    twins: 0,
    faults: ['foreign', 'foreign'],
    patch: () => [replace(AppendAnswers.prototype, { quiet: () => Promise.resolve() })],
  },
  {
    name: 'takes a number below the cursor of any incarnation for held',
    breaks: 'I3',
    world: 'pair',
    twins: 0,
    faults: ['source-recreated', 'source-recreated'],
    patch: () => {
      const highest = new WeakMap<SinkLaneState, number>();
      function holds(this: SinkLaneState, _incarnation: string, sequence: number): boolean {
        highest.set(this, Math.max(highest.get(this) ?? 0, this.cursor?.sequence ?? 0));
        return sequence <= highest.get(this)!;
      }
      return [replace(SinkLaneState.prototype, { holds })];
    },
  },
  {
    name: 'does not look whether a relayed record is held',
    breaks: 'I4',
    world: 'diamond',
    twins: 0,
    patch: () => [replace(OriginIndex.prototype, { addRelayed: () => true })],
  },
  { name: 'forgets where a record has been', breaks: 'I4', world: 'ring', twins: 0, says: withoutProvenance },
  {
    name: 'believes the cursor without proof',
    breaks: 'I2',
    world: 'pair',
    twins: 0,
    faults: ['source-recreated', 'source-loses-tail'],
    says: edited((frame) =>
      (frame.kind === 'hello' || frame.kind === 'welcome') && frame.opening !== undefined
        ? { ...frame, opening: { ...frame.opening, witnesses: [] } }
        : frame,
    ),
  },
  {
    name: 'sends without credit',
    breaks: 'I5',
    world: 'pair',
    twins: 0,
    hears: edited((frame) => (frame.kind === 'ack' ? { ...frame, creditLimit: 2 ** 40 } : frame)),
  },
  {
    name: 'gives every lane the memory that it asks for',
    breaks: 'I5',
    world: 'pair',
    twins: 0,
    patch: () => {
      const asBefore = MemoryBudget.prototype.share;
      function share(this: MemoryBudget, mostBytes: number): MemoryShare {
        this.bytes = 2 ** 40;
        return asBefore.call(this, mostBytes);
      }
      return [replace(MemoryBudget.prototype, { share })];
    },
  },
  {
    name: 'shows the lag of a lane as nothing',
    breaks: 'I6',
    world: 'pair',
    twins: 0,
    faults: ['sink-refuses'],
    patch: () => [replace(LaneStats.prototype, { lag: 0 })],
  },
  {
    name: 'throws what is no failure',
    breaks: 'I7',
    world: 'pair',
    twins: 0,
    store: (store) =>
      changed(store, { saveCheckpoint: () => Promise.reject(new TypeError('undefined is not a function')) }),
  },
  {
    name: 'keeps its cursor on the local disk',
    breaks: 'I8',
    world: 'pair',
    twins: 0,
    store: (store) =>
      changed(store, {
        saveCheckpoint: (stream, checkpoint, revision) => {
          require('node:fs').writeFileSync('cursor', JSON.stringify(checkpoint.cursor ?? null));
          return store.saveCheckpoint(stream, checkpoint, revision);
        },
      }),
  },
  {
    name: 'writes the checkpoint over whatever is there, and takes the clock for the epoch',
    breaks: 'I9',
    world: 'pair',
    twins: 1,
    store: (store, _daemon, clock) =>
      changed(store, {
        checkpoint: async (stream, lane) => {
          const known = await store.checkpoint(stream, lane);
          return known && { ...known, revision: clock.wallMs };
        },
        saveCheckpoint: async (stream, checkpoint) => {
          const known = await store.checkpoint(stream, checkpoint.lane);
          await store.saveCheckpoint(stream, checkpoint, known?.revision ?? 0);
          return clock.wallMs;
        },
      }),
  },
];
