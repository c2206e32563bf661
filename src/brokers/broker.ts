import type { MemoryBudget } from '../lib/memory-budget.ts';
import type { CreatePlan } from '../topology/plan.ts';
import type { BatchBuilder } from '../wire/batch.ts';
import type { Opening } from '../wire/frame.ts';
import type { Position } from '../wire/position.ts';
import type { Failure, Reason } from '../wire/reasons.ts';
import type { RecordView } from '../wire/record-view.ts';
import type { SinkStore } from './store.ts';

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
  /** Everything up to `position` is safe at the sink (I1), and may go where it is drained. A batch without records waits for the one before it to be (I5). */
  settle(position: Position): void;
  close(): void;
}

/** What a lane leaves out at its source (I4). Only records that prove where they came from are looked at. */
export interface ExportRules {
  /** cluster/stream where the lane ends: a record that was there before would be dropped there, and is not sent. */
  readonly sink: string;
  /** Whether records that this lane brought here stay here: a link does not carry on what it brought in. */
  imported(lane: string): boolean;
  /** Whether records go on that the broker copied here by itself, from another stream. */
  readonly sourced: boolean;
}

/** Why a record is left out: it is where the lane leads already, or would come to it from elsewhere; or the broker copied it here. */
export type LeftOut = 'elsewhere' | 'sourced';

/** How much of a source stream may be held in memory (I5), in bytes. */
export interface SourceBounds {
  /** Size of the records at which a batch is full. */
  readonly batchBytes: number;
  /** Read ahead of what a lane may send. */
  readonly prefetchBytes: number;
  /** What was read once for several lanes. */
  readonly ringBytes: number;
  /** Where all of it is taken from. */
  readonly memory: MemoryBudget;
}

/** A lane that drains its source, which knows it by its id. */
export interface Consume {
  readonly lane: string;
  /** Its id before. */
  readonly previously?: string;
}

/** A stream of the own cluster, which the lanes that begin at it read together as far as they stand close to each other. */
export interface SourceStream {
  /** The source of one session; `rules` say what it leaves out. */
  lane(rules: ExportRules, consume?: Consume): Source;
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
  /** Before that, if it is known: the record in the sink because of which an append was not stored again. */
  held(record: TailRecord): void;
  /**
   * An append was refused, or the answer is missing, or the connection was lost: nothing may be inferred about
   * anything in flight. The writer re-reads before it goes on. `chainBroken`: another writer's record came between.
   */
  unsure(failure: Failure, chainBroken: boolean): void;
  /** Each answer by itself, in the order in which they come: that append of this round is stored there, or (undefined) refused. */
  answered?(append: number, sinkSequence: number | undefined): void;
}

/** An append that has been prepared: sends it; `false`: it is not to be sent any more. */
export type HeldAppend = (send: boolean) => void;

/** A sink stream as an append-only log with optimistic concurrency. Every append is answered. */
export interface SinkLog {
  /** A new round of appends begins: answers to earlier ones that still come in are of no interest. */
  restart(): void;
  /**
   * Appends the record the view stands on. With `expectLast` the sink takes it only if that is its last sequence; without, the
   * record carries its identity as message id. `plain`: no header of the application's is to have an effect. Returns a failure if the record can never be stored (too large, a subject that
   * may not be written); nothing was sent then.
   */
  append(
    view: RecordView,
    lane: SinkLane,
    incarnation: string,
    previous: number,
    expectLast: number | undefined,
    plain: boolean,
  ): Failure | undefined;
}

/** What a sink stream was a moment ago. */
export interface SinkFacts {
  /** When it was made: of two streams that had one name after each other it is not the same. */
  readonly created: string;
  /** Of the oldest message that is left; behind `lastSequence` if there is none. */
  readonly firstSequence: number;
  readonly lastSequence: number;
  readonly messages: number;
  readonly replicas: number;
  /** Why exactly-once cannot be kept in it by this version; undefined if it can. */
  readonly unsuitable: string | undefined;
  /** Why its records may be gone before anybody looks for them; undefined if they stay. */
  readonly vanishing: 'consumed' | 'superseded' | 'aged' | undefined;
  /** From where the broker itself copies into it. */
  readonly copied: readonly CopiedStream[];
}

/** A stream from which a broker copies into another one by itself. */
export interface CopiedStream {
  readonly stream: string;
  /** Tells it from others of this name, elsewhere. */
  readonly index: string;
}

/** Where a message came from that no lane wrote, as its label says. */
export interface CopyLabel extends CopiedStream {
  readonly sequence: number;
  /** Filter and destination of the copying; undefined where the broker is too old to say. */
  readonly route: string | undefined;
}

/** Sees a message of a sink: the record that it is, if a lane wrote it, or else where it was copied from, if it says so. */
export type SinkObserver = (sequence: number, record: TailRecord | undefined, copy: CopyLabel | undefined) => void;

