import type { TailRecord } from '../brokers/broker.ts';
import type { SinkLaneState } from './sink-lane-state.ts';

/** What one reading of a sink's tail has come across so far. */
export class TailReading {
  #seen: number;
  /** Highest sequence that was not there. */
  #missing = 0;
  /** A record that no lane wrote was there. */
  foreign = false;

  constructor(after: number) {
    this.#seen = after;
  }

  /** The next sequence that is there, in ascending order. */
  saw(sinkSequence: number, ours: boolean): void {
    if (sinkSequence !== this.#seen + 1) this.#missing = sinkSequence - 1;
    this.#seen = sinkSequence;
    if (!ours) this.foreign = true;
  }

  /**
   * Tells a lane of its record, the one that `saw` was just called for. In id mode one before it that is not there and was not answered
   * for counts as not stored, whatever others deleted meanwhile: sent again, the sink knows it by its id.
   */
  tell(record: TailRecord, lane: SinkLaneState, inIdMode: boolean): void {
    const from = Math.max(lane.accounted, lane.last?.sinkSequence ?? 0);
    if (record.sinkSequence <= lane.accounted) lane.observeKnown(record);
    else lane.observe(record, (inIdMode && lane.inFlight > 0) || this.#isContiguousFrom(from));
  }

  /** True if every sequence behind `sinkSequence` was there: what was not seen was then never stored, rather than deleted. */
  #isContiguousFrom(sinkSequence: number): boolean {
    return this.#missing <= sinkSequence;
  }
}
