import type { Sink, SinkLane } from '../brokers/broker.ts';
import type { Checkpoint } from '../brokers/store.ts';
import type { SinkWriter } from '../lane/sink-writer.ts';
import type { SinkWriterEvent } from '../lane/sink-writer-events.ts';
import type { Logger } from '../lib/logger.ts';
import type { Waiters } from '../lib/waiters.ts';
import { type Failure, FailureError } from '../wire/reasons.ts';
import type { SinkCensus } from './sink-census.ts';
import type { LaneEntry, SinkCheckpoints } from './sink-checkpoints.ts';
import { findDigest } from './sink-recall.ts';
import { holdOn, type SinkSession, type SinkSessionEvents, withBeginning } from './sink-session.ts';
import { findStart, forgetPrevious, type LaneBeginning, type StartContext } from './sink-start.ts';

/** Why sessions end when a sink turns out to hold less than it held. */
export const lostRecords: Failure = {
  reason: 'sink-blocked',
  detail: 'the sink stream lost records; reading it anew',
};

/** What the opening of a session sees of its sink stream. */
export interface OpeningContext {
  readonly lanes: SinkCheckpoints;
  /** The present one. */
  readonly writer: () => SinkWriter;
  /** What keeps the stream from taking records. */
  readonly failure: () => Failure | undefined;
  /** Released when the sink is known, or what is wrong with it. */
  readonly opened: Waiters;
  /** Has what the sink holds read anew, and proved to be what it was. */
  readonly reread: () => void;
  /** Whether the sink, as it was last read, may hold what a checkpoint speaks of. */
  readonly mayHold: (checkpoint: Checkpoint) => Promise<boolean>;
  /** The stream is given up. */
  readonly stopped: AbortSignal;
}

/** The steps by which a session of a lane opens. Each throws FailureError as soon as nobody waits for the session any more. */
export class SinkOpening {
  readonly #context: OpeningContext;
  readonly #signal: AbortSignal;

  constructor(context: OpeningContext, signal: AbortSignal) {
    this.#context = context;
    this.#signal = signal;
  }

  /** Waits until it is known what the sink holds. Throws what stands in the way. */
  async ready(): Promise<void> {
    const { writer, failure, opened } = this.#context;
    this.#refuseGivenUp();
    for (;;) {
      const wrong = failure();
      if (writer().isOpen && wrong === undefined) return;
      if (wrong !== undefined) throw new FailureError(wrong.reason, wrong.detail);
      await opened.wait(this.#signal);
      this.#refuseGivenUp();
    }
  }

  /** Waits until nothing of a lane is in flight. */
  async idle(entry: LaneEntry): Promise<void> {
    while (this.#context.writer().lane(entry.id).inFlight > 0) {
      await entry.idle.wait(this.#signal);
      this.check(entry);
    }
  }

  /**
   * Gives the revision that a session of the lane has to write over. If somebody else served the lane since this daemon read or
   * wrote its checkpoint, the sink is read first: what they stored is to be known before anything is asked for.
   */
  async takeOver(entry: LaneEntry): Promise<number> {
    const { lanes, writer, reread, mayHold } = this.#context;
    const { revision, checkpoint, foreign } = await lanes.present(entry);
    this.check(entry);
    if (!foreign) return revision;
    // What is being read now may have begun before that was written.
    while (!writer().isOpen) await this.ready();
    reread();
    await this.ready();
    this.check(entry);
    // Whoever wrote it may not have known yet that the sink had lost its tail; then its records alone tell.
    if (checkpoint === undefined || !(await mayHold(checkpoint))) return revision;
    this.check(entry);
    lanes.takeOver(entry, checkpoint);
    return revision;
  }

  /** Throws FailureError if nobody waits for the session any more, or another one has the lane. */
  check(entry: LaneEntry): void {
    this.#refuseGivenUp();
    if (entry.session !== undefined || !this.#context.lanes.has(entry))
      throw new FailureError('superseded', 'another session opened meanwhile');
  }

  #refuseGivenUp(): void {
    if (this.#signal.aborted || this.#context.stopped.aborted)
      throw new FailureError('draining', 'the session was given up');
  }
}

/** What `openSession` needs beside. */
export interface SessionContext extends OpeningContext {
  readonly stream: string;
  readonly log: Logger;
  readonly census: () => SinkCensus;
  readonly sink: () => Pick<Sink, 'messageAt'> & { readonly isAccounted: boolean };
  /** Whether the sink still holds what it was known to hold. */
  readonly isWhole: () => Promise<boolean>;
  readonly step: (event: SinkWriterEvent) => void;
  readonly endSession: (entry: LaneEntry, failure: Failure) => void;
}

/**
 * Opens a session of a lane: waits until the stream is known, ends an older session, and wins the epoch. Throws
 * FailureError with what stands in the way.
 */
export async function openSession(
  wanted: { readonly lane: SinkLane; readonly plan: LaneBeginning; readonly events: SinkSessionEvents },
  context: SessionContext,
  signal: AbortSignal,
): Promise<SinkSession> {
  const { lane, plan, events } = wanted;
  const { lanes, stopped, step } = context;
  const opening = new SinkOpening(context, signal);
  await opening.ready();
  const entry = lanes.entry(lane.id);
  context.endSession(entry, { reason: 'superseded', detail: 'a newer session of this lane opens' });
  await opening.idle(entry);
  const revision = await opening.takeOver(entry);
  const old = plan.previously === undefined ? undefined : lanes.entry(plan.previously);
  if (old !== undefined && old.session === undefined) await opening.takeOver(old);
  const writer = context.writer();
  const beginning: StartContext = {
    stream: context.stream,
    log: context.log,
    writer,
    census: context.census(),
    lanes,
    idle: (one) => opening.idle(one),
    findDigest: (one) => findDigest(one, context.sink()),
    isAccounted: context.sink().isAccounted,
  };
  const start = await findStart(plan, beginning);
  if (!(await context.isWhole())) throw new FailureError(lostRecords.reason, lostRecords.detail);
  opening.check(entry);
  const epoch = await lanes.winEpoch(entry, revision);
  await forgetPrevious(plan, beginning);
  opening.check(entry);
  entry.session = { epoch, events, parks: plan.gaps === 'park' };
  const present = context.writer();
  const state = present.lane(lane.id);
  step({ type: 'open', lane, epoch });
  const isOpen = () => entry.session?.epoch === epoch;
  const session = holdOn(state, epoch, entry.history.list(), {
    isOpen,
    step,
    end: () => {
      entry.session = undefined;
    },
    // A writer that was replaced holds nothing any more.
    holds: () => !stopped.aborted && present === context.writer() && state.inFlight > 0,
    idle: () => entry.idle.wait(stopped),
  });
  if (start === undefined) return session;
  return withBeginning({ ...session, start }, events.stored, lane.id, (at) => {
    state.moveCursor(at);
    if (start.at === 'new') entry.began = at;
    entry.dirty = true;
    return lanes.settle(entry, isOpen);
  });
}
