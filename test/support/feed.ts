/** An application that publishes numbered records into a stream of its own, through kills of the server. */
import { createHash } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { connect, createInbox, type NatsConnection } from 'nats';
import { RawHeaders } from '../../src/brokers/nats/raw-message.ts';
import { until } from './until.ts';

const windowRecords = 512;
/** Without an answer for so long the server is asked what it holds. */
const answerMs = 5_000;
const tickMs = 5;

export interface FeedOptions {
  readonly url: string;
  /** Stream that holds nothing but what this feed publishes, or see `own`. */
  readonly stream: string;
  /** Pattern that covers this feed's subjects and nothing else in the stream, where others write it too. */
  readonly own?: string;
  readonly subject: (number: number) => string;
  /** What distinguishes the payloads of this feed. */
  readonly label: string;
  readonly payloadBytes: number;
  /** See payloadOf. */
  readonly noise?: boolean;
  /** Header lines of a record. Default: a Nats-Msg-Id that depends on the number alone. */
  readonly headers?: (number: number) => readonly string[];
  /** Records per second; default: as fast as they are taken. */
  readonly perSecond?: number;
  /** How many to publish; `allow` raises it. */
  readonly count: number;
}

/**
 * Publishes records 0, 1, 2, ... in order, each exactly once: only what JetStream acknowledged counts, and whenever anything is
 * in doubt (connection lost, no answer) it first asks the stream how many it holds and goes on from there.
 */
export class Feed implements AsyncDisposable {
  readonly #options: FeedOptions;
  readonly #connection: NatsConnection;
  readonly #stopped = new AbortController();
  readonly #running: Promise<void>;
  #allowed: number;
  #accepted = 0;
  #failure: unknown;
  /** Of the present attempt. */
  #round = 0;
  #broken = true;
  #next = 0;
  #heardMs = 0;
  #startedMs = performance.now();

  private constructor(options: FeedOptions, connection: NatsConnection) {
    this.#options = options;
    this.#connection = connection;
    this.#allowed = options.count;
    this.#running = this.#run().catch((error: unknown) => {
      this.#failure = error;
    });
  }

  static async start(options: FeedOptions): Promise<Feed> {
    const connection = await connect({
      servers: options.url,
      maxReconnectAttempts: -1,
      reconnectTimeWait: 50,
      reconnectJitter: 50,
      waitOnFirstConnect: true,
      // A server that is frozen or gone without a word is noticed soon.
      pingInterval: 2_000,
    });
    return new Feed(options, connection);
  }

  /** Records that the stream is known to hold. */
  get accepted(): number {
    return this.#accepted;
  }

  /** Waits until the stream holds so many; all that are allowed by default. */
  async reached(count = this.#allowed, deadlineMs = 120_000): Promise<void> {
    await until(
      () => {
        if (this.#failure !== undefined) return true;
        return this.#accepted >= count;
      },
      { deadlineMs, what: () => `${this.#options.label} to publish ${count} records, it has ${this.#accepted}` },
    );
    if (this.#failure !== undefined) throw this.#failure;
  }

  /** Lets it publish up to this number. */
  allow(count: number): void {
    this.#allowed = count;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopped.abort();
    await this.#running;
    await this.#connection.close();
  }

  async #run(): Promise<void> {
    const inbox = createInbox();
    this.#connection.subscribe(`${inbox}.*.*`, {
      callback: (error, answer) => {
        const [round, number] = answer.subject
          .slice(inbox.length + 1)
          .split('.')
          .map(Number);
        if (round !== this.#round) return;
        // An empty one says that nobody takes the record at the moment.
        const told = error === null && answer.data.length > 0;
        const sequence = told ? answer.json<{ readonly seq?: number }>().seq : undefined;
        // An answer that is missing makes the next one come out of turn.
        const fits = this.#options.own === undefined ? sequence === number! + 1 : sequence !== undefined;
        if (number === this.#accepted && fits) this.#accepted++;
        else this.#broken = true;
        this.#heardMs = performance.now();
      },
    });
    void this.#watch();
    while (!this.#stopped.signal.aborted) {
      if (this.#broken) await this.#resume();
      else this.#publish(inbox);
      await delay(tickMs);
    }
  }

  async #watch(): Promise<void> {
    for await (const { type } of this.#connection.status()) if (type === 'disconnect') this.#broken = true;
  }

  /** Asks the stream where to go on. */
  async #resume(): Promise<void> {
    this.#broken = false;
    this.#round++;
    try {
      const held = await this.#held();
      if (held < this.#accepted)
        throw new Error(`${this.#options.label}: acknowledged ${this.#accepted}, but the stream holds ${held}`);
      this.#accepted = held;
      this.#next = held;
      this.#heardMs = performance.now();
    } catch (error) {
      if (error instanceof Error && /acknowledged/.test(error.message)) throw error;
      this.#broken = true;
    }
  }

  /** Records of this feed in the stream. */
  async #held(): Promise<number> {
    const { stream, own } = this.#options;
    const question = own === undefined ? '' : JSON.stringify({ subjects_filter: own });
    const answer = await this.#connection.request(`$JS.API.STREAM.INFO.${stream}`, question, { timeout: 2_000 });
    const { state } = answer.json<{
      readonly state?: { readonly last_seq: number; readonly subjects?: Readonly<Record<string, number>> };
    }>();
    if (state === undefined) throw new Error(`no such stream: ${stream}`);
    if (own === undefined) return state.last_seq;
    return Object.values(state.subjects ?? {}).reduce((sum, count) => sum + count, 0);
  }

  #publish(inbox: string): void {
    const { perSecond, subject, payloadBytes, label, headers = usual } = this.#options;
    const nowMs = performance.now();
    if (this.#next > this.#accepted && nowMs - this.#heardMs > answerMs) {
      this.#broken = true;
      return;
    }
    const paced = perSecond === undefined ? Infinity : ((nowMs - this.#startedMs) / 1000) * perSecond;
    const end = Math.min(this.#allowed, this.#accepted + windowRecords, paced);
    if (this.#next === this.#accepted) this.#heardMs = nowMs;
    while (this.#next < end && !this.#broken) {
      const number = this.#next++;
      const lines = headers(number);
      this.#connection.publish(subject(number), payloadOf(label, number, payloadBytes, this.#options.noise), {
        reply: `${inbox}.${this.#round}.${number}`,
        ...(lines.length === 0
          ? {}
          : { headers: new RawHeaders(Buffer.from(`NATS/1.0\r\n${lines.join('\r\n')}\r\n\r\n`)).asHeaders }),
      });
    }
  }
}

function usual(number: number): readonly string[] {
  return [`Nats-Msg-Id: reading-${number}`];
}

/** The payload of a record: its label and number, filled up with the same again, or with noise, which nothing compresses. */
export function payloadOf(label: string, number: number, bytes: number, noise = false): Buffer {
  const text = `${label} ${number} `;
  if (!noise || bytes <= text.length) return Buffer.alloc(Math.max(bytes, text.length), text);
  const filling = createHash('shake256', { outputLength: bytes - text.length });
  return Buffer.concat([Buffer.from(text), filling.update(text).digest()]);
}
