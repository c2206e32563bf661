/** A window that is used up within so long doubles, in ms: longer than any round trip, shorter than a trickle takes. */
const busyMs = 10_000;
/** One that takes so long to be used up begins again as a new one does, in ms. */
const quietMs = 60_000;

export interface MemoryBudgetOptions {
  /** For all holders together. */
  readonly bytes: number;
  /** What each of them has in any case, beyond the budget if need be: so much that it moves. */
  readonly leastBytes: number;
  /** What each begins with while there is room. */
  readonly firstBytes: number;
}

/** The part of one holder. */
export interface MemoryShare {
  /** How much it may hold, or let others send it, from now on. */
  readonly windowBytes: number;
  /** So many bytes have come and are gone again: a window that is used grows, and gives way to others. */
  passed(bytes: number, nowMs: number): void;
  /** What it holds or has promised to take. As far as that is more than the window, it counts too: a promise is not taken back. */
  hold(bytes: number): void;
  /** Nothing is taken in any more; what is held still counts, until `close`. */
  retire(heldBytes: number): void;
  close(): void;
}

/**
 * The memory of a process for records, divided among all that hold some (I5). What is handed out together never exceeds the
 * budget, but for what each has in any case.
 *
 * A window doubles each time that it is used up, while there is room. Half of the budget is kept for equal parts of all holders: windows
 * that stand still, of a sink that takes nothing or a source that has nothing, leave the others that much. Where there is no room, the
 * smallest windows come first, and one more than twice as large as those is halved as it is used.
 */
export class MemoryBudget {
  readonly #leastBytes: number;
  readonly #firstBytes: number;
  readonly #shares = new Set<Share>();
  /** Those that used up their windows and found no room. */
  readonly #waiting = new Set<Share>();
  #bytes: number;
  #usedBytes = 0;
  /** The same with the equal parts that are kept free. */
  #spokenForBytes = 0;

