import type { Checkpoint, KeptCheckpoint, SinkStore } from '../brokers/store.ts';
import type { SinkWriter } from '../lane/sink-writer.ts';
import { WitnessHistory } from '../lane/witness-history.ts';
import type { Logger } from '../lib/logger.ts';
import { pause } from '../lib/pause.ts';
import { Waiters } from '../lib/waiters.ts';
import type { Position } from '../wire/position.ts';
import { type Failure, failureFrom } from '../wire/reasons.ts';
import { checkpointOf } from './sink-recall.ts';
import type { SinkSessionEvents } from './sink-session.ts';

/** A checkpoint that lags so many records of the sink behind what is accounted for is written anew: every start scans from the oldest. */
const lagRecords = 10_000;
const retryMs = 1000;

/** A lane that ends in the sink stream, or did so once. */
export class LaneEntry {
  readonly id: string;
  history: WitnessHistory;
  /** Of the checkpoint as it was last read or written here; 0: it is somebody else's, or there is none. */
  revision: number;
  /** From where a scan would have to begin because of the checkpoint. */
  sinkSequence: number;
  /** As in Checkpoint. */
  began: Position | undefined;
  /** There is something that the checkpoint does not say yet. */
  dirty = false;
  saving: Promise<void> | undefined;
  session: { readonly epoch: number; readonly events: SinkSessionEvents; readonly parks: boolean } | undefined;
  /** Those who wait until nothing of the lane is in flight. */
  readonly idle = new Waiters();

  constructor(id: string, known: Pick<Checkpoint, 'sinkSequence' | 'witnesses' | 'began'> & { revision: number }) {
    this.id = id;
    this.revision = known.revision;
    this.sinkSequence = known.sinkSequence;
    this.history = new WitnessHistory(known.witnesses);
    this.began = known.began;
  }
}

/** What is written of a lane, whoever wrote it. */
export interface PresentCheckpoint {
  /** 0: there is none. */
  readonly revision: number;
  readonly checkpoint: Checkpoint | undefined;
  readonly foreign: boolean;
}

export interface SinkCheckpointsOptions {
  readonly store: Pick<SinkStore, 'checkpoint' | 'saveCheckpoint' | 'deleteCheckpoint'>;
  readonly stream: string;
  readonly log: Logger;
  readonly writer: () => SinkWriter;
  readonly replicas: () => number;
  /** The stream is given up. */
  readonly signal: AbortSignal;
  /** Finds the digest of a lane's newest record, for its witness. */
  readonly findDigest: (lane: string) => Promise<void>;
  /** Somebody else writes the lane. */
  readonly superseded: (entry: LaneEntry, failure: Failure) => void;
}

/** The checkpoints of the lanes that end in one sink stream. */
export class SinkCheckpoints {
  readonly #options: SinkCheckpointsOptions;
  readonly #entries = new Map<string, LaneEntry>();

  constructor(options: SinkCheckpointsOptions) {
    this.#options = options;
  }

  values(): Iterable<LaneEntry> {
    return this.#entries.values();
  }

