import { IntervalSet } from './interval-set.ts';
import { RecordTimes } from './record-times.ts';

/** The records of one incarnation of a stream that a sink holds. */
export class OriginSpace {
  readonly set: IntervalSet;
  readonly times: RecordTimes;

  constructor(set = new IntervalSet(), times = new RecordTimes()) {
    this.set = set;
    this.times = times;
  }

  copy(): OriginSpace {
    return new OriginSpace(this.set.copy(), this.times.copy());
  }

  /** Whether a record with this sequence is held. */
  has(sequence: number): boolean {
    return this.set.has(sequence);
  }

  /**
   * Whether this very record is held, under the label that it comes with. If the time says that it is another one, a number was in use
   * before: the stream lost its tail, and the lane that brought the one before, or the one that brings this, has not noticed.
   */
  holds(sequence: number, time: number): boolean {
    return this.set.has(sequence) && !(time > 0 && this.times.differs(sequence, time));
  }

  /** The same for a record that comes under another label, as from a lane that proved the stream anew: its time has to prove it. */
  holdsUnlabelled(sequence: number, time: number): boolean {
    return time > 0 && time <= this.times.latest && this.set.has(sequence) && this.times.fits(sequence, time);
  }

  add(sequence: number, time: number): void {
    this.set.add(sequence);
    if (time > 0) this.times.add(sequence, time);
    else this.times.addUnknown();
  }
}
