import { randomBytes } from 'node:crypto';
import { createInbox, type Msg, type NatsConnection, type Subscription } from 'nats';
import { pause } from '../../lib/pause.ts';
import { type Failure, failureFrom } from '../../wire/reasons.ts';
import { call, deleteConsumer } from './api.ts';
import { type Denied, inboxPrefix, type NatsLink } from './connection.ts';
import { isPassing, natsFailure } from './errors.ts';
import { rawHeaders, rawReply, rawSize } from './raw-message.ts';
import type { ReaderConsumer } from './reader-consumer.ts';
import { Delivery, parseDelivery, parseStatus } from './reader-protocol.ts';
import { type RecordTime, stillTheSame } from './source-proof.ts';

/** Times of the protocol between reader and server, in ms. Tests shorten them. */
export interface ReaderTiming {
  /** How long a pull request waits for messages. */
  readonly expiresMs: number;
  /** Sign of life of a waiting pull request; less than half of `expiresMs`. */
  readonly heartbeatMs: number;
  /** For so long a consumer that cannot be made is tried again, if the reason may pass. */
  readonly patienceMs: number;
}

export const readerTiming: ReaderTiming = { expiresMs: 30_000, heartbeatMs: 2000, patienceMs: 30_000 };

/** Missed signs of life after which the consumer is made anew. */
const missedHeartbeats = 3;
/** The server removes the consumer when nobody pulled for so long. */
const inactiveMs = 120_000;
const minRequestBytes = 16 * 1024;
/** No message counts for less: its reply subject alone is longer. Keeps the bytes of a request the limit that ends it. */
const minMessageBytes = 32;
/** Two consumers are made at least so far apart, in ms. */
const minLifeMs = 250;

export interface StreamReaderOptions {
  readonly link: NatsLink;
  readonly stream: string;
  /** `created` of the stream, by which it is known again. */
  readonly created: string;
  /** Reads on behind this sequence. */
  readonly after: number;
  /** When the record at `after` was stored, if that is known: the stream then proves itself by it. */
  readonly afterTime?: RecordTime;
  readonly headersOnly: boolean;
  /** Bytes that may be asked for and not yet be delivered; until `want` says otherwise. */
  readonly prefetchBytes: number;
  readonly missing?: 'source-missing' | 'sink-missing';
  /** Of its consumer, where the stream demands as many as it has itself. Default 1. */
  readonly replicas?: number;
  /** Default: an ephemeral one without acknowledgements. */
  readonly consumer?: ReaderConsumer;
  readonly timing?: ReaderTiming;
  /** A message, in sequence order. `pending`: how many the stream holds behind it. */
  message(message: Msg, sequence: number, seconds: number, nanos: number, pending: number): void;
  /** The server has nothing more to give at the moment, as far as it knows. */
  idle?(): void;
  /** The reader gives up; nothing comes after this. */
  failed(failure: Failure): void;
}

/**
 * Reads a stream in order behind a sequence: a pull consumer, ephemeral and without acknowledgements unless it is told otherwise, whose deliveries are
 * checked for holes and which is made anew behind the last message whenever anything is in doubt: after every new connection
 * too, once the stream has proven to be the same still. The client's own ordered consumer is not used, because it bounds what is
 * on its way by messages; this one does by bytes (I5).
 */
export class StreamReader {
  readonly #options: StreamReaderOptions;
  readonly #timing: ReaderTiming;
  readonly #inbox: string;
  readonly #closing = new AbortController();
  readonly #unlisten: () => void;
  readonly #timer: NodeJS.Timeout;
  readonly #delivery = new Delivery();
  /** Of the present consumer, or of the attempt to make one: what is older has no say. */
  #generation = 0;
  #attached: { readonly connection: NatsConnection; readonly subscription: Subscription } | undefined;
  #consumer = '';
  #startedMs = Number.NEGATIVE_INFINITY;
  #heardMs = 0;
  /** Delivery count of the consumer. */
  #delivered = 0;
  /** What came before the stream was looked at again, behind the making of the consumer (see #prove); undefined once it was. */
  #unproven: { readonly held: Msg[]; asked: boolean } | undefined;
  /** Sequence and time of the last message; the time is unknown before the first. */
  #last: number;
  #lastSeconds = -1;
  #lastNanos = 0;
  /**
   * Bytes that pull requests on the server may still bring. Servers of all versions give out messages to waiting requests in
   * turn, so that only the sum can be known: it grows by each request, shrinks by each message, and by what a request says it
   * was not used for when it ends. Both sides count alike: subject, reply, headers and payload.
   */
  #outstanding = 0;
  /** Bytes that may still be asked for or delivered, by the owner's last word. */
  #wanted: number;
  /** The owner's bound on all that it reads ahead, and what a request asks for at least since a message did not fit in one. */
  #prefetchBytes: number;
  #leastRequestBytes = minRequestBytes;

