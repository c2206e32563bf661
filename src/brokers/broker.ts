import type { BatchBuilder } from '../wire/batch.ts';
import type { Opening } from '../wire/frame.ts';
import type { Position } from '../wire/position.ts';
import type { Failure, Reason } from '../wire/reasons.ts';
import type { RecordView } from '../wire/record-view.ts';

/** What a Source tells its lane. Calls come asynchronously, never from inside a method of the Source. */
export interface SourceEvents {
  /** The cursor was proven (or there was none): records follow from behind this position. Once, first. */
  opened(at: Position): void;
  /**
   * Records, in position order; follows without a hole on what came before. The batch belongs to the receiver. Its last position
   * may lie behind its last record, and it may hold none, when records were left out: the cursor passes those.
   */
  batch(batch: BatchBuilder): void;
  /** Positions that will never come, and where the source goes on. Takes its turn between batches. */
  gap(after: Position, upTo: Position, reason: Reason): void;
  /** Newest sequence at the source, whenever it becomes known. */
  head(sequence: number): void;
  /** The source can no longer be read. Nothing comes after this. */
  failed(failure: Failure): void;
}

/**
 * The end of a lane that yields records. Opened once per session. Emits no more bytes of batches than it was allowed;
 * what it reads ahead is bounded by itself.
 */
export interface Source {
  /**
   * Proves the cursor by its witnesses and reads on behind it. Without a cursor, finds where `start` says, tells it by an empty
   * batch, and reads on from there; without that too, from the first record there is.
   */
  open(opening: Pick<Opening, 'cursor' | 'witnesses' | 'start'>, events: SourceEvents): void;
  /** Sets how many more bytes may be emitted; replaces the earlier allowance. One batch may exceed it. */
  pull(allowanceBytes: number): void;
  /** Everything up to `position` is safe at the sink (I1). A batch without records waits for the one before it to be (I5). */
  settle(position: Position): void;
  close(): void;
}

/** What the sink log needs to know of the lane a record came over, to write its headers. Made once per session. */
export interface SinkLane {
  readonly id: string;
  /** The cluster at the sending end. */
  readonly from: string;
  readonly sourceStream: string;
  /** Subject at the sink; undefined if the mapping yields none that may be written. `origin`: where the record was first seen. */
  map(subject: string, origin: string): string | undefined;
  /** Whether the own grants allow writing this subject. */
  allows(subject: string): boolean;
  /** Whether the peer may speak in the name of this cluster, where a record was first seen. */
  acceptsOrigin(cluster: string): boolean;
}

/** A record of ours, as found in the sink by its headers. */
export interface TailRecord {
  readonly sinkSequence: number;
  readonly lane: string;
  readonly position: Position;
  /** Sequence of the record that went before it on the lane; a record whose predecessor is missing marks a hole. */
  readonly previous: number;
  readonly origin: {
    readonly space: string;
    readonly sequence: number;
    /** When it was stored there, in µs since 1970; 0 if that is not known. */
    readonly time: number;
    /** When the lane's own source stored it. */
    readonly seconds: number;
    readonly nanos: number;
  };
}

/** What a SinkLog tells its writer. */
export interface SinkLogEvents {
  /**
   * The first `count` appends since `restart` are stored, the last of them at `sinkSequence`; 0 if the sink held that record already:
   * where it stands may be the place of another lane's.
   */
  stored(count: number, sinkSequence: number): void;
  /**
   * An append was refused, or the answer is missing, or the connection was lost: nothing may be inferred about
   * anything in flight. The writer re-reads before it goes on. `chainBroken`: another writer's record came between.
   */
  unsure(failure: Failure, chainBroken: boolean): void;
}

/** A sink stream as an append-only log with optimistic concurrency. Every append is answered. */
export interface SinkLog {
  /** A new round of appends begins: answers to earlier ones that still come in are of no interest. */
  restart(): void;
  /**
   * Appends the record the view stands on. With `expectLast` the sink takes it only if that is its last sequence; without, the
   * record carries its identity as message id. Returns a failure if the record can never be stored (too large, a subject that
   * may not be written); nothing was sent then.
   */
  append(
    view: RecordView,
    lane: SinkLane,
    incarnation: string,
    previous: number,
    expectLast: number | undefined,
  ): Failure | undefined;
}
