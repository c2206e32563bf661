/** Fewer are never in flight but after a failure: a round trip would cost more than they do. */
const leastRecords = 64;
const firstRecords = 512;
/** An answer that takes longer makes the window smaller, one that takes half of it makes it larger. */
const aimMs = 1000;

/**
 * How many appended records may wait for their answers, so that an answer takes about a second. A server that syncs every write
 * answers what is queued on a stream only when all of that is written (nats-server 2.15): thousands of records on a slow disk would look
 * like a server that does not answer at all.
 */
export class AppendWindow {
  #records = firstRecords;
  /** An append whose answer is waited for, as its number in this round, and how many were in flight then. */
  #sample: { readonly number: number; readonly inFlight: number; readonly atMs: number } | undefined;

  /** No more than this may be in flight. */
  get records(): number {
    return this.#records;
  }

  /** A new round of appends begins. */
  restart(): void {
    this.#sample = undefined;
  }

  /** So many are sent and answered at this moment. */
  sent(sent: number, done: number, nowMs: number): void {
    if (sent > done) this.#sample ??= { number: sent, inFlight: sent - done, atMs: nowMs };
  }

  /** So many are answered at this moment. */
  answered(done: number, nowMs: number): void {
    const sample = this.#sample;
    if (sample === undefined || done < sample.number) return;
    this.#sample = undefined;
    const tookMs = nowMs - sample.atMs;
    if (tookMs > aimMs) this.#shrink((sample.inFlight * aimMs) / tookMs);
    // A window that was not used says nothing about a larger one.
    else if (tookMs < aimMs / 2 && sample.inFlight >= this.#records / 2) this.#records *= 2;
  }

  /** Nothing was answered for too long with so many in flight. */
  unanswered(inFlight: number): void {
    this.#shrink(inFlight / 8);
  }

  #shrink(records: number): void {
    this.#records = Math.min(this.#records, Math.max(leastRecords, Math.floor(records)));
  }
}
