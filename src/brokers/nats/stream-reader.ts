import { randomBytes } from 'node:crypto';
import { createInbox, type Msg, type NatsConnection, type Subscription } from 'nats';
import type { Failure } from '../../wire/reasons.ts';
import { call } from './api.ts';
import { natsFailure } from './errors.ts';
import { decimal, rawHeaders, rawReply, rawSize } from './raw-message.ts';

/** A pull request asks for so many messages at most, and waits so long for them. */
const pullMessages = 4096;
const pullExpiresMs = 30_000;
const heartbeatMs = 5000;
/** Without any sign of life for so long the consumer is made anew. */
const silenceMs = 3 * heartbeatMs;
/** The server removes the consumer when nobody pulled for so long. */
const inactiveMs = 120_000;

export interface StreamReaderOptions {
  readonly connection: NatsConnection;
  readonly api: string;
  readonly stream: string;
  readonly headersOnly: boolean;
  /** Bytes that may be asked for and not yet delivered. */
  readonly prefetchBytes: number;
  /** A message, in sequence order. `pending`: how many the stream holds behind it. */
  message(message: Msg, sequence: number, seconds: number, nanos: number, pending: number): void;
  /** The reader gives up; nothing comes after this. */
  failed(failure: Failure): void;
}

/**
 * Reads a stream in order behind a sequence, without acknowledgements: an ephemeral pull consumer whose deliveries are
 * checked for holes and which is made anew behind the last message whenever anything is in doubt. The client's own ordered
 * consumer is not used, because it bounds what is on its way by messages; this one does by bytes (I5).
 */
export class StreamReader {
  readonly #options: StreamReaderOptions;
  readonly #inbox: string;
  #subscription: Subscription | undefined;
  #consumer = '';
  #closed = false;
  #starting = false;
  /** Sequence of the last message delivered. */
  #last: number;
  /** Delivery count of the consumer. */
  #delivered = 0;
  /** Pull requests, oldest first, which is how the server serves them. */
  readonly #requests: { messages: number; bytes: number }[] = [];
  #requestBytes: number;
  #wanted: number;
  #heardMs = 0;
  readonly #timer: NodeJS.Timeout;
  #servedByHead = 0;
  readonly #createdPending: (pending: number) => void;

  constructor(options: StreamReaderOptions & { readonly after: number; readonly created?: (pending: number) => void }) {
    this.#options = options;
    this.#last = options.after;
    this.#createdPending = options.created ?? (() => undefined);
    this.#wanted = options.prefetchBytes;
    this.#requestBytes = Math.max(64 * 1024, Math.floor(options.prefetchBytes / 2));
    this.#inbox = createInbox('_INBOX.causeway');
    this.#timer = setInterval(() => this.#check(), heartbeatMs);
    this.#timer.unref();
    void this.#create();
  }

  /** Name of the present consumer, for CONSUMER.INFO; empty while there is none. */
  get consumer(): string {
    return this.#starting ? '' : this.#consumer;
  }

  get last(): number {
    return this.#last;
  }

