import type { SinkLane, TailRecord } from '../brokers/broker.ts';
import type { InBatch } from '../wire/batch.ts';
import { type Position, payloadDigest, samePosition, type Witness } from '../wire/position.ts';
import type { Failure, Reason } from '../wire/reasons.ts';
import { RecordView } from '../wire/record-view.ts';
import type { StoredEffect } from './sink-writer-events.ts';

/** A batch on its way into the sink. */
export interface BatchItem {
  readonly kind: 'batch';
  readonly lane: SinkLaneState;
  readonly epoch: number;
  /** All of a batch, or the part of it that goes before a record which the sink does not take. */
  batch: InBatch;
  view: RecordView;
  /** Offset of the record on which the walk stands. */
  recordAt: number;
  /** Sequences that were not appended when the item was walked, because the sink holds them or they loop. */
  readonly duplicates: Set<number>;
  /** How many of those were dropped because they had been here before. */
  loops: number;
  /** Sequence space of the records that were first seen at the lane's source: cluster/stream/incarnation. */
  readonly space: string;
  /** Records appended by the present walk, and the last of them. */
  appended: number;
  last: AppendedRecord | undefined;
  /** Where the payload of that one stands, and the offset behind it. */
  payloadStart: number;
  payloadEnd: number;
  walked: number;
  /** Highest sequence that was ever appended of it, in this round or an earlier one. */
  sentUpTo: number;
  /** Once the walk is at its end: how many appends of this round must be stored for the item to be complete. */
  endAt: number;
  /** The session ended in the middle of the walk: the rest is not appended. */
  partial: boolean;
  /** Walked before, in an earlier round: its records may still arrive by a connection that comes back. */
  again: boolean;
  /** Cluster in whose name the lane was last found to speak rightly. */
  spokenFor: string;
}

/** A gap on its way into the ledger. */
export interface GapItem {
  readonly kind: 'gap';
  readonly lane: SinkLaneState;
  readonly epoch: number;
  readonly after: Position;
  readonly upTo: Position;
  readonly reason: Reason;
}

/** A record that the sink does not take, on its way into the quarantine. */
export interface PoisonItem {
  readonly kind: 'poison';
  readonly lane: SinkLaneState;
  readonly epoch: number;
  readonly position: Position;
  /** As it came: a RecordList of one. */
  readonly record: Buffer;
  readonly failure: Failure;
}

export type SinkItem = BatchItem | GapItem | PoisonItem;

/** A record of a lane in the sink. `digest` is absent when it was only seen in a headers-only scan. */
export interface LastRecord {
  readonly position: Position;
  readonly seconds: number;
  readonly nanos: number;
  /** 0 while its place is not known. */
  sinkSequence: number;
  digest?: Buffer;
}

/** A record that was appended, whether it is stored or not. */
export interface AppendedRecord extends LastRecord {
  readonly lane: string;
}

/** What the writer of a sink stream knows and holds of one lane. */
export class SinkLaneState {
  readonly id: string;
  cursor: Position | undefined;
  /** Of the record at the cursor, if that one passed without being stored. What the sink does not hold proves nothing about the sink. */
  seen: Witness | undefined;
  /** The last record that is known to be stored. */
  last: LastRecord | undefined;
  /**
   * Position of the last record that was appended, stored or not, or left to another lane that may have it under way: the next one names
   * it as its predecessor, so that a hole shows if that came to nothing.
   */
  tip: Position | undefined;
  /** Sink sequence up to which every record of this lane is accounted for by `cursor` and `ahead`. */
  accounted = 0;
  /** Sequences behind the cursor that are stored although one before them is not: a hole left by a connection that came back. */
  readonly ahead = new Set<number>();
  /** Incarnation of those, while there is no cursor to tell it. */
  #aheadOf = '';
  /** Present while a session is open. */
  session: { readonly lane: SinkLane; readonly epoch: number } | undefined;
  /** Waiting to be appended, in order. */
  readonly queue: SinkItem[] = [];
  /** Items appended or being appended, not yet known to be stored. */
  inFlight = 0;
  /** What is on its way into the ledger or the quarantine. */
  entering: GapItem | PoisonItem | undefined;
  /** The record that was refused when it was appended alone; `failure`: it is not tried again in this session. */
  doubted: { readonly position: Position; readonly failure: Failure | undefined } | undefined;
  #refusedSince: { readonly position: Position; readonly atMs: number } | undefined;
  /** Records in a row that went into the quarantine, with none stored between them. */
  setAside = 0;

  constructor(id: string) {
    this.id = id;
  }

  /** A record was refused when it was appended alone. It has one more try without headers that take effect, where that may be why. */
  refused(position: Position, failure: Failure): void {
    const again = failure.reason === 'record-refused' && !samePosition(this.doubted?.position, position);
    this.doubted = { position, failure: again ? undefined : failure };
  }

