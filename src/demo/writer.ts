import type { StreamClient } from '../brokers/nats/stream-client.ts';
import { pause } from '../lib/pause.ts';
import type { Application } from './lanes.ts';
import { numberOf, type Pace, type SentRecord } from './records.ts';

/** How often an application sends what has come up since. */
const everyMs = 50;
/** What is appended at once. */
const maxBurst = 500;
/** A server that comes back answers within this time. */
const patienceMs = 20_000;

/**
 * An application at work, at a steady rate. While its server is away its records pile up, and are sent when the server is back.
 * It stores each once and in order, by means of its own: whether Causeway does so as well is what the demo is about.
 */
export class Writer {
  readonly #application: Application;
  readonly #client: StreamClient;
  readonly #pace: Pace;
  readonly #begunMs = performance.now();
  readonly #signal: AbortSignal;
  readonly #ended: Promise<void>;
  #failure: Error | undefined;
  /** Records in all, once the application was told to stop. */
  #total: number | undefined;
  #sent = 0;
  /** Something went wrong in the middle: what is stored of it is for the stream to say. */
  #unsure = false;
  #failingSinceMs: number | undefined;

  /** Starts at once. `signal` ends it without sending what is left. */
  constructor(options: {
    readonly application: Application;
    readonly client: StreamClient;
    readonly perSecond: number;
    readonly signal: AbortSignal;
  }) {
    this.#application = options.application;
    this.#client = options.client;
    this.#pace = { startMs: Date.now(), perSecond: options.perSecond };
    this.#signal = options.signal;
    this.#ended = this.#run().catch((error: unknown) => {
      this.#failure = new Error(`the application ${this.#application.name} cannot send`, { cause: error });
    });
  }

  /** Records that its stream has acknowledged. */
  get sent(): number {
    return this.#sent;
  }

  /** Its record number `n`, from 1. */
  record(n: number): SentRecord {
    const { make, cluster } = this.#application;
    return make(cluster, n, this.#pace);
  }

  /** No more records; resolves when all of them are in its stream. */
  async stop(): Promise<void> {
    this.#total ??= this.#due();
    await this.#ended;
    this.check();
  }

  /** Throws if the application has ended by itself. */
  check(): void {
    if (this.#failure !== undefined) throw this.#failure;
  }

  #due(): number {
    return this.#total ?? Math.floor(((performance.now() - this.#begunMs) * this.#pace.perSecond) / 1000);
  }

  async #run(): Promise<void> {
    const signal = this.#signal;
    while (!signal.aborted && this.#sent !== this.#total) {
      const upTo = Math.min(this.#due(), this.#sent + maxBurst);
      if (upTo > this.#sent && this.#client.connected) await this.#send(upTo);
      if (upTo === this.#due() || !this.#client.connected) await pause(everyMs, signal);
    }
  }

  async #send(upTo: number): Promise<void> {
    try {
      if (this.#unsure) this.#sent = Math.max(this.#sent, await this.#stored());
      this.#unsure = false;
      if (this.#application.shared) await this.#sendOneByOne(upTo);
      else await this.#sendAtOnce(upTo);
      this.#failingSinceMs = undefined;
    } catch (error) {
      this.#failingSinceMs ??= performance.now();
      if (performance.now() - this.#failingSinceMs > patienceMs) throw error;
      this.#unsure = true;
      await pause(everyMs, this.#signal);
    }
  }

  /** Nobody else writes the stream: record number n is its record n, and has to follow on the one before. */
  async #sendAtOnce(upTo: number): Promise<void> {
    const last = this.#sent;
    const records = Array.from({ length: Math.max(0, upTo - last) }, (_, i) => this.record(last + i + 1));
    await this.#client.append(last, records);
    this.#sent = Math.max(last, upTo);
  }

  /** Others write the stream too, so that its sequences say nothing: the next record is sent when the one before is stored. */
  async #sendOneByOne(upTo: number): Promise<void> {
    while (this.#sent < upTo && !this.#signal.aborted) {
      const n = this.#sent + 1;
      await this.#client.publish(`${this.#application.cluster}-${n}`, this.record(n));
      this.#sent = n;
      this.#failingSinceMs = undefined;
    }
  }

  /** Number of the last of its records that is stored. */
  async #stored(): Promise<number> {
    const { name, stream, begins } = this.#application;
    const payload = await this.#client.lastOf(stream, `${begins}>`);
    if (payload === undefined) return 0;
    const n = numberOf(payload);
    if (n === undefined) throw new Error(`${stream} has a record that ${name} did not write: ${payload}`);
    return n;
  }
}
