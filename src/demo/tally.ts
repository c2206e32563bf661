import { numberOf, type SentRecord } from './records.ts';

/** How a lane came through: what was sent, and what its sink holds of it. */
export interface LaneVerdict {
  readonly lane: string;
  readonly sent: number;
  /** Records of the lane in the sink, whatever they are. */
  readonly stored: number;
  readonly duplicates: number;
  readonly outOfOrder: number;
  readonly lost: number;
  /** Records in the sink that nobody sent so. */
  readonly altered: number;
  /** What the daemons at its two ends found when they compared them: `equal`, or else. */
  readonly verified?: string;
}

export function isClean({ sent, stored, duplicates, outOfOrder, lost, altered }: LaneVerdict): boolean {
  return sent > 0 && stored === sent && duplicates + outOfOrder + lost + altered === 0;
}

export interface TallyOptions {
  readonly lane: string;
  /** What the subjects of its records begin with at the sink, and no others there. */
  readonly begins: string;
  /** Record `n` as it has to be at the sink. */
  readonly record: (n: number) => SentRecord;
}

/**
 * Counts what a stream holds of one lane, from its first record to its last. It knows nothing of Causeway: only what was sent, by
 * its number, and in which order.
 */
export class Tally {
  readonly #options: TallyOptions;
  /** 1 at the number of each record that was found. */
  #found = new Uint8Array(1024);
  #distinct = 0;
  #highest = 0;
  #stored = 0;
  #duplicates = 0;
  #outOfOrder = 0;
  #altered = 0;

  constructor(options: TallyOptions) {
    this.#options = options;
  }

  /** Takes in the next record of the stream; false if it is none of the lane. */
  observe(subject: string, payload: string): boolean {
    const { begins, record } = this.#options;
    if (!subject.startsWith(begins)) return false;
    this.#stored++;
    const n = numberOf(payload);
    const expected = n === undefined ? undefined : record(n);
    if (n === undefined || payload !== expected?.payload || subject !== expected.subject) {
      this.#altered++;
      return true;
    }
    if (this.#marked(n)) {
      this.#duplicates++;
      return true;
    }
    this.#mark(n);
    this.#distinct++;
    if (n < this.#highest) this.#outOfOrder++;
    this.#highest = Math.max(this.#highest, n);
    return true;
  }

  /** `sent`: records 1 to `sent` were stored at the source. */
  verdict(sent: number): LaneVerdict {
    let unsent = 0;
    for (let n = sent + 1; n <= this.#highest; n++) if (this.#marked(n)) unsent++;
    return {
      lane: this.#options.lane,
      sent,
      stored: this.#stored,
      duplicates: this.#duplicates,
      outOfOrder: this.#outOfOrder,
      lost: sent - (this.#distinct - unsent),
      altered: this.#altered + unsent,
    };
  }

  #marked(n: number): boolean {
    return this.#found[n] === 1;
  }

  #mark(n: number): void {
    if (n >= this.#found.length) {
      const longer = new Uint8Array(Math.max(n + 1, this.#found.length * 2));
      longer.set(this.#found);
      this.#found = longer;
    }
    this.#found[n] = 1;
  }
}
