import type { KeptLease, LeaseEntry } from '../brokers/store.ts';

/** How long what is waited for, in ms. */
export const leaseTimes = {
  /** How often the holder writes. */
  renewMs: 1_500,
  /** How often the others look. */
  lookMs: 500,
  /** How long an answer of the store is waited for: the holder can ask more than once before its time is over. */
  answerMs: 2_000,
  /** The holder counts on the lease for so long after it began the last write that succeeded. */
  holdMs: 6_000,
  /** The others take a lease that has not changed for so long. Longer than the holder counts on it. */
  takeMs: 8_000,
  /** Servers that had no JetStream for so long, since the daemon started, have none. */
  aloneMs: 20_000,
} as const;

/** What a look at the lease shows: it may be written over at this revision (0: there is none); or another daemon has it, or may have it. */
export type LeaseSight = { readonly free: number } | 'taken' | 'unclear';

/**
 * The lease of a cluster as one daemon judges it, without input, output or clock (I9): the holder renews; the others take it when it has
 * not changed for some seconds of their own. All times are of one monotonic clock, in ms.
 */
export class Lease {
  readonly #self: LeaseEntry;
  /** What was seen last, and since when it has been that. */
  #seen: { readonly revision: number; readonly entry: LeaseEntry; sinceMs: number } | undefined;
  #mine: { readonly revision: number; readonly sinceMs: number } | undefined;

  constructor(self: LeaseEntry) {
    this.#self = self;
  }

  /** Who holds it, as far as that was seen. */
  get holder(): string | undefined {
    const { entry } = this.#seen ?? {};
    return entry === undefined || entry.released === true ? undefined : entry.node;
  }

  /** The own lease to be written over; undefined if it is not known to be there. */
  get revision(): number | undefined {
    return this.#mine?.revision;
  }

  isHeld(nowMs: number): boolean {
    return this.#mine !== undefined && nowMs - this.#mine.sinceMs < leaseTimes.holdMs;
  }

  /** It was written by this daemon, in a call that began then. */
  wrote(revision: number, begunMs: number): void {
    this.#mine = { revision, sinceMs: begunMs };
    this.#seen = { revision, entry: this.#self, sinceMs: begunMs };
  }

  /** A look: what is there now, or nothing. */
  saw(kept: KeptLease | undefined, nowMs: number): LeaseSight {
    const before = this.#seen;
    if (kept === undefined) {
      // There never was one, or somebody took the own one away.
      if (before === undefined || before.entry.node === this.#self.node) return { free: 0 };
      // Its bucket was lost: the one who holds it will write it again.
      return nowMs - before.sinceMs < leaseTimes.takeMs ? 'unclear' : { free: 0 };
    }
    const { revision } = kept;
    const changed = before?.revision !== revision;
    if (changed) this.#seen = { revision, entry: kept.entry, sinceMs: nowMs };
    if (kept.entry.node === this.#self.node) return { free: revision };
    this.#mine = undefined;
    if (kept.entry.released === true) return { free: revision };
    if (before === undefined) return this.#isOwnPlace(kept.entry) ? { free: revision } : 'unclear';
    if (changed) return 'taken';
    return nowMs - before.sinceMs < leaseTimes.takeMs ? 'unclear' : { free: revision };
  }

  /** The servers were not there for a while: the holder could not write then, and what was not seen proves nothing. */
  blind(nowMs: number): void {
    if (this.#seen !== undefined) this.#seen.sinceMs = nowMs;
  }

  /** Only a process that is gone can have written it: its place is taken by this one. */
  #isOwnPlace({ place }: LeaseEntry): boolean {
    return place !== undefined && place === this.#self.place;
  }
}
