import type { Logger } from '../lib/logger.ts';
import { pause } from '../lib/pause.ts';
import { failureFrom } from '../wire/reasons.ts';

const retryMs = 1000;

export interface WriteBehindOptions {
  /** Writes what is known of a key by then. Throws FailureError. */
  readonly write: (key: string) => Promise<void>;
  /** Event under which a failed attempt is logged. */
  readonly failed: string;
  readonly log: Logger;
  readonly signal: AbortSignal;
}

/** Entries that are written to the own cluster as soon as it takes them: each as it is then, one after the other. */
export class WriteBehind {
  readonly #options: WriteBehindOptions;
  /** Keys whose entry is to be written. */
  readonly #dirty = new Set<string>();
  #writing = false;
  #failing = false;
  #onRest: (() => void) | undefined;

  constructor(options: WriteBehindOptions) {
    this.#options = options;
  }

  /** The entry of this key has changed. */
  mark(key: string): void {
    this.#dirty.add(key);
    if (!this.#writing) void this.#run();
  }

  /** Resolves when nothing is left to write, or can be written at the moment; at the latest after `deadlineMs`. */
  async settle(deadlineMs: number): Promise<void> {
    if (!this.#writing || this.#failing) return;
    let timer: NodeJS.Timeout | undefined;
    await new Promise<void>((resolve) => {
      this.#onRest = resolve;
      timer = setTimeout(resolve, deadlineMs);
    });
    clearTimeout(timer);
  }

  async #run(): Promise<void> {
    const { write, failed, log, signal } = this.#options;
    this.#writing = true;
    while (!signal.aborted) {
      const [key] = this.#dirty;
      if (key === undefined) break;
      this.#dirty.delete(key);
      try {
        await write(key);
        this.#failing = false;
      } catch (error) {
        log.debug(failed, { key, ...failureFrom(error) });
        this.#dirty.add(key);
        this.#failing = true;
        this.#onRest?.();
        await pause(retryMs, signal);
      }
    }
    this.#writing = false;
    this.#onRest?.();
  }
}
