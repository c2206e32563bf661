import { BatchBuilder } from '../../wire/batch.ts';
import type { Opening } from '../../wire/frame.ts';
import { covers, type Position } from '../../wire/position.ts';
import type { ExportRules, Source, SourceEvents } from '../broker.ts';
import type { JetStreamSource, SourcePlace } from './js-source.ts';
import type { KnownPlace, Trunk, TrunkLane } from './trunk.ts';

/** No record counts for less when it is guessed how far two lanes are apart, in bytes. */
const minRecordBytes = 128;

export interface SharedLaneOptions {
  readonly batchBytes: number;
  readonly rules: ExportRules | undefined;
  /** A source of its own, with its rules. */
  readonly source: () => JetStreamSource;
  readonly opened: (lane: SharedLane) => void;
  /** It reads for itself, and `place` is a new one. */
  readonly moved: (lane: SharedLane) => void;
  readonly closed: (lane: SharedLane) => void;
}

/** A lane's source in a SharedSource: reads for itself, or from a trunk; its owner cannot tell which. */
export class SharedLane implements Source, TrunkLane {
  readonly #options: SharedLaneOptions;
  #events: SourceEvents | undefined;
  #own: JetStreamSource | undefined;
  #trunk: Trunk | undefined;
  #allowance = 0;
  /** What was let out last: everything behind it is still to come, from wherever it is read. */
  #place: SourcePlace | undefined;
  #recordBytes = minRecordBytes;
  #head = 0;
  /** By the trunk, before it came to that. */
  #headsTold = 0;
  #scheduled = false;
  /** From the trunk: records that are left out so far, while they may not be told yet. */
  #packing: BatchBuilder | undefined;
  /** The last batch without a record, until it is safe at the sink: one at a time (I5). */
  #unsettled: Position | undefined;

  constructor(options: SharedLaneOptions) {
    this.#options = options;
  }

  get readsForItself(): boolean {
    return this.#own !== undefined;
  }

  /** Where a lane that reads for itself stands, if its last record is known. */
  get place(): KnownPlace | undefined {
    const place = this.#place;
    return this.#own === undefined || place?.time === undefined ? undefined : { ...place, time: place.time };
  }

  /** Bytes that it may let out. */
  get allowance(): number {
    return this.#allowance;
  }

  /** Average size of the records it let out last, in bytes. */
  get recordBytes(): number {
    return this.#recordBytes;
  }

  /** Bytes that it has read ahead or asked for by itself. */
  get prefetchedBytes(): number {
    return this.#own?.prefetchedBytes ?? 0;
  }

