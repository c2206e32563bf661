/** What the daemon holds of its NATS cluster: a NatsLink over a SimLine, with as much of the client as the product uses. */
import { type NatsConnection, TimeoutError } from 'nats';
import type { NatsLink, NatsLinkEvents } from '../../src/brokers/nats/connection.ts';
import { type Failure, FailureError } from '../../src/wire/reasons.ts';
import type { Seed } from '../support/seed.ts';
import type { Owner, VirtualClock } from './clock.ts';
import type { SimBroker } from './sim-broker.ts';
import type { SimLine, ToClient } from './sim-line.ts';

/** How long a client takes to notice that nothing comes from its server any more, in ms. */
const silenceMs = 12_000;
const empty = Buffer.alloc(0);

/** A message as the pinned client holds it (src/brokers/nats/raw-message.ts). */
class SimMessage {
  readonly _msg: { readonly subject: Buffer; readonly reply?: Buffer; readonly hdr: number };
  readonly _rdata: Buffer;

  constructor({ subject, reply, headers, payload }: ToClient) {
    this._msg = {
      subject: Buffer.from(subject),
      hdr: headers.length,
      ...(reply === '' ? {} : { reply: Buffer.from(reply) }),
    };
    this._rdata = headers.length === 0 ? payload : Buffer.concat([headers, payload]);
  }

  json(): unknown {
    return JSON.parse(this._rdata.subarray(this._msg.hdr).toString());
  }
}

type Callback = (error: Error | null, message: unknown) => void;

/** As much of a NatsConnection as the product uses. It outlives reconnects, as the client's does. */
class SimConnection {
  readonly info = { max_payload: 1024 * 1024, version: '2.10.27' };
  readonly #clock: VirtualClock;
  readonly #subscriptions = new Map<string, Callback>();
  readonly #requests = new Map<string, (message: ToClient) => void>();
  #line: SimLine | undefined;
  readonly #inbox: string;
  #closed = false;
  #asked = 0;

  constructor(clock: VirtualClock) {
    this.#clock = clock;
    this.#inbox = `_INBOX.r${clock.serial()}`;
  }

  get asNats(): NatsConnection {
    return this as unknown as NatsConnection;
  }

  attach(line: SimLine | undefined): void {
    this.#line = line;
    line?.fromClient({ kind: 'subscribe', pattern: `${this.#inbox}.*` });
    for (const pattern of this.#subscriptions.keys()) line?.fromClient({ kind: 'subscribe', pattern });
  }

  close(): void {
    this.#closed = true;
    this.#line = undefined;
    this.#subscriptions.clear();
  }

  isClosed(): boolean {
    return this.#closed;
  }

  isDraining(): boolean {
    return false;
  }

  publish(
    subject: string,
    data?: string | Uint8Array,
    options: { reply?: string; headers?: { encode(): Uint8Array } } = {},
  ): void {
    const { reply = '', headers } = options;
    const payload = data === undefined ? empty : Buffer.from(data as Uint8Array);
    // Without a line it is thrown away, without an error.
    const block = headers === undefined ? empty : Buffer.from(headers.encode());
    this.#line?.fromClient({ kind: 'publish', subject, reply, headers: block, payload });
  }

  subscribe(pattern: string, { callback }: { callback: Callback }): { unsubscribe(): void } {
    this.#subscriptions.set(pattern, callback);
    this.#line?.fromClient({ kind: 'subscribe', pattern });
    return {
      unsubscribe: () => {
        if (this.#subscriptions.delete(pattern)) this.#line?.fromClient({ kind: 'unsubscribe', pattern });
      },
    };
  }

  request(subject: string, body: string | undefined, { timeout }: { timeout: number }): Promise<SimMessage> {
    const reply = `${this.#inbox}.${++this.#asked}`;
    return new Promise((resolve, reject) => {
      const timer = this.#clock.after(timeout, this.#clock.current, () => {
        this.#requests.delete(reply);
        reject(new TimeoutError());
      });
      this.#requests.set(reply, (message) => {
        this.#clock.cancel(timer);
        this.#requests.delete(reply);
        resolve(new SimMessage(message));
      });
      this.publish(subject, body, { reply });
    });
  }

  received(message: ToClient): void {
    const { inbox } = message;
    const request = this.#requests.get(inbox);
    if (request !== undefined) {
      request(message);
      return;
    }
    const callback = this.#subscriptions.get(inbox) ?? this.#subscriptions.get(inbox.replace(/\.\d+\.\d+$/, '.*.*'));
    callback?.(null, new SimMessage(message));
  }
}