  /** For how long the record there, which is next, has been refused, over all sessions. */
  refusedForMs(position: Position, nowMs: number): number {
    if (!samePosition(this.#refusedSince?.position, position)) this.#refusedSince = { position, atMs: nowMs };
    return nowMs - this.#refusedSince!.atMs;
  }

  doubtOf(incarnation: string, sequence: number): SinkLaneState['doubted'] {
    const position = this.doubted?.position;
    return position?.sequence === sequence && position.incarnation === incarnation ? this.doubted : undefined;
  }

  /** Sequence of the record the next one follows on this lane, for the Causeway-Lane header; 0 at the start of an incarnation. */
  previousFor(incarnation: string): number {
    return this.tip?.incarnation === incarnation ? this.tip.sequence : 0;
  }

  /** True if the sink is known to hold this very position of the lane. */
  holds(incarnation: string, sequence: number): boolean {
    const cursor = this.cursor;
    if ((cursor?.incarnation ?? this.#aheadOf) !== incarnation) return false;
    return (cursor !== undefined && sequence <= cursor.sequence) || this.ahead.has(sequence);
  }

  /**
   * Takes in a record of this lane found in the sink. `contiguous`: no sequence of the sink is missing between the
   * lane's last known record and this one, so that a missing predecessor was never stored rather than deleted since.
   * Returns true if the record lies behind a hole.
   */
  observe(record: TailRecord, contiguous: boolean): boolean {
    const { incarnation, sequence } = record.position;
    const cursor = this.cursor ?? { incarnation, sequence: 0 };
    if (cursor.incarnation === incarnation) {
      if (sequence <= cursor.sequence) return false;
      if (record.previous > cursor.sequence && contiguous) {
        if (this.cursor === undefined && this.#aheadOf !== incarnation) this.ahead.clear();
        this.#aheadOf = incarnation;
        this.ahead.add(sequence);
        return true;
      }
    }
    this.moveCursor(record.position);
    this.setAside = 0;
    this.last = {
      position: record.position,
      seconds: record.origin.seconds,
      nanos: record.origin.nanos,
      sinkSequence: record.sinkSequence,
    };
    return false;
  }

  /** Takes in the place of a record that the checkpoint knew already. */
  observeKnown(record: TailRecord): void {
    if (this.last?.sinkSequence === 0 && samePosition(this.last.position, record.position))
      this.last.sinkSequence = record.sinkSequence;
  }

  /**
   * Moves the cursor, never back within an incarnation; what lay ahead of it and is now passed is forgotten. `seen`: of the record
   * there, if it is not stored.
   */
  moveCursor(to: Position, seen?: Witness): void {
    if (this.cursor?.incarnation === to.incarnation && to.sequence <= this.cursor.sequence) return;
    if ((this.cursor?.incarnation ?? this.#aheadOf) !== to.incarnation) this.ahead.clear();
    this.cursor = to;
    this.seen = seen;
    for (const sequence of this.ahead) if (sequence <= to.sequence) this.ahead.delete(sequence);
  }

  /** Sink sequence behind which a scan has to start to find everything of this lane that `cursor` does not say. */
  scanFrom(writerStoredUpTo: number): number {
    if (this.ahead.size > 0) return this.last?.sinkSequence ?? 0;
    return this.inFlight === 0 ? writerStoredUpTo : this.accounted;
  }

  /** The newest witness, if its digest is known. */
  witness(): Witness | undefined {
    const last = this.last;
    if (last?.digest === undefined) return undefined;
    return { position: last.position, seconds: last.seconds, nanos: last.nanos, digest: last.digest };
  }
}

export function batchItem(lane: SinkLaneState, session: { lane: SinkLane; epoch: number }, batch: InBatch): BatchItem {
  return {
    kind: 'batch',
    lane,
    epoch: session.epoch,
    batch,
    view: new RecordView(batch.packed),
    recordAt: 0,
    duplicates: new Set(),
    loops: 0,
    space: `${session.lane.from}/${session.lane.sourceStream}/${batch.incarnation}`,
    appended: 0,
    last: undefined,
    payloadStart: 0,
    payloadEnd: 0,
    walked: 0,
    sentUpTo: 0,
    endAt: 0,
    partial: false,
    again: false,
    spokenFor: session.lane.from,
  };
}

/** What the completion of an item says of its lane. */
export interface ItemEnd {
  /** The cursor is here or further on. */
  readonly position?: Position;
  /** Of the record there, if the item did not store it. */
  readonly seen?: Witness;
  /** The last record that it stored. */
  readonly last?: LastRecord;
}

/** Says of an item that is complete where it ended; finds the digests that prove it. */
export function endOf(item: BatchItem): ItemEnd {
  const { partial, batch, view } = item;
  const appended = item.last === undefined ? {} : appendedEnd(item, item.last);
  const position = { incarnation: batch.incarnation, sequence: batch.lastSequence };
  if (partial || samePosition(appended.position, position)) return appended;
  const stored = appended.last && { last: appended.last };
  // Walked to its end, the view still describes the last record that came.
  if (view.sequence !== position.sequence) return { ...stored, position, ...(batch.seen && { seen: batch.seen }) };
  const { seconds, nanos, buffer, payloadStart, payloadEnd } = view;
  const digest = payloadDigest(buffer.subarray(payloadStart, payloadEnd));
  return { ...stored, position, seen: { position, seconds, nanos, digest } };
}

/** The same of its last append: the sink may have held that record already, under another lane. */
function appendedEnd({ batch, payloadStart, payloadEnd }: BatchItem, last: LastRecord): ItemEnd {
  last.digest = payloadDigest(batch.packed.subarray(payloadStart, payloadEnd));
  const { position, seconds, nanos, digest } = last;
  return last.sinkSequence > 0 ? { last, position } : { position, seen: { position, seconds, nanos, digest } };
}

/** What is told of an item that is stored, the position of its lane from now on being `position`. */
export function storedEffect(item: SinkItem, position: Position): StoredEffect {
  const { lane, epoch } = item;
  const none = { bytes: 0, records: 0, duplicates: 0, loops: 0, quarantined: 0 };
  return { type: 'stored', lane: lane.id, epoch, position, ...none, ...counts(item) };
}

function counts(item: SinkItem): Partial<StoredEffect> {
  switch (item.kind) {
    case 'gap':
      return {};
    case 'poison':
      return { bytes: item.record.length, quarantined: 1 };
    case 'batch': {
      const { batch, appended: records, duplicates, loops } = item;
      return { bytes: batch.packed.length, records, duplicates: duplicates.size - loops, loops };
    }
  }
}