  /** Begins with what was found at start, and returns what was there before. */
  reset(known: readonly KeptCheckpoint[]): LaneEntry[] {
    const before = [...this.#entries.values()];
    this.#entries.clear();
    for (const checkpoint of known) {
      // Of a sink that lost what the witnesses speak of, they are not believed.
      const believed = this.#options.writer().lane(checkpoint.lane).cursor !== undefined;
      const entry = new LaneEntry(checkpoint.lane, { ...checkpoint, ...(believed ? {} : { witnesses: [] }) });
      entry.dirty = !believed;
      this.#entries.set(entry.id, entry);
    }
    return before;
  }

  entry(id: string): LaneEntry {
    let entry = this.#entries.get(id);
    if (entry === undefined) {
      entry = new LaneEntry(id, { revision: 0, sinkSequence: 0, witnesses: [] });
      this.#entries.set(id, entry);
    }
    return entry;
  }

  /** True while this is what `entry` gives. */
  has(entry: LaneEntry): boolean {
    return this.#entries.get(entry.id) === entry;
  }

  /** The checkpoint as it is now. `foreign`: it is none that was read or written here, so that somebody else served the lane meanwhile. */
  async present(entry: LaneEntry): Promise<PresentCheckpoint> {
    const { store, stream, replicas } = this.#options;
    return this.#alone(entry, async () => {
      const known = await store.checkpoint(stream, entry.id, replicas());
      const revision = known?.revision ?? 0;
      const foreign = revision !== entry.revision;
      // Nothing is written over it before what the sink holds has been read.
      if (foreign) entry.revision = 0;
      return { revision, checkpoint: known?.checkpoint, foreign };
    });
  }

  /** Writes over what was kept of a sink that holds it no longer, and is not believed. Throws FailureError; some may be written then. */
  async disown(): Promise<void> {
    const write = async (entry: LaneEntry) => {
      entry.revision = await this.#write(entry, entry.revision);
    };
    await Promise.all([...this.#entries.values()].map((entry) => this.#alone(entry, () => write(entry))));
  }

  /** The sink has been read since somebody else wrote this of the lane: it may have got further than its records tell. */
  takeOver(entry: LaneEntry, { cursor, seen, began, witnesses }: Checkpoint): void {
    const lane = this.#options.writer().lane(entry.id);
    entry.began = began;
    // What the records say of another incarnation is newer.
    if (cursor === undefined || (lane.cursor ?? cursor).incarnation !== cursor.incarnation) return;
    lane.moveCursor(cursor, seen);
    entry.history = new WitnessHistory(witnesses);
  }

  /**
   * Writes the checkpoint over what is ours, or else over `revision`, as `present` gave it. The epoch is the revision of what is written: an older writer's next
   * write then fails (I9). Throws FailureError `superseded` if somebody else was faster.
   */
  async winEpoch(entry: LaneEntry, revision: number): Promise<number> {
    return this.#alone(entry, async () => {
      const over = entry.revision === 0 ? revision : entry.revision;
      // Should it not be known what became of the write, it is looked at anew.
      entry.revision = 0;
      entry.revision = await this.#write(entry, over);
      return entry.revision;
    });
  }

  /** Writes what has changed of a lane, and tries until it is written; false if `open` says that nobody waits for it any more. */
  async settle(entry: LaneEntry, open: () => boolean): Promise<boolean> {
    while (open()) {
      await entry.saving;
      await this.#save(entry);
      if (!entry.dirty) return open();
      await pause(retryMs, this.#options.signal);
    }
    return false;
  }

  /** The lane is no more: its checkpoint goes. */
  async forget(entry: LaneEntry): Promise<void> {
    const { store, stream, replicas } = this.#options;
    await this.#alone(entry, async () => {
      // Nothing is saved from here on.
      entry.revision = 0;
      const known = await store.checkpoint(stream, entry.id, replicas());
      if (known !== undefined) await store.deleteCheckpoint(stream, entry.id, known.revision, replicas());
      this.#entries.delete(entry.id);
    });
  }

  /** Writes what has changed, and what lags too far behind. `last`: also what has changed while it was being written. */
  async save(last = false): Promise<void> {
    const save = async (entry: LaneEntry) => {
      if (last) await entry.saving;
      await this.#save(entry);
    };
    await Promise.all([...this.#entries.values()].map(save));
  }

  #save(entry: LaneEntry): Promise<void> {
    const writer = this.#options.writer();
    // A lane without a session is known once the sink has been read.
    if (entry.revision === 0 || (entry.session === undefined && !writer.isOpen))
      return entry.saving ?? Promise.resolve();
    const lags = writer.lane(entry.id).scanFrom(writer.storedUpTo) - entry.sinkSequence > lagRecords;
    if (!entry.dirty && !lags) return entry.saving ?? Promise.resolve();
    return entry.saving ?? this.#alone(entry, () => this.#refresh(entry));
  }

  /** One call of a lane at a time: a write that knows an older revision would take the lane for somebody else's. */
  async #alone<T>(entry: LaneEntry, work: () => Promise<T>): Promise<T> {
    while (entry.saving !== undefined) await entry.saving;
    const done = work();
    // Whoever waits for it only wants to be next; what fails is told to the caller.
    const saving = Promise.allSettled([done]).then(() => {
      entry.saving = undefined;
    });
    entry.saving = saving;
    await saving;
    return done;
  }

  async #refresh(entry: LaneEntry): Promise<void> {
    try {
      await this.#options.findDigest(entry.id);
      entry.revision = await this.#write(entry, entry.revision);
    } catch (error) {
      const failure = failureFrom(error);
      this.#options.log.warn('checkpoint-failed', { lane: entry.id, ...failure });
      if (failure.reason !== 'superseded') return;
      // Not ours to write any more, until a session here wins it back.
      entry.revision = 0;
      this.#options.superseded(entry, failure);
    }
  }

  async #write(entry: LaneEntry, over: number): Promise<number> {
    const { store, stream, writer, replicas } = this.#options;
    entry.dirty = false;
    const { began } = entry;
    const checkpoint = {
      ...checkpointOf(writer(), entry.id, entry.history),
      ...(began === undefined ? {} : { began }),
    };
    try {
      const revision = await store.saveCheckpoint(stream, checkpoint, over, replicas());
      entry.sinkSequence = checkpoint.sinkSequence;
      return revision;
    } catch (error) {
      entry.dirty = true;
      throw error;
    }
  }
}
