import { type Failure, reasons } from '../wire/reasons.ts';

/**
 * How long to wait before the next attempt: full jitter under a cap that grows with the outage. Short at first, because most
 * outages are short and a lane should move again within a second or two of the network's return; long after an hour,
 * because a fleet must not storm a hub.
 */
const caps: readonly { readonly untilMs: number; readonly capMs: number }[] = [
  { untilMs: 2 * 60_000, capMs: 1000 },
  { untilMs: 60 * 60_000, capMs: 5000 },
  { untilMs: Number.POSITIVE_INFINITY, capMs: 30_000 },
];

/** Attempts that somebody has to mend first: the cap of the wait. */
const slowCapMs = 15_000;
const firstCapMs = 250;
/** A connection that lived shorter than this does not reset the schedule: accept-then-die must not become a storm. */
const minUptimeMs = 5000;

/** The reconnect schedule of one lane or peer. Pure: time and randomness come from outside. */
export class Backoff {
  readonly #random: () => number;
  #failedSinceMs: number | undefined;
  #attempts = 0;
  #upSinceMs: number | undefined;

  constructor(random: () => number = Math.random) {
    this.#random = random;
  }

  /** The attempt succeeded. */
  up(nowMs: number): void {
    this.#upSinceMs = nowMs;
  }

  /** The attempt or the session ended; returns the wait in milliseconds. */
  down(failure: Failure | undefined, nowMs: number): number {
    if (this.#upSinceMs !== undefined && nowMs - this.#upSinceMs >= minUptimeMs) this.reset();
    this.#upSinceMs = undefined;
    this.#failedSinceMs ??= nowMs;
    this.#attempts++;
    const retry = failure === undefined ? 'now' : reasons[failure.reason].retry;
    if (failure?.retryAfterMs) return failure.retryAfterMs * (1 + 0.2 * this.#random());
    if (retry === 'now' && this.#attempts === 1) return 0;
    const outageMs = nowMs - this.#failedSinceMs;
    const slow = retry === 'slow' || retry === 'park';
    const cap = slow ? slowCapMs : caps.find(({ untilMs }) => outageMs < untilMs)!.capMs;
    const grown = Math.min(cap, firstCapMs * (slow ? 4 : 1) * 2 ** Math.min(this.#attempts - 1, 16));
    return Math.round(grown * this.#random());
  }

  /** Forgets the outage: the next wait is a short one. */
  reset(): void {
    this.#attempts = 0;
    this.#failedSinceMs = undefined;
  }
}

/** Wait before something is tried again within a session: doubling from 50 ms to 2 s. */
export function retryDelayMs(failures: number): number {
  return Math.min(2000, 25 * 2 ** Math.min(failures, 7));
}