  open(opening: Pick<Opening, 'cursor' | 'witnesses' | 'start'>, events: SourceEvents): void {
    this.#events = events;
    this.#options.opened(this);
    const own = this.#options.source();
    this.#own = own;
    own.open(opening, {
      ...this.#ownEvents(own),
      opened: (at) => {
        const witness = opening.witnesses.find(({ position }) => covers(position, at) && covers(at, position));
        this.#place = { position: at, time: witness, created: own.created };
        this.#events?.opened(at);
        // Behind the gap that may follow.
        queueMicrotask(() => this.#moved());
      },
    });
  }

  pull(allowanceBytes: number): void {
    this.#allowance = allowanceBytes;
    this.#own?.pull(allowanceBytes);
    this.wake();
  }

  settle(position: Position): void {
    this.#own?.settle(position);
    if (this.#unsettled === undefined || !covers(position, this.#unsettled)) return;
    this.#unsettled = undefined;
    this.wake();
  }

  close(): void {
    if (this.#events === undefined) return;
    this.#events = undefined;
    this.#options.closed(this);
    this.#own?.close();
    this.#own = undefined;
    this.#packing = undefined;
    const trunk = this.#trunk;
    this.#trunk = undefined;
    trunk?.leave(this);
  }

  /** Reads from a trunk that holds the record of `place` from now on: what it read ahead by itself comes again from there. */
  attach(trunk: Trunk): void {
    this.#own?.close();
    this.#own = undefined;
    this.#trunk = trunk;
    this.#headsTold = trunk.headsTold;
    trunk.attach(this);
    trunk.reached(this.#place!.position.sequence);
    this.wake();
  }

  trunkEnded(): void {
    this.#trunk = undefined;
    this.#packing = undefined;
    if (this.#events === undefined || this.#place === undefined) return;
    const own = this.#options.source();
    this.#own = own;
    own.resume(this.#place, this.#ownEvents(own));
    own.pull(this.#allowance);
  }

  wake(): void {
    if (this.#scheduled || this.#trunk === undefined) return;
    this.#scheduled = true;
    queueMicrotask(() => this.#pump());
  }

  #ownEvents(own: JetStreamSource): SourceEvents {
    return {
      opened: () => {},
      batch: (batch) => {
        const { rawBytes, count, lastSequence, lastSeconds, lastNanos } = batch;
        this.#allowance -= rawBytes;
        this.#recordBytes = Math.max(minRecordBytes, rawBytes / Math.max(1, count));
        if (count === 0) this.#unsettled = { incarnation: batch.incarnation, sequence: lastSequence };
        // One that only tells where the lane begins moves nothing.
        if (lastSequence >= batch.firstSequence) {
          this.#place = {
            position: { incarnation: batch.incarnation, sequence: lastSequence },
            time: { seconds: lastSeconds, nanos: lastNanos },
            created: own.created,
          };
        }
        this.#events?.batch(batch);
        this.#moved();
      },
      gap: (after, upTo, reason) => {
        this.#place = { position: upTo, time: undefined, created: own.created };
        this.#events?.gap(after, upTo, reason);
      },
      // Newer than all that is known: its consumer was made after that. It may be less, where servers told too much before.
      head: (sequence) => this.#onHead(sequence),
      failed: (failure) => {
        const events = this.#events;
        this.close();
        events?.failed(failure);
      },
    };
  }

  #moved(): void {
    if (this.#own !== undefined) this.#options.moved(this);
  }

  #onHead(sequence: number): void {
    if (sequence === this.#head) return;
    this.#head = sequence;
    this.#events?.head(sequence);
  }

  /** Lets out what the trunk holds, as far as it is allowed. */
  #pump(): void {
    this.#scheduled = false;
    // What a trunk knew before this lane came may be older than what the lane knows.
    if (this.#trunk !== undefined && (this.#trunk.headsTold > this.#headsTold || this.#trunk.head > this.#head))
      this.#onHead(this.#trunk.head);
    while (this.#trunk !== undefined && this.#events !== undefined && this.#place !== undefined) {
      const { ring } = this.#trunk;
      const { incarnation, sequence } = this.#place.position;
      const taken = this.#packing?.lastSequence ?? sequence;
      if (taken < ring.start) {
        this.#fallOut(this.#trunk);
        return;
      }
      if (this.#allowance <= 0 || ring.end === sequence) return;
      const target = Math.min(this.#options.batchBytes, ring.bytesAfter(sequence));
      const packing = this.#packing ?? new BatchBuilder(incarnation, sequence, target);
      this.#packing = packing;
      ring.fill(packing, this.#options.rules);
      this.#trunk.reached(packing.lastSequence);
      if (packing.count === 0 && this.#unsettled !== undefined) return;
      this.#letOut(packing);
    }
  }

  #letOut(batch: BatchBuilder): void {
    this.#packing = undefined;
    const { incarnation, lastSequence, lastSeconds: seconds, lastNanos: nanos } = batch;
    const position = { incarnation, sequence: lastSequence };
    this.#place = { ...this.#place!, position, time: { seconds, nanos } };
    if (batch.count === 0) this.#unsettled = position;
    this.#allowance -= batch.rawBytes;
    batch.headSequence = this.#head;
    this.#events?.batch(batch);
  }

  #fallOut(trunk: Trunk): void {
    this.trunkEnded();
    trunk.leave(this);
  }
}
