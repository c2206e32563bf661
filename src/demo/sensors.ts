import type { StreamClient } from '../brokers/nats/stream-client.ts';
import { pause } from '../lib/pause.ts';
import { type Reading, readingOf } from './reading.ts';
import { sourceStream } from './topologies.ts';

/** How often the sensors of a plant send what they have measured since. */
const everyMs = 50;
/** What is appended at once. */
const maxBurst = 500;
/** A server that comes back answers within this time. */
const patienceMs = 20_000;

/**
 * The sensors of one plant, at a steady rate. While their server is away they go on measuring, and send what is left over
 * when it is back; reading number n is always record n of the plant's stream.
 */
export class Sensors {
  readonly #plant: string;
  readonly #client: StreamClient;
  readonly #perSecond: number;
  readonly #startMs = Date.now();
  readonly #begunMs = performance.now();
  readonly #signal: AbortSignal;
  readonly #ended: Promise<void>;
  #failure: Error | undefined;
  /** Readings taken in all, once the sensors were told to stop. */
  #total: number | undefined;
  #sent = 0;
  /** Something went wrong in the middle: what is stored of it is for the stream to say. */
  #unsure = false;
  #failingSinceMs: number | undefined;

  /** Starts at once. `signal` ends them without sending what is left. */
  constructor(options: {
    readonly plant: string;
    readonly client: StreamClient;
    readonly perSecond: number;
    readonly signal: AbortSignal;
  }) {
    this.#plant = options.plant;
    this.#client = options.client;
    this.#perSecond = options.perSecond;
    this.#signal = options.signal;
    this.#ended = this.#run().catch((error: unknown) => {
      this.#failure = new Error(`the sensors of ${this.#plant} cannot send`, { cause: error });
    });
  }

  /** Readings that the plant's stream has acknowledged. */
  get sent(): number {
    return this.#sent;
  }

  readonly reading = (n: number): Reading => readingOf(this.#plant, n, this.#startMs, this.#perSecond);

  /** No more readings; resolves when all of them are in the plant's stream. */
  async stop(): Promise<void> {
    this.#total ??= this.#taken();
    await this.#ended;
    this.check();
  }

  /** Throws if the sensors have ended by themselves. */
  check(): void {
    if (this.#failure !== undefined) throw this.#failure;
  }

  #taken(): number {
    return this.#total ?? Math.floor(((performance.now() - this.#begunMs) * this.#perSecond) / 1000);
  }

  async #run(): Promise<void> {
    const signal = this.#signal;
    while (!signal.aborted && this.#sent !== this.#total) {
      const upTo = Math.min(this.#taken(), this.#sent + maxBurst);
      if (upTo > this.#sent && this.#client.connected) await this.#send(upTo);
      if (upTo === this.#taken() || !this.#client.connected) await pause(everyMs, signal);
    }
  }

  async #send(upTo: number): Promise<void> {
    try {
      if (this.#unsure) this.#sent = Math.max(this.#sent, await this.#client.last(sourceStream));
      this.#unsure = false;
      const last = this.#sent;
      await this.#client.append(
        last,
        Array.from({ length: Math.max(0, upTo - last) }, (_, i) => this.reading(last + i + 1)),
      );
      this.#sent = Math.max(last, upTo);
      this.#failingSinceMs = undefined;
    } catch (error) {
      this.#failingSinceMs ??= performance.now();
      if (performance.now() - this.#failingSinceMs > patienceMs) throw error;
      this.#unsure = true;
      await pause(everyMs, this.#signal);
    }
  }
}