  constructor(options: StreamReaderOptions) {
    this.#options = options;
    this.#timing = options.timing ?? readerTiming;
    this.#last = options.after;
    if (options.afterTime !== undefined) {
      this.#lastSeconds = options.afterTime.seconds;
      this.#lastNanos = options.afterTime.nanos;
    }
    this.#wanted = options.prefetchBytes;
    this.#prefetchBytes = options.prefetchBytes;
    this.#inbox = createInbox(inboxPrefix);
    this.#timer = setInterval(() => this.#check(), this.#timing.heartbeatMs);
    this.#timer.unref();
    this.#unlisten = options.link.listen({
      connected: () => this.restart(),
      disconnected: () => this.#drop(),
      denied: (failure, denied) => this.#onDenied(failure, denied),
    });
  }

  /** Name of the present consumer, for CONSUMER.INFO; empty while there is none. */
  get consumer(): string {
    return this.#consumer;
  }

  /** Sequence of the last message delivered. */
  get last(): number {
    return this.#last;
  }

  /** Bytes that the server may still send without being asked. */
  get outstandingBytes(): number {
    return this.#outstanding;
  }

  /**
   * Sets how many bytes may be under way from now on; what is delivered counts against it until it is set again. `prefetchBytes`: the
   * bound on all that is read ahead, if it is another one than before.
   */
  want(bytes: number, prefetchBytes = this.#prefetchBytes): void {
    this.#wanted = bytes;
    this.#prefetchBytes = prefetchBytes;
    this.#pull();
  }

  close(): void {
    if (this.#closing.signal.aborted) return;
    this.#closing.abort();
    this.#unlisten();
    clearInterval(this.#timer);
    this.#drop();
  }

  /** Makes the consumer anew behind the last message. */
  restart(): void {
    if (this.#closing.signal.aborted) return;
    this.#drop();
    void this.#begin(this.#generation);
  }

  /** Forgets the consumer, and removes it if that is possible; the server does it by itself when it stays unused. */
  #drop(): void {
    this.#generation++;
    this.#outstanding = 0;
    const attached = this.#attached;
    const name = this.#consumer;
    this.#attached = undefined;
    this.#consumer = '';
    if (attached === undefined) return;
    attached.subscription.unsubscribe();
    if (this.#options.consumer === undefined) this.#remove(attached.connection, name);
  }

  #remove(connection: NatsConnection, name: string): void {
    const { link, stream } = this.#options;
    // A publish on a connection that is down would be thrown away, or come out of nowhere when it is back.
    if (connection !== link.connection || connection.isClosed() || connection.isDraining()) return;
    connection.publish(`${link.api}.CONSUMER.DELETE.${stream}.${name}`);
  }

  async #begin(generation: number): Promise<void> {
    const { link, missing } = this.#options;
    const { signal } = this.#closing;
    const current = () => generation === this.#generation && !signal.aborted;
    await pause(Math.max(0, this.#startedMs + minLifeMs - performance.now()), signal);
    const deadline = performance.now() + this.#timing.patienceMs;
    for (let waitMs = 100; current(); waitMs = Math.min(1000, 2 * waitMs)) {
      const { connection } = link;
      // The new connection begins anew.
      if (connection === undefined) return;
      try {
        this.#startedMs = performance.now();
        await this.#create(connection, current);
        return;
      } catch (error) {
        if (!current() || link.connection === undefined) return;
        const failure = natsFailure(error, missing);
        if (!isPassing(failure) || performance.now() > deadline) {
          this.#fail(failure);
          return;
        }
      }
      await pause(waitMs, signal);
    }
  }

  async #create(connection: NatsConnection, current: () => boolean): Promise<void> {
    const { link, stream, headersOnly, consumer, replicas = 1 } = this.#options;
    if (await this.#isAnother(connection, current)) return;
    const name = consumer?.name ?? `causeway-${randomBytes(8).toString('hex')}`;
    for (const old of consumer?.replaces ?? []) await deleteConsumer(connection, link.api, stream, old);
    if (!current()) return;
    const answer = await call<{ num_pending: number }>(connection, `${link.api}.CONSUMER.CREATE.${stream}.${name}`, {
      stream_name: stream,
      config: {
        name,
        ...(consumer?.config ?? {
          deliver_policy: 'by_start_sequence',
          opt_start_seq: this.#last + 1,
          ack_policy: 'none',
          replay_policy: 'instant',
          mem_storage: true,
          num_replicas: replicas,
          inactive_threshold: inactiveMs * 1e6,
        }),
        ...(headersOnly ? { headers_only: true } : {}),
      },
    });
    if (!current()) {
      if (consumer === undefined) this.#remove(connection, name);
      return;
    }
    consumer?.made(connection);
    this.#consumer = name;
    this.#delivered = 0;
    this.#unproven = { held: [], asked: false };
    const subscription = connection.subscribe(`${this.#inbox}.${name}`, {
      callback: (error, message) => {
        if (current()) this.#received(error, message);
      },
    });
    this.#attached = { connection, subscription };
    this.#pull();
    if (answer.num_pending === 0) this.#options.idle?.();
  }

  /** True if the stream is not what it was, and the reader has given up; or if nobody wants to know any more. */
  async #isAnother(connection: NatsConnection, current: () => boolean): Promise<boolean> {
    const { link, stream, created } = this.#options;
    const time = this.#lastSeconds < 0 ? undefined : { seconds: this.#lastSeconds, nanos: this.#lastNanos };
    const changed = await stillTheSame(connection, link.api, stream, { created, sequence: this.#last, time });
    if (!current()) return true;
    if (changed !== undefined) this.#fail(changed);
    return changed !== undefined;
  }

  /**
   * The stream may have become another one just before its consumer was made, which then begins in the middle of that one. From now on it would be gone
   * with its stream. Not asked at once: nats-server 2.9 may stand still for good when a message is asked for while its stream is deleted.
   */
  async #prove(): Promise<void> {
    const generation = this.#generation;
    const current = () => generation === this.#generation && !this.#closing.signal.aborted;
    const connection = this.#attached?.connection;
    if (connection === undefined || this.#unproven?.asked !== false) return;
    this.#unproven.asked = true;
    try {
      if (await this.#isAnother(connection, current)) return;
      const held = this.#unproven?.held ?? [];
      this.#unproven = undefined;
      for (const message of held) if (current()) this.#received(null, message);
    } catch (error) {
      const failure = natsFailure(error, this.#options.missing);
      if (!current()) return;
      if (isPassing(failure)) this.restart();
      else this.#fail(failure);
    }
  }

  #fail(failure: Failure): void {
    if (this.#closing.signal.aborted) return;
    this.close();
    this.#options.failed(failure);
  }

  get #requestBytes(): number {
    return Math.max(this.#leastRequestBytes, Math.floor(this.#prefetchBytes / 4));
  }

  #pull(): void {
    const attached = this.#attached;
    if (attached === undefined || attached.connection.isClosed()) return;
    const { link, stream } = this.#options;
    const max_bytes = this.#requestBytes;
    // A message larger than the prefetch is asked for when nothing else is under way.
    const mayExceed = () => this.#outstanding === 0 && this.#wanted >= this.#prefetchBytes / 2;
    while (this.#outstanding + max_bytes <= this.#wanted || mayExceed()) {
      if (this.#outstanding === 0) this.#heardMs = performance.now();
      this.#outstanding += max_bytes;
      const request = {
        batch: Math.ceil(max_bytes / minMessageBytes),
        max_bytes,
        expires: this.#timing.expiresMs * 1e6,
        idle_heartbeat: this.#timing.heartbeatMs * 1e6,
      };
      attached.connection.publish(
        `${link.api}.CONSUMER.MSG.NEXT.${stream}.${this.#consumer}`,
        JSON.stringify(request),
        { reply: `${this.#inbox}.${this.#consumer}` },
      );
    }
  }

  /** Whatever is thrown here must not reach the client, which would stop reading from its socket without a word. */
  #received(error: Error | null, message: Msg): void {
    try {
      if (error !== null) this.#fail(natsFailure(error, this.#options.missing));
      else this.#onMessage(message);
    } catch (thrown) {
      this.#fail(failureFrom(thrown));
    }
  }

  #onMessage(message: Msg): void {
    this.#heardMs = performance.now();
    const reply = rawReply(message);
    const unproven = this.#unproven;
    if (unproven !== undefined && (reply.length > 0 || unproven.held.length > 0)) {
      unproven.held.push(message);
      void this.#prove();
      return;
    }
    if (reply.length === 0) {
      this.#onStatus(rawHeaders(message));
      return;
    }
    const delivery = this.#delivery;
    parseDelivery(reply, delivery);
    const { sequence, seconds, nanos } = delivery;
    const { consumer } = this.#options;
    if (delivery.delivered !== this.#delivered + 1 || (consumer === undefined && sequence <= this.#last)) {
      this.restart();
      return;
    }
    this.#delivered = delivery.delivered;
    const size = rawSize(message);
    this.#outstanding = Math.max(0, this.#outstanding - size);
    const verdict = consumer?.delivered(delivery, reply) ?? 'new';
    if (verdict !== 'new') {
      if (verdict === 'again') this.#pull();
      else this.#fail(verdict);
      return;
    }
    this.#last = sequence;
    this.#lastSeconds = seconds;
    this.#lastNanos = nanos;
    this.#wanted -= size;
    this.#options.message(message, sequence, seconds, nanos, delivery.pending);
    this.#pull();
  }

  #onStatus(headers: Buffer): void {
    const { code, text, pendingBytes } = parseStatus(headers);
    if (code === 100) return;
    const tooLarge = code === 409 && /exceeds max ?bytes/i.test(text);
    if (pendingBytes === undefined || (code !== 404 && code !== 408 && !tooLarge)) {
      // Consumer or stream deleted, leadership change, limits: begin anew behind the last message.
      this.restart();
      return;
    }
    // A request came to its end; a new one takes the place of what it did not bring.
    this.#outstanding = Math.max(0, this.#outstanding - pendingBytes);
    if (tooLarge && pendingBytes >= this.#requestBytes) {
      // Not even one message fitted. Streams may hold messages larger than what the server takes now.
      const usual = (this.#attached?.connection.info?.max_payload ?? 0) + 64 * 1024;
      this.#leastRequestBytes = this.#requestBytes < usual ? usual : 2 * this.#requestBytes;
    }
    this.#pull();
    if (!tooLarge) this.#options.idle?.();
  }

  #check(): void {
    if (this.#attached === undefined) return;
    // Where nothing comes, the stream may still be another one, and not level.
    if (performance.now() - this.#startedMs > this.#timing.heartbeatMs) void this.#prove();
    if (this.#outstanding === 0) return;
    if (performance.now() - this.#heardMs > missedHeartbeats * this.#timing.heartbeatMs) this.restart();
  }

  /** Pull requests and acknowledgements are published without an answer to wait for: only the connection hears that they are not allowed. */
  #onDenied(failure: Failure, denied: Denied): void {
    const { link, stream, consumer } = this.#options;
    const pulls = `${link.api}.CONSUMER.MSG.NEXT.${stream}.`;
    const ours = denied.operation === 'publish' && denied.subject.startsWith(pulls);
    if (ours && denied.subject.slice(pulls.length) === this.#consumer) this.#fail(failure);
    else if (denied.operation === 'publish' && consumer?.acknowledgesAt(denied.subject) === true) this.#fail(failure);
  }
}
