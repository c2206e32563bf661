/** What the limiter says of one occurrence. */
export type Verdict = 'write' | 'hold';

interface Window {
  count: number;
  /** Writes the newest occurrence that was held back; absent while none was. */
  pending?: (suppressed: number) => void;
  held: number;
  readonly timer: NodeJS.Timeout;
}

export interface RepeatLimits {
  /** Occurrences of one key that are written within a window. */
  readonly burst: number;
  readonly windowMs: number;
  /** Keys held at once; beyond it everything is written (I5). */
  readonly maxKeys: number;
}

/**
 * Holds back repeats of one key. The newest occurrence that was held is always written when its window ends, with the
 * number of those that were dropped before it: the log ends with the state that holds, however often it flapped.
 */
export class RepeatLimiter {
  readonly #limits: RepeatLimits;
  readonly #windows = new Map<string, Window>();

  constructor(limits: RepeatLimits) {
    this.#limits = limits;
  }

  /** `write` may be called later, when the verdict is `hold`; the caller writes itself when it is `write`. */
  offer(key: string, write: (suppressed: number) => void): Verdict {
    const window = this.#windows.get(key);
    if (window === undefined) {
      if (this.#windows.size < this.#limits.maxKeys) this.#open(key, 1);
      return 'write';
    }
    if (window.count < this.#limits.burst) {
      window.count += 1;
      return 'write';
    }
    if (window.pending !== undefined) window.held += 1;
    window.pending = write;
    return 'hold';
  }

  /** Writes everything that is held, in the order in which its keys came up. */
  flush(): void {
    for (const [key, window] of [...this.#windows]) {
      clearTimeout(window.timer);
      this.#windows.delete(key);
      window.pending?.(window.held);
    }
  }

  #open(key: string, count: number): void {
    const timer = setTimeout(() => this.#close(key), this.#limits.windowMs);
    timer.unref();
    this.#windows.set(key, { count, held: 0, timer });
  }

  #close(key: string): void {
    const window = this.#windows.get(key);
    this.#windows.delete(key);
    if (window?.pending === undefined) return;
    // What still repeats after a window goes on in small doses, not with a new burst.
    this.#open(key, this.#limits.burst);
    window.pending(window.held);
  }
}
