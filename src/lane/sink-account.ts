import type { Failure } from '../wire/reasons.ts';
import { LateCopies } from './late-copies.ts';
import { splitAt } from './poison.ts';
import type { SinkAppender } from './sink-appender.ts';
import { SinkFlight } from './sink-flight.ts';
import { type BatchItem, batchItem, endOf, type SinkLaneState, storedEffect } from './sink-lane-state.ts';
import type { SinkLanes } from './sink-lanes.ts';
import type { SinkWriterEffect } from './sink-writer-events.ts';

/**
 * What is known of the sink of one writer, and which of its batches that leaves open: up to where it is known to hold what was
 * sent, and up to where the cursors account for everything in it. Batches enter the flight and leave it here.
 */
export class SinkAccount {
  readonly flight = new SinkFlight();
  readonly late: LateCopies;
  readonly #round: SinkAppender;
  readonly #lanes: SinkLanes;
  readonly #emit: (effect: SinkWriterEffect) => void;
  #storedUpTo = 0;
  #completeUpTo = 0;

  constructor(options: {
    readonly round: SinkAppender;
    readonly lanes: SinkLanes;
    readonly lateMs: number;
    readonly emit: (effect: SinkWriterEffect) => void;
  }) {
    this.#round = options.round;
    this.#lanes = options.lanes;
    this.#emit = options.emit;
    this.late = new LateCopies(options.lateMs);
  }

  /** Newest sink sequence known to be stored by us or read. */
  get storedUpTo(): number {
    return this.#storedUpTo;
  }

  /** Sink sequence up to which everything is accounted for by the cursors: the end of the last complete item. */
  get completeUpTo(): number {
    return this.#completeUpTo;
  }

  /** The sink needs no scan up to `accounted`, and has been seen to end at `last`. */
  begin(accounted: number, last: number): void {
    [this.#completeUpTo, this.#storedUpTo] = [accounted, last];
  }

  /** The walk of an item has ended. */
  walked(item: BatchItem, nowMs: number): void {
    item.endAt = this.#round.sent;
    this.flight.walked(item);
    this.#takeComplete(nowMs);
  }

  /** What the round knows to be done is stored, the last of it at `sinkSequence`. */
  stored(sinkSequence: number, nowMs: number): void {
    this.#storedUpTo = Math.max(this.#storedUpTo, sinkSequence);
    this.#takeComplete(nowMs);
  }

  #takeComplete(nowMs: number): void {
    for (const complete of this.flight.takeComplete(this.#round.done)) this.#complete(complete, nowMs);
  }

  #complete(item: BatchItem, nowMs: number): void {
    const { lane, epoch } = item;
    this.flight.drop(item);
    this.#round.stored(item);
    const newest = item.endAt === this.#round.done;
    const { position, seen, last } = endOf(item);
    if (last !== undefined) lane.last = last;
    if (item.appended > 0) lane.setAside = 0;
    if (position !== undefined) lane.moveCursor(position, seen);
    this.late.left(item, nowMs);
    // In id mode the place of a record is known only from its own answer, which is the newest one at this moment or none; and a copy
    // of what is being repeated, or was given up, may stand before it that nobody has seen.
    if (this.#round.mode === 'chain') this.#completeUpTo = this.#round.base + item.endAt;
    else if (newest && !this.flight.repeating && !this.late.expected) this.#completeUpTo = this.#storedUpTo;
    lane.accounted = this.#completeUpTo;
    if (position !== undefined && lane.session?.epoch === epoch) this.#emit(storedEffect(item, position));
    this.released(lane);
  }

  /** Everything up to `lastSequence` has been read: rewinds what was in flight to what is stored. */
  resume(lastSequence: number, nowMs: number): void {
    for (const item of this.flight.redo()) this.#round.rewind(item);
    const orphans = this.flight.removeRedo((item) => item.lane.session?.epoch !== item.epoch);
    this.#storedUpTo = this.#completeUpTo = lastSequence;
    for (const lane of this.#lanes.values()) {
      lane.tip = lane.last?.position;
      lane.accounted = lastSequence;
    }
    for (const item of orphans) {
      this.#giveUp(item, nowMs);
      this.released(item.lane);
    }
  }

  /** The session of a lane is over while the sink is known: what of it is on its way is not appended any further. */
  close(lane: SinkLaneState, nowMs: number): void {
    // Rewound already and not walked again: nothing of these is on its way. While reading, `resume` sorts them out.
    for (const item of this.flight.removeRedo((item) => item.lane === lane)) this.#giveUp(item, nowMs);
    const item = this.flight.current;
    if (item?.lane !== lane) return;
    item.partial = true;
    this.flight.current = undefined;
    this.walked(item, nowMs);
  }

  /**
   * The record that the walk stands on cannot be stored. What went before it on the lane is an item by itself; the record takes its turn
   * when that is stored, and everything else of the lane behind it.
   */
  setApart(item: BatchItem, failure: Failure, nowMs: number): void {
    const { lane } = item;
    const { before, view, poison, behind } = splitAt(item, failure);
    this.flight.cut(item, { batch: before, view });
    const later = this.flight.removeRedo((one) => one.lane === lane);
    for (const one of later) this.#giveUp(one, nowMs);
    const rest = [behind, ...later.map(({ batch }) => batch)];
    this.#lanes.pushBack(lane, [poison, ...rest.map((batch) => batchItem(lane, lane.session!, batch))]);
    this.flight.current = undefined;
    this.walked(item, nowMs);
  }

  /** Nothing more of the lane in flight: a gap may take its turn, a closed lane is idle. */
  released(lane: SinkLaneState): void {
    if (lane.inFlight > 0) return;
    if (lane.session === undefined) this.#emit({ type: 'idle', lane: lane.id });
    else this.#lanes.again(lane);
  }

  /** An item of a session that is over is not walked again. */
  #giveUp(item: BatchItem, nowMs: number): void {
    this.flight.drop(item);
    this.late.left(item, nowMs);
  }
}
