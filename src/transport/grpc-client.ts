import type { Endpoint } from '../topology/plan.ts';
import { type Failure, failureFrom } from '../wire/reasons.ts';
import type { ChannelEvents, Dialer, Method, PeerIdentity } from './channel.ts';
import { GrpcChannel } from './grpc-channel.ts';
import { Connection, type ConnectionOptions } from './grpc-connection.ts';

export interface DialerOptions extends ConnectionOptions {
  /** How long an address may take to accept a stream before the next one is tried. Default 10 s. */
  readonly connectTimeoutMs?: number;
  /** How long an address that failed comes last when a connection is made. Default 5 min. */
  readonly avoidMs?: number;
}

/** Gives a connection for a channel, to another address than those that have failed for it. */
type Choose = (failed: ReadonlyMap<number, Failure>) => Connection | Failure;

const noLonger: Failure = { reason: 'draining', detail: 'this daemon no longer dials the peer' };

/** Makes the dialling end to one peer. Connects when the first channel is opened. */
export function createDialer(options: DialerOptions): Dialer {
  return new GrpcDialer(options);
}

class GrpcDialer implements Dialer {
  readonly #options: DialerOptions;
  readonly #channels = new Set<GrpcChannel>();
  /** Takes new streams. Older connections live on while streams of theirs do. */
  #current: Connection | undefined;
  /** Index of the address that was last reached. */
  #lastGood = 0;
  /** When an address last failed, by its index; on the monotonic clock. */
  readonly #failedAtMs = new Map<number, number>();
  #closed = false;
  /** Called when the last channel is over, while `stop` waits for that. */
  #onQuiet: (() => void) | undefined;

  constructor(options: DialerOptions) {
    this.#options = options;
  }

  get address(): Endpoint | undefined {
    return this.#current?.address;
  }

  open(method: Method, events: ChannelEvents): GrpcChannel {
    return this.#open(method, events, (failed) => this.#connection(failed));
  }

  openAnew(method: Method, events: ChannelEvents): GrpcChannel {
    return this.#open(method, events, (failed) => this.#connect(failed));
  }

  #open(method: Method, events: ChannelEvents, choose: Choose): GrpcChannel {
    const expected: PeerIdentity = { ...this.#options.expect, fingerprint: '', notAfterMs: 0 };
    const channel = new GrpcChannel(method, expected, () => {
      this.#channels.delete(channel);
      if (this.#channels.size === 0) this.#onQuiet?.();
    });
    this.#channels.add(channel);
    channel.attach(events);
    if (this.#closed) channel.over(noLonger);
    else this.#attempt(channel, choose, new Map());
    return channel;
  }

  abandon(failure: Failure): void {
    const connection = this.#current;
    if (connection !== undefined) {
      this.#drop(connection);
      this.#failedAtMs.set(connection.index, performance.now());
    }
    for (const channel of [...this.#channels]) channel.abort(failure);
  }

  async stop(graceMs: number): Promise<void> {
    this.#closed = true;
    // Those that wait for their call have nobody to say a last word to.
    for (const channel of [...this.#channels]) if (!channel.isConnected) channel.abort(noLonger);
    if (this.#channels.size > 0) {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, graceMs);
        this.#onQuiet = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
    this.close();
  }

  close(): void {
    this.#closed = true;
    for (const channel of [...this.#channels]) channel.abort(noLonger);
    this.#current?.retire();
    this.#current = undefined;
  }

  /**
   * Tries the addresses one after the other; `failed` says which of them have failed for this channel, and how; `again`, that the attempt
   * before this was overtaken, which happens once.
   */
  #attempt(channel: GrpcChannel, choose: Choose, failed: Map<number, Failure>, again = false): void {
    const connection = choose(failed);
    if ('reason' in connection) {
      channel.over(connection);
      return;
    }
    connection.start(channel, this.#options.connectTimeoutMs ?? 10_000, {
      established: () => {
        this.#lastGood = connection.index;
        this.#failedAtMs.delete(connection.index);
        this.#use(connection);
      },
      refused: (failure, final) => {
        // Given up by its owner.
        if (channel.isEnded) {
          if (connection !== this.#current) connection.retire();
          return;
        }
        // A refusal of this stream says nothing against a connection that carries others.
        if (!(final && connection.established)) this.#drop(connection);
        failed.set(connection.index, failure);
        this.#failedAtMs.set(connection.index, performance.now());
        if (final || failed.size === this.#options.addresses.length)
          channel.over(this.#summary(failed, failure, final));
        else this.#attempt(channel, choose, failed);
      },
      lost: () => this.#drop(connection),
      ...(again
        ? {}
        : {
            overtaken: () => {
              this.#drop(connection);
              if (!channel.isEnded) this.#attempt(channel, choose, failed, true);
            },
          }),
    });
  }

  /** The present connection as long as it is of use, or one that is made now. */
  #connection(failed: ReadonlyMap<number, Failure>): Connection | Failure {
    const current = this.#current;
    if (current !== undefined) {
      if (current.certificates === this.#options.certs.current && !failed.has(current.index)) return current;
      this.#drop(current);
    }
    const made = this.#connect(failed);
    if (!('reason' in made)) this.#current = made;
    return made;
  }

  #connect(failed: ReadonlyMap<number, Failure>): Connection | Failure {
    const { certs } = this.#options;
    const certificates = certs.current;
    if (certificates === undefined) {
      return certs.failure ?? { reason: 'certificate-unusable', detail: 'our own certificate has not been read yet' };
    }
    const index = this.#order().find((candidate) => !failed.has(candidate))!;
    try {
      return new Connection(this.#options, index, certificates);
    } catch (thrown) {
      return failureFrom(thrown);
    }
  }

  /**
   * Indexes of the addresses in the order in which they are tried: as the plan has them, except that those that failed a short time
   * ago come last, since one where packets vanish costs the whole timeout. So the preferred one is gone back to, later.
   */
  #order(): number[] {
    const { addresses, avoidMs = 5 * 60_000 } = this.#options;
    const nowMs = performance.now();
    const bad = (index: number): boolean => nowMs - (this.#failedAtMs.get(index) ?? Number.NEGATIVE_INFINITY) < avoidMs;
    const all = [...addresses.keys()];
    return [...all.filter((index) => !bad(index)), this.#lastGood, ...all];
  }

  /** It works: it takes the new streams from now on. The one that did lives on while streams of its own do. */
  #use(connection: Connection): void {
    // One that was given up meanwhile is not taken back.
    if (connection === this.#current || connection.isRetired) return;
    this.#current?.retire();
    this.#current = connection;
  }

  #drop(connection: Connection): void {
    connection.retire();
    if (this.#current === connection) this.#current = undefined;
  }

  /** One failure out of those of all addresses: the one that says most, with what each address said. */
  #summary(failed: ReadonlyMap<number, Failure>, last: Failure, final: boolean): Failure {
    if (failed.size === 1) return last;
    const telling = final ? last : ([...failed.values()].find(({ reason }) => reason !== 'unreachable') ?? last);
    return { ...telling, detail: [...failed.values()].map(({ detail }) => detail).join('; ') };
  }
}