  /** Sets how many bytes may be on their way from now on. */
  want(bytes: number): void {
    this.#wanted = bytes;
    this.#pull();
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    clearInterval(this.#timer);
    this.#remove();
  }

  /** Makes the consumer anew behind the last message. */
  restart(): void {
    if (this.#closed || this.#starting) return;
    this.#remove();
    void this.#create();
  }

  #remove(): void {
    this.#subscription?.unsubscribe();
    this.#subscription = undefined;
    this.#requests.length = 0;
    const { connection, api, stream } = this.#options;
    // Best effort: the server removes it by itself when it stays unused.
    if (this.#consumer !== '' && !connection.isClosed())
      connection.publish(`${api}.CONSUMER.DELETE.${stream}.${this.#consumer}`);
    this.#consumer = '';
  }

  async #create(): Promise<void> {
    this.#starting = true;
    const { connection, api, stream, headersOnly } = this.#options;
    const name = `causeway-${randomBytes(8).toString('hex')}`;
    try {
      const answer = await call<{ num_pending: number }>(connection, `${api}.CONSUMER.CREATE.${stream}.${name}`, {
        stream_name: stream,
        config: {
          name,
          deliver_policy: 'by_start_sequence',
          opt_start_seq: this.#last + 1,
          ack_policy: 'none',
          replay_policy: 'instant',
          mem_storage: true,
          num_replicas: 1,
          inactive_threshold: inactiveMs * 1_000_000,
          ...(headersOnly ? { headers_only: true } : {}),
        },
      });
      this.#starting = false;
      this.#consumer = name;
      if (this.#closed) {
        this.#remove();
        return;
      }
      this.#delivered = 0;
      this.#servedByHead = 0;
      this.#heardMs = Date.now();
      const subject = `${this.#inbox}.${name}`;
      this.#subscription = connection.subscribe(subject, {
        callback: (error, message) => this.#onMessage(subject, error, message),
      });
      this.#createdPending(answer.num_pending);
      this.#pull();
    } catch (error) {
      this.#starting = false;
      this.#fail(natsFailure(error));
    }
  }

  #fail(failure: Failure): void {
    if (this.#closed) return;
    this.close();
    this.#options.failed(failure);
  }

  #pull(): void {
    if (this.#closed || this.#consumer === '') return;
    let outstanding = 0;
    for (const request of this.#requests) outstanding += Math.max(0, request.bytes);
    while (this.#requests.length < 16 && outstanding + this.#requestBytes <= this.#wanted) {
      const { connection, api, stream } = this.#options;
      this.#requests.push({ messages: pullMessages, bytes: this.#requestBytes });
      outstanding += this.#requestBytes;
      const body = {
        batch: pullMessages,
        max_bytes: this.#requestBytes,
        expires: pullExpiresMs * 1e6,
        idle_heartbeat: heartbeatMs * 1e6,
      };
      connection.publish(`${api}.CONSUMER.MSG.NEXT.${stream}.${this.#consumer}`, JSON.stringify(body), {
        reply: `${this.#inbox}.${this.#consumer}`,
      });
    }
  }

  #onMessage(subject: string, error: Error | null, message: Msg): void {
    if (this.#closed || !subject.endsWith(this.#consumer)) return;
    if (error !== null) {
      this.#fail(natsFailure(error));
      return;
    }
    this.#heardMs = Date.now();
    const reply = rawReply(message);
    if (reply.length === 0) {
      this.#onStatus(rawHeaders(message));
      return;
    }
    // $JS.ACK.stream.consumer.deliveries.sequence.delivered.time.pending, and from 2.14 on perhaps domain and account before the stream.
    const dots: number[] = [];
    for (let i = 0; i < reply.length; i++) if (reply[i] === 46) dots.push(i);
    const base = dots.length === 8 ? 4 : 6;
    const sequence = decimal(reply, dots[base]! + 1, dots[base + 1]!);
    const delivered = decimal(reply, dots[base + 1]! + 1, dots[base + 2]!);
    const timeAt = dots[base + 2]! + 1;
    const timeEnd = dots[base + 3]!;
    const pending = decimal(reply, timeEnd + 1, dots[base + 4] ?? reply.length);
    if (delivered !== this.#delivered + 1) {
      this.restart();
      return;
    }
    this.#delivered = delivered;
    this.#last = sequence;
    this.#account(message);
    const seconds = decimal(reply, timeAt, timeEnd - 9);
    this.#options.message(message, sequence, seconds, decimal(reply, timeEnd - 9, timeEnd), pending);
    this.#pull();
  }

  #account(message: Msg): void {
    const head = this.#requests[0];
    if (head === undefined) return;
    this.#servedByHead++;
    head.messages--;
    head.bytes -= rawSize(message);
    if (head.messages === 0) this.#shift();
  }

  #shift(): void {
    this.#requests.shift();
    this.#servedByHead = 0;
  }

  #onStatus(headers: Buffer): void {
    const line = headers.toString('latin1', 0, headers.indexOf('\r\n'));
    const code = Number(line.slice(9, 12));
    if (code === 100) return;
    if (code === 408 || code === 404) {
      // A request came to its end; a new one takes its place.
      this.#shift();
    } else if (code === 409 && /exceeds max ?bytes/i.test(line)) {
      // Nothing fitted at all: the next message is larger than a whole request.
      if (this.#servedByHead === 0)
        this.#requestBytes = (this.#options.connection.info?.max_payload ?? 1 << 20) + 128 * 1024;
      this.#shift();
      this.#wanted = Math.max(this.#wanted, this.#requestBytes);
    } else {
      // Consumer deleted, leadership change, limits: begin anew behind the last message.
      this.restart();
      return;
    }
    this.#pull();
  }

  #check(): void {
    if (this.#closed || this.#starting || this.#requests.length === 0) return;
    if (Date.now() - this.#heardMs > silenceMs) this.restart();
  }
}
