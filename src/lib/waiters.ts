/** Those who wait for one thing to happen. */
export class Waiters {
  readonly #waiting = new Set<() => void>();

  /** Resolves with the next `release`, or when `signal` is aborted; leaves nothing behind. */
  wait(signal: AbortSignal): Promise<void> {
    if (signal.aborted) return Promise.resolve();
    return new Promise((resolve) => {
      const done = (): void => {
        this.#waiting.delete(done);
        signal.removeEventListener('abort', done);
        resolve();
      };
      this.#waiting.add(done);
      signal.addEventListener('abort', done);
    });
  }

  /** It has happened: all who wait by now go on. */
  release(): void {
    if (this.#waiting.size === 0) return;
    for (const done of [...this.#waiting]) done();
  }

  get count(): number {
    return this.#waiting.size;
  }
}