/** A message of a sink, whoever wrote it. */
export interface SinkMessage {
  /** When it was stored. */
  readonly seconds: number;
  readonly nanos: number;
  readonly payload: Buffer;
  readonly record: TailRecord | undefined;
}

/** A sink stream: its log, and what can be found out about it. What returns a promise throws FailureError. */
export interface Sink extends SinkLog {
  facts(): Promise<SinkFacts>;
  /** The message at a sequence; undefined if there is none. */
  messageAt(sequence: number): Promise<SinkMessage | undefined>;
  /**
   * Shows every message behind `after` up to the last one there is now, and returns that one's sequence. Waits first until nothing of this round
   * can be stored any more: when somebody else writes the stream, what is in flight behind a refused record is stored all the same, and
   * would come after the reading and be sent again.
   */
  tail(after: number, observe: SinkObserver): Promise<number>;
  /** Shows every message behind `after` up to the last one that `facts` speaks of, whatever is in flight. */
  scan(after: number, facts: SinkFacts, observe: SinkObserver, signal: AbortSignal): Promise<void>;
  /** From now on each append is given to `hold` instead of being sent; undefined: they are sent at once. */
  gate(hold: ((append: HeldAppend) => void) | undefined): void;
  /** Resolves when the fate of every append so far is known, or nobody will tell any more. */
  quiet(): Promise<void>;
  /** Makes the stream; one that exists is not altered. Returns what stood in the way. */
  create(plan: CreatePlan): Promise<Failure | undefined>;
  close(): void;
}

/** A record that stands in a stream, as it is compared with what another stream holds of it. Valid while it is shown. */
export interface SurveyedRecord {
  /** In this stream. */
  readonly at: number;
  /** Where it was first seen (cluster/stream), its sequence there, and when, in µs since 1970. */
  readonly place: string;
  readonly sequence: number;
  readonly time: number;
  /** In a sink: the lane that wrote it, and its place there. */
  readonly lane: string;
  readonly position: Position;
  /** In a source: the lane does not carry it. */
  readonly leftOut: boolean;
  /** Digest of what both ends of a lane can know of it: its origin, the headers of the application, its payload. Not its subject. */
  digest(): Buffer;
}

/** Sequences of a stream, both ends included. */
export interface SurveySpan {
  readonly from: number;
  readonly upTo: number;
}

/** Reads a stream again, beside the lanes, to compare it; it rests in between, so that lanes go on. What returns a promise throws FailureError. */
export interface Survey {
  /** First and last sequence; the first is behind the last if there is no record. */
  extent(): Promise<SurveySpan>;
  /** Sequence of the first record stored at that time (Unix ms) or later; undefined if there is none. */
  since(timeMs: number, extent: SurveySpan): Promise<number | undefined>;
  /** Every record in order of their sequences; `passed` tells how far it is, also past messages that are no records. */
  read(
    span: SurveySpan,
    observe: (record: SurveyedRecord) => void,
    passed: (sequence: number) => void,
    signal: AbortSignal,
  ): Promise<void>;
}

/** A source stream at a moment. */
export interface SourceState {
  /** By the clock that its records have their times from, as far as it can be known. Unix ms. */
  readonly atMs: number;
  readonly lastSequence: number;
  readonly messages: number;
  readonly bytes: number;
  readonly limits: RetentionLimits;
}

/** The limits of a stream by which it deletes its oldest records; absent where it has none. */
export interface RetentionLimits {
  readonly maxAgeMs?: number;
  readonly maxBytes?: number;
  readonly maxMessages?: number;
}

/** The own cluster as its ends of lanes see it. */
export interface Broker {
  /** Why it cannot be reached; undefined if it can. */
  readonly failure: Failure | undefined;
  /** What is kept of the lanes that end here. */
  readonly store: SinkStore;
  source(stream: string, bounds: SourceBounds): SourceStream;
  /** Newest sequence of a stream that is read here. Throws FailureError. */
  head(stream: string): Promise<number>;
  /** Removes what a lane keeps at a stream that it drained, which is wanted no more. Throws FailureError. */
  letGo(stream: string, lane: string): Promise<void>;
  /** How a stream that is read here stands, and by what it deletes. Throws FailureError. */
  sourceState(stream: string): Promise<SourceState>;
  /** When the first record at a sequence or behind it was stored, Unix ms; undefined if there is none. Throws FailureError. */
  storedMs(stream: string, sequence: number): Promise<number | undefined>;
  /** Throws FailureError while sinks cannot be reached. */
  requireSinks(): void;
  /** Calls back when sinks can be reached, for the first time or again; at once if they can. Returns the way to stop that. */
  listen(connected: () => void): () => void;
  sink(stream: string, events: SinkLogEvents): Sink;
  /** To compare a source stream; `rules` say what the lane leaves out. */
  surveySource(stream: string, rules: ExportRules): Survey;
  /** To compare a sink stream: what lanes wrote there. */
  surveySink(stream: string): Survey;
}
