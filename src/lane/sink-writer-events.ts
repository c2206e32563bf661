import type { SinkLane, TailRecord } from '../brokers/broker.ts';
import type { OriginMark } from '../dedupe/origin-snapshot.ts';
import type { InBatch } from '../wire/batch.ts';
import type { Position, Witness } from '../wire/position.ts';
import type { Failure, Reason } from '../wire/reasons.ts';

/**
 * How records are appended. `chain`: each names the last sequence it expects, many in flight. `id`: each has a
 * message id, fewer in flight; for streams that others write too, because there a chain would lose its order: a foreign
 * record in between refuses one of ours and lets the next one pass.
 */
export type AppendMode = 'chain' | 'id';

export interface SinkWriterOptions {
  /** Records appended and not yet answered, in chain mode. The server drops what runs too far ahead of it. */
  readonly maxInFlightRecords: number;
  /** The same in id mode: a failure may put so many records out of order. */
  readonly maxInFlightIdRecords: number;
  readonly maxInFlightBytes: number;
  /** Without an answer for so long, nothing is known about what is in flight. */
  readonly answerTimeoutMs: number;
  /** Something sent over a connection that was given up may still be stored for so long. */
  readonly lateMs: number;
  /** Id mode ends when no foreign record came for so long. */
  readonly idModeMs: number;
  /** A subject that may not be written is held against the record when that lasts for so long. */
  readonly subjectPatienceMs: number;
  /** Others write the stream by design: id mode from the start, and for good. */
  readonly shared: boolean;
}

export const sinkWriterDefaults: SinkWriterOptions = {
  maxInFlightRecords: 4096,
  maxInFlightIdRecords: 1024,
  maxInFlightBytes: 16 * 1024 * 1024,
  answerTimeoutMs: 5000,
  lateMs: 120_000,
  idModeMs: 60_000,
  subjectPatienceMs: 60_000,
  shared: false,
};

export type SinkWriterEvent =
  /**
   * First of all: the sink can be read and written, and needs no scan up to `accounted`. It has been seen to end at `last`, and what was
   * recalled of it is there while the record at `mark` is.
   */
  | {
      readonly type: 'start';
      readonly accounted: number;
      readonly last?: number;
      readonly mark?: OriginMark | undefined;
    }
  /** The re-read that a `read` effect asked for is complete; `observe` was called for every record of it. */
  | { readonly type: 'tail'; readonly lastSequence: number }
  | { readonly type: 'read-failed'; readonly failure: Failure }
  | { readonly type: 'open'; readonly lane: SinkLane; readonly epoch: number }
  | { readonly type: 'close'; readonly lane: string; readonly epoch: number }
  | { readonly type: 'batch'; readonly lane: string; readonly epoch: number; readonly batch: InBatch }
  | GapEvent
  /** `seen`: of the record where the lane goes on, if that one is known. */
  | {
      readonly type: 'gap-recorded';
      readonly lane: string;
      readonly epoch: number;
      readonly seen?: Witness | undefined;
    }
  /** The record that a `quarantine` effect gave is stored there, whether now or by an earlier session. */
  | { readonly type: 'quarantined'; readonly lane: string; readonly epoch: number }
  /** It cannot be, and why: the lane does not go on. */
  | {
      readonly type: 'quarantine-failed';
      readonly lane: string;
      readonly epoch: number;
      readonly failure: Failure;
    }
  /** The sink holds this record of ours: it was found there as the one that an append would have repeated. */
  | { readonly type: 'held'; readonly record: TailRecord }
  /** Every append of this round up to `count` is stored, the last of them at `sinkSequence`; 0 if it was held already. */
  | { readonly type: 'stored'; readonly count: number; readonly sinkSequence: number }
  | { readonly type: 'unsure'; readonly failure: Failure; readonly chainBroken: boolean }
  /** Others write the stream by design, or do so no longer. */
  | { readonly type: 'shared'; readonly shared: boolean }
  /**
   * The sink may hold what somebody else wrote of our lanes: it is read before anything else is. And he may write still, without ids: where
   * that can be, the chain goes on from there, which tells.
   */
  | { readonly type: 'reread' }
  | { readonly type: 'tick' };

export interface GapEvent {
  readonly type: 'gap';
  readonly lane: string;
  readonly epoch: number;
  readonly after: Position;
  readonly upTo: Position;
  readonly reason: Reason;
}

export type SinkWriterEffect =
  /**
   * Read the last sequence and every record behind `after`, tell `observe`, then send `tail` or `read-failed`; but begin anew if the newest
   * record of ours that was known before is not where it was. `lost`: the sink has lost records for certain.
   */
  | { readonly type: 'read'; readonly after: number; readonly delayMs: number; readonly lost: boolean }
  | StoredEffect
  | RecordGapEffect
  | QuarantineEffect
  /** The session of this lane cannot go on. */
  | { readonly type: 'refused'; readonly lane: string; readonly epoch: number; readonly failure: Failure }
  /** Nothing of this lane is in flight any more; its cursor is final until the next session opens. */
  | { readonly type: 'idle'; readonly lane: string }
  /** What keeps the sink from taking records; absent when it takes them again. */
  | { readonly type: 'health'; readonly failure: Failure | undefined }
  | { readonly type: 'mode'; readonly mode: AppendMode };

export interface RecordGapEffect extends Omit<GapEvent, 'type'> {
  readonly type: 'record-gap';
}

/** A record that the sink refuses for good, and everything before it is stored: into the quarantine with it. */
export interface QuarantineEffect {
  readonly type: 'quarantine';
  readonly lane: SinkLane;
  readonly epoch: number;
  readonly position: Position;
  /** As it came: a RecordList of one. */
  readonly record: Buffer;
  /** Why it is refused. */
  readonly failure: Failure;
}

export interface StoredEffect {
  readonly type: 'stored';
  readonly lane: string;
  readonly epoch: number;
  readonly position: Position;
  /** Bytes of the batch on the wire, for the credit. */
  readonly bytes: number;
  readonly records: number;
  readonly duplicates: number;
  readonly loops: number;
  readonly quarantined: number;
}
