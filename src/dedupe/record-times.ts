/** So many marks are kept at most, the newest half of them of every record. */
const maxMarks = 256;
/** As the latest time: of one record at least it is not known. */
const unknown = Number.MAX_SAFE_INTEGER;

/**
 * When the records of one incarnation were stored, as far as it takes to tell a record from another one under the same sequence: exactly
 * for the newest ones, further apart the older they are. Times grow with the sequence, but where a clock was set back.
 */
export class RecordTimes {
  #sequences: number[];
  #times: number[];
  #latest = 0;

  /** As `marks` and `latest` gave it: in ascending order. */
  constructor(marks: readonly (readonly [sequence: number, time: number])[] = [], latest = 0) {
    this.#sequences = marks.map(([sequence]) => sequence);
    this.#times = marks.map(([, time]) => time);
    this.#latest = latest;
  }

  copy(): RecordTimes {
    const copy = new RecordTimes([], this.#latest);
    copy.#sequences = this.#sequences.slice();
    copy.#times = this.#times.slice();
    return copy;
  }

  /** The latest time of any record, marked or not; 0 if none is known. */
  get latest(): number {
    return this.#latest;
  }

  get size(): number {
    return this.#sequences.length;
  }

  *marks(): Generator<readonly [sequence: number, time: number]> {
    for (let i = 0; i < this.#sequences.length; i++) yield [this.#sequences[i]!, this.#times[i]!];
  }

  /** Takes note of a record. One between two marks of older ones needs none of its own. */
  add(sequence: number, time: number): void {
    if (time > this.#latest) this.#latest = time;
    const [sequences, times] = [this.#sequences, this.#times];
    const at = this.#find(sequence);
    if (sequences[at] === sequence) {
      // The one that had it before is not held.
      times[at] = time;
      return;
    }
    if (at > 0 && at < sequences.length && !this.#isExact(sequence)) return;
    sequences.splice(at, 0, sequence);
    times.splice(at, 0, time);
    if (sequences.length > maxMarks) this.#thin();
  }

  /** Of a record that is known nobody knows the time: it may be any. */
  addUnknown(): void {
    this.#latest = unknown;
  }

  /**
   * Whether a record that is known under this sequence is for certain not the one of this time. Under a number that is known to have
   * none, and where each has its mark, any record is another one, whatever its time: a clock may have been set back.
   */
  differs(sequence: number, time: number): boolean {
    if (time > this.#latest) return true;
    const at = this.#find(sequence);
    if (this.#sequences[at] === sequence) return this.#times[at] !== time;
    return this.#latest < unknown && this.#isExact(sequence);
  }

  /** Whether a record that is known under this sequence may be the one of this time: it is not earlier nor later than its neighbours. */
  fits(sequence: number, time: number): boolean {
    if (time > this.#latest) return false;
    const at = this.#find(sequence);
    if (this.#sequences[at] === sequence) return this.#times[at] === time;
    if (at === 0 || at === this.#sequences.length || this.#isExact(sequence)) return false;
    return this.#times[at - 1]! <= time && time <= this.#times[at]!;
  }

  /** Whether every record from this one on has a mark. */
  #isExact(sequence: number): boolean {
    return (
      sequence >= this.#sequences[Math.max(0, this.#sequences.length - maxMarks / 2)]! ||
      this.#sequences.length <= maxMarks / 2
    );
  }

  /** Index of the first mark that is not before `sequence`. */
  #find(sequence: number): number {
    const sequences = this.#sequences;
    let low = 0;
    let high = sequences.length;
    if (high > 0 && sequences[high - 1]! < sequence) return high;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (sequences[middle]! < sequence) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** Drops every second mark of the older half. */
  #thin(): void {
    let kept = 0;
    for (let i = 0; i < this.#sequences.length; i++) {
      if (i < maxMarks / 2 && i % 2 === 1) continue;
      this.#sequences[kept] = this.#sequences[i]!;
      this.#times[kept++] = this.#times[i]!;
    }
    this.#sequences.length = kept;
    this.#times.length = kept;
  }
}
