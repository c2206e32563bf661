import type { Checkpoint } from '../brokers/store.ts';
import type { SinkWriter } from '../lane/sink-writer.ts';
import type { Waiters } from '../lib/waiters.ts';
import { type Failure, FailureError } from '../wire/reasons.ts';
import type { LaneEntry, SinkCheckpoints } from './sink-checkpoints.ts';

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
