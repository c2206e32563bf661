/** How connections to peers are made anew while they work, so that renewed certificates, other addresses and other listeners are used. */
export interface RotationOptions {
  /** About how long a connection carries the streams of a peer, in ms; each time a fifth more or less, so that a fleet does not do it at once. */
  readonly everyMs: number;
  /** How long a lane may take to settle what is in flight before it moves without that, in ms. */
  readonly drainMs: number;
}

export const rotationDefaults: RotationOptions = { everyMs: 30 * 60_000, drainMs: 10_000 };

/** When the connection to one peer is due to be made anew. */
export class RotationTimer {
  readonly #everyMs: number;
  readonly #due: () => void;
  #timer: NodeJS.Timeout | undefined;

  constructor(everyMs: number, due: () => void) {
    this.#everyMs = everyMs;
    this.#due = due;
  }

  /** There is a new connection. */
  start(): void {
    this.#arm(this.#everyMs);
  }

  /** It could not be made anew: it is tried again before long. Returns when, in ms. */
  again(): number {
    return this.#arm(this.#everyMs / 10);
  }

  stop(): void {
    clearTimeout(this.#timer);
  }

  #arm(aboutMs: number): number {
    this.stop();
    const ms = Math.round(aboutMs * (0.8 + 0.4 * Math.random()));
    this.#timer = setTimeout(this.#due, ms);
    this.#timer.unref();
    return ms;
  }
}