  constructor({ bytes, leastBytes, firstBytes }: MemoryBudgetOptions) {
    this.#bytes = bytes;
    this.#leastBytes = leastBytes;
    this.#firstBytes = firstBytes;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** Windows shrink to a smaller budget as they are used. */
  set bytes(bytes: number) {
    this.#bytes = bytes;
    this.#count();
    this.#feed();
  }

  /** What the holders may hold by now, or hold. */
  get usedBytes(): number {
    return this.#usedBytes;
  }

  /** A new holder; its window never exceeds `mostBytes`. */
  share(mostBytes: number): MemoryShare {
    const share = new Share(mostBytes, {
      passed: (bytes, nowMs) => this.#passed(share, bytes, nowMs),
      hold: (bytes) => this.#change(share, share.windowBytes, bytes),
      retire: (heldBytes) => this.#retire(share, heldBytes),
      close: () => this.#close(share),
    });
    this.#shares.add(share);
    this.#count();
    const least = Math.min(this.#leastBytes, mostBytes);
    let first = Math.min(this.#firstBytes, mostBytes);
    while (first > least && !this.#fits(share, first)) first = Math.floor(first / 2);
    this.#change(share, Math.max(first, least), 0);
    return share;
  }

  #passed(share: Share, bytes: number, nowMs: number): void {
    this.#giveWay(share);
    share.usedBytes += bytes;
    share.sinceMs ??= nowMs;
    if (share.usedBytes < share.windowBytes) return;
    const tookMs = nowMs - share.sinceMs;
    share.usedBytes = 0;
    share.sinceMs = nowMs;
    if (tookMs <= busyMs && share.windowBytes < share.mostBytes) {
      this.#waiting.add(share);
      this.#feed();
    } else if (tookMs > quietMs) {
      this.#waiting.delete(share);
      this.#change(share, Math.min(share.windowBytes, this.#firstBytes), share.heldBytes);
    }
  }

  /** Halves the window, once what was promised by it is used, if somebody who waits has less than half of it. */
  #giveWay(share: Share): void {
    if (share.heldBytes > share.windowBytes) return;
    const smallest = this.#next()?.windowBytes ?? Number.POSITIVE_INFINITY;
    const over = this.#usedBytes > this.#bytes && share.windowBytes > this.#equalPart(share);
    if (share.windowBytes <= 2 * smallest && !over) return;
    const half = Math.floor(share.windowBytes / 2);
    this.#change(share, Math.max(half, Math.min(this.#leastBytes, share.windowBytes)), share.heldBytes);
  }

  /** Whose turn it is: of those that wait the one with the smallest window. */
  #next(): Share | undefined {
    let next: Share | undefined;
    for (const share of this.#waiting) if (next === undefined || share.windowBytes < next.windowBytes) next = share;
    return next;
  }

  #feed(): void {
    for (let share = this.#next(); share !== undefined; share = this.#next()) {
      const windowBytes = Math.min(share.mostBytes, 2 * share.windowBytes);
      if (!this.#fits(share, windowBytes)) return;
      this.#waiting.delete(share);
      this.#change(share, windowBytes, share.heldBytes);
    }
  }

  #fits(share: Share, windowBytes: number): boolean {
    const more = Math.max(windowBytes, share.heldBytes) - share.countedBytes;
    if (this.#usedBytes + more > this.#bytes) return false;
    if (windowBytes <= this.#equalPart(share)) return true;
    return this.#spokenForBytes - this.#spokenFor(share) + share.countedBytes + more <= this.#bytes;
  }

  /** What is kept free for each holder that is open, as far as it can use it. */
  #equalPart({ mostBytes }: Share): number {
    return Math.min(mostBytes, Math.floor(this.#bytes / 2 / this.#shares.size));
  }

  #spokenFor(share: Share): number {
    return share.retired ? share.countedBytes : Math.max(share.countedBytes, this.#equalPart(share));
  }

  #change(share: Share, windowBytes: number, heldBytes: number): void {
    const counted = share.countedBytes;
    const spokenFor = this.#spokenFor(share);
    share.windowBytes = windowBytes;
    share.heldBytes = heldBytes;
    this.#usedBytes += share.countedBytes - counted;
    this.#spokenForBytes += this.#spokenFor(share) - spokenFor;
    if (share.countedBytes < counted) this.#feed();
  }

  #retire(share: Share, heldBytes: number): void {
    share.retired = true;
    this.#waiting.delete(share);
    this.#count();
    this.#change(share, 0, heldBytes);
  }

  #close(share: Share): void {
    if (!this.#shares.delete(share)) return;
    this.#waiting.delete(share);
    this.#count();
    this.#feed();
  }

  /** The equal part of each is another one than before. */
  #count(): void {
    this.#usedBytes = 0;
    this.#spokenForBytes = 0;
    for (const share of this.#shares) {
      this.#usedBytes += share.countedBytes;
      this.#spokenForBytes += this.#spokenFor(share);
    }
  }
}

interface ShareCalls {
  readonly passed: (bytes: number, nowMs: number) => void;
  readonly hold: (bytes: number) => void;
  readonly retire: (heldBytes: number) => void;
  readonly close: () => void;
}

class Share implements MemoryShare {
  readonly mostBytes: number;
  readonly #calls: ShareCalls;
  windowBytes = 0;
  heldBytes = 0;
  /** Of the present window, since when. */
  usedBytes = 0;
  sinceMs: number | undefined;
  retired = false;

  constructor(mostBytes: number, calls: ShareCalls) {
    this.mostBytes = mostBytes;
    this.#calls = calls;
  }

  get countedBytes(): number {
    return Math.max(this.windowBytes, this.heldBytes);
  }

  passed(bytes: number, nowMs: number): void {
    if (!this.retired) this.#calls.passed(bytes, nowMs);
  }

  hold(bytes: number): void {
    if (!this.retired && bytes !== this.heldBytes) this.#calls.hold(bytes);
  }

  retire(heldBytes: number): void {
    if (!this.retired) this.#calls.retire(heldBytes);
  }

  close(): void {
    this.retired = true;
    this.#calls.close();
  }
}
