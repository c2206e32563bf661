import type { MemoryShare } from '../../lib/memory-budget.ts';
import { placesOf } from './export-rules.ts';
import { JetStreamSource, type JetStreamSourceOptions, type SourcePlace } from './js-source.ts';
import { type Import, Imports, RecordRing } from './record-ring.ts';
import type { RecordTime } from './source-proof.ts';

/** A place whose record is known by its time. */
export type KnownPlace = SourcePlace & { readonly time: RecordTime };

/** A lane that reads from a trunk. */
export interface TrunkLane {
  /** There are new records, or the stream's newest sequence is known. */
  wake(): void;
  /** The trunk is at its end: the lane goes on by itself where it stands. */
  trunkEnded(): void;
}

export interface TrunkEvents {
  /** The ring reaches further than `end`, where it did before. */
  grew(end: number): void;
  /** Once, before the lanes hear of it; also when the last lane has left. */
  ended(): void;
}

/**
 * One reader of a stream for all lanes that are level: what it reads is packed once and kept for a while. It reads ahead of the
 * lane that is furthest, never of the others, so that nobody is held up. It ends at anything out of the ordinary (a gap, a
 * failure): each lane then finds out for itself what that means for it.
 */
export class Trunk {
  readonly ring: RecordRing;
  readonly #source: JetStreamSource;
  /** For the ring; what is read and not in it yet is the source's to count. */
  readonly #memory: MemoryShare;
  readonly #events: TrunkEvents;
  readonly #lanes = new Set<TrunkLane>();
  /** Came over other lanes, and is not in the ring yet. */
  readonly #came: Import[] = [];
  /** The furthest position that any lane has reached. */
  #furthest: number;
  #head = 0;
  #headsTold = 0;
  #waking = false;
  #open = true;

  /** Reads on at `place`. */
  constructor(
    options: Omit<JetStreamSourceOptions, 'filter'> & { readonly ringBytes: number },
    place: KnownPlace,
    events: TrunkEvents,
  ) {
    const { sequence } = place.position;
    this.#memory = options.memory.share(options.ringBytes);
    this.ring = new RecordRing(this.#memory.windowBytes, sequence, place.time);
    this.#furthest = sequence;
    this.#events = events;
    this.#source = new JetStreamSource({
      ...options,
      filter: (at, { lane = '', identity, path }) => {
        if (identity === undefined) this.#came.push({ sequence: at, lane: undefined, places: [] });
        else this.#came.push({ sequence: at, lane, places: placesOf(identity.toString(), path?.toString() ?? '') });
        return undefined;
      },
    });
    this.#source.resume(place, {
      opened: () => {},
      batch: (batch) => {
        const { end } = this.ring;
        this.ring.push(batch, this.#importsUpTo(batch.lastSequence));
        this.#memory.passed(batch.rawBytes, performance.now());
        this.ring.resize(this.#memory.windowBytes);
        this.#memory.hold(this.ring.bytes);
        this.#pace();
        this.#wakeAll();
        this.#events.grew(end);
      },
      gap: () => this.end(),
      head: (newest) => {
        this.#head = newest;
        this.#headsTold++;
        this.#wakeAll();
      },
      failed: () => this.end(),
    });
    this.#pace();
  }

  get attached(): number {
    return this.#lanes.size;
  }

  /** Newest sequence of the stream, as far as it is known. */
  get head(): number {
    return this.#head;
  }

  /** How often it was found out. */
  get headsTold(): number {
    return this.#headsTold;
  }

  /** Memory that it takes or may take with what it has asked for, in bytes. */
  get bytes(): number {
    return this.ring.bytes + this.#source.prefetchedBytes;
  }

  attach(lane: TrunkLane): void {
    this.#lanes.add(lane);
  }

  leave(lane: TrunkLane): void {
    if (this.#lanes.delete(lane) && this.#lanes.size === 0) this.end();
  }

  /** A lane has taken everything up to `sequence`. */
  reached(sequence: number): void {
    if (sequence <= this.#furthest) return;
    this.#furthest = sequence;
    this.#pace();
  }

  #pace(): void {
    this.#source.pull(Math.max(0, this.#memory.windowBytes / 2 - this.ring.bytesAfter(this.#furthest)));
  }

  /** Once for everything that one socket read brings. */
  #wakeAll(): void {
    if (this.#waking) return;
    this.#waking = true;
    queueMicrotask(() => {
      this.#waking = false;
      for (const lane of this.#lanes) lane.wake();
    });
  }

  #importsUpTo(sequence: number): Imports | undefined {
    if ((this.#came[0]?.sequence ?? Number.POSITIVE_INFINITY) > sequence) return undefined;
    const imports = new Imports();
    let taken = 0;
    for (const came of this.#came) {
      if (came.sequence > sequence) break;
      imports.add(came);
      taken++;
    }
    this.#came.splice(0, taken);
    return imports;
  }

  /** Sends everybody off. */
  end(): void {
    if (!this.#open) return;
    this.#open = false;
    this.#source.close();
    this.#memory.close();
    this.#events.ended();
    const lanes = [...this.#lanes];
    this.#lanes.clear();
    for (const lane of lanes) lane.trunkEnded();
  }
}