/** In place of a NatsLink. */
export class SimLink implements Pick<NatsLink, 'connection' | 'failure' | 'require' | 'listen' | 'api' | 'domain'> {
  readonly api = '$JS.API';
  readonly domain = undefined;
  failure: Failure | undefined = { reason: 'nats-unreachable', detail: 'not connected yet' };
  /** Nobody may connect until then. */
  keptOutUntilMs = 0;
  readonly #clock: VirtualClock;
  readonly #random: Seed;
  readonly #owner: Owner;
  readonly #broker: SimBroker;
  readonly #listeners = new Set<Partial<NatsLinkEvents>>();
  #connection: SimConnection;
  #line: SimLine | undefined;

  constructor(options: {
    readonly clock: VirtualClock;
    readonly random: Seed;
    readonly owner: Owner;
    readonly broker: SimBroker;
  }) {
    this.#clock = options.clock;
    this.#random = options.random;
    this.#owner = options.owner;
    this.#broker = options.broker;
    this.#connection = new SimConnection(options.clock);
    this.#connectSoon();
  }

  get asNatsLink(): NatsLink {
    return this as unknown as NatsLink;
  }

  get line(): SimLine | undefined {
    return this.#line;
  }

  get connection(): NatsConnection | undefined {
    return this.#line === undefined ? undefined : this.#connection.asNats;
  }

  require(): NatsConnection {
    if (this.connection !== undefined) return this.connection;
    throw new FailureError('nats-unreachable', this.failure?.detail ?? 'not connected');
  }

  listen(events: Partial<NatsLinkEvents>): () => void {
    this.#listeners.add(events);
    if (this.#line !== undefined)
      queueMicrotask(() => this.#listeners.has(events) && this.#line !== undefined && events.connected?.());
    return () => this.#listeners.delete(events);
  }

  /** The connection is reset. False if there is none. */
  cut(lateMs = 0): boolean {
    const line = this.#line;
    if (line === undefined) return false;
    line.leave(lateMs);
    this.#lost(line);
    return true;
  }

  /** Nothing moves any more; the client finds out after a while, or it moves again before. False if there is no connection. */
  freeze(forMs: number, lateMs: number): boolean {
    const line = this.#line;
    if (line === undefined) return false;
    line.frozen = true;
    this.#clock.after(Math.min(forMs, silenceMs), this.#owner, () => {
      if (line.clientGone) return;
      if (forMs <= silenceMs) line.thaw();
      else if (this.#line === line) this.cut(lateMs);
    });
    return true;
  }

  /** The server ended the connection. */
  broken(line: SimLine): void {
    this.#clock.after(this.#random.next() * 5, this.#owner, () => {
      line.leave(0);
      this.#lost(line);
    });
  }

  #lost(line: SimLine): void {
    if (this.#line !== line) return;
    this.#line = undefined;
    this.#connection.attach(undefined);
    this.failure = { reason: 'nats-unreachable', detail: 'connection lost' };
    this.#clock.as(this.#owner, () => {
      for (const listener of [...this.#listeners]) listener.disconnected?.(this.failure!);
    });
    // The client has given up, and the daemon makes another connection.
    if (this.#random.next() < 0.2) {
      this.#connection.close();
      this.#connection = new SimConnection(this.#clock);
    }
    this.#connectSoon();
  }

  #connectSoon(): void {
    this.#clock.after(this.#random.between(5, 500), this.#owner, () => {
      if (!this.#broker.up || this.#clock.nowMs < this.keptOutUntilMs) {
        this.#connectSoon();
        return;
      }
      const connection = this.#connection;
      const line = this.#broker.connect(this.#owner, {
        client: (message) => connection.received(message),
        broken: (broken) => this.broken(broken),
      });
      this.#line = line;
      this.failure = undefined;
      connection.attach(line);
      for (const listener of [...this.#listeners]) listener.connected?.();
    });
  }
}
