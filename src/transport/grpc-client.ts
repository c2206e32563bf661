import { X509Certificate } from 'node:crypto';
import { createSecureContext } from 'node:tls';
import {
  Client,
  type ClientDuplexStream,
  connectivityState,
  credentials,
  Metadata,
  type StatusObject,
  status as statusCode,
} from '@grpc/grpc-js';
import type { CertificateSource, Certificates, Identify } from '../security/identity.ts';
import type { Address } from '../topology/plan.ts';
import { type Failure, failureFrom, reasons } from '../wire/reasons.ts';
import { atTime } from './at-time.ts';
import type { ChannelEvents, Dialer, Method, PeerIdentity } from './channel.ts';
import { type CallPort, GrpcChannel } from './grpc-channel.ts';
import { clientOptions, type Tuning } from './grpc-options.ts';
import { carriedFailure, failureOfStatus } from './grpc-status.ts';
import { methodPaths } from './methods.ts';

export interface DialerOptions extends Tuning {
  /** In order of preference; at least one. */
  readonly addresses: readonly Address[];
  /** Who must answer. */
  readonly expect: { readonly trustDomain: string; readonly cluster: string };
  readonly certs: CertificateSource;
  readonly identify: Identify;
  /** How long an address may take to accept a stream before the next one is tried. Default 10 s. */
  readonly connectTimeoutMs?: number;
  /** Age at which a connection gets no more streams, so that both ends come to use renewed certificates. Default 30 min. */
  readonly maxConnectionAgeMs?: number;
}

/** Makes the dialling end to one peer. Connects when the first channel is opened. */
export function createDialer(options: DialerOptions): Dialer {
  return new GrpcDialer(options);
}

type Call = ClientDuplexStream<Buffer, Buffer>;

class GrpcDialer implements Dialer {
  readonly #options: DialerOptions;
  readonly #channels = new Set<GrpcChannel>();
  /** Takes new streams. Older connections live on while streams of theirs do. */
  #current: Connection | undefined;
  /** Index of the address that was last reached. */
  #lastGood = 0;
  #closed = false;

  constructor(options: DialerOptions) {
    this.#options = options;
  }

  get address(): Address | undefined {
    return this.#current?.address;
  }

  open(method: Method, events: ChannelEvents): GrpcChannel {
    const expected: PeerIdentity = { ...this.#options.expect, fingerprint: '', notAfterMs: 0 };
    const channel = new GrpcChannel(method, expected, () => this.#channels.delete(channel));
    this.#channels.add(channel);
    channel.attach(events);
    if (this.#closed) channel.over({ reason: 'draining', detail: 'this daemon no longer dials the peer' });
    else this.#attempt(channel, new Map());
    return channel;
  }

  close(): void {
    this.#closed = true;
    for (const channel of [...this.#channels]) {
      channel.abort({ reason: 'draining', detail: 'this daemon no longer dials the peer' });
    }
    this.#current?.retire();
    this.#current = undefined;
  }

  /** Tries the addresses one after the other; `failed` says which of them have failed for this channel, and how. */
  #attempt(channel: GrpcChannel, failed: Map<number, Failure>): void {
    const connection = this.#connection(failed);
    if ('reason' in connection) {
      channel.over(connection);
      return;
    }
    connection.start(channel, this.#options.connectTimeoutMs ?? 10_000, {
      established: () => {
        this.#lastGood = connection.index;
      },
      refused: (failure, final) => {
        // Given up by its owner.
        if (channel.isEnded) return;
        // A refusal of this stream says nothing against a connection that carries others.
        if (!(final && connection.established)) this.#drop(connection);
        failed.set(connection.index, failure);
        if (final || failed.size === this.#options.addresses.length)
          channel.over(this.#summary(failed, failure, final));
        else this.#attempt(channel, failed);
      },
      lost: () => this.#drop(connection),
    });
  }

  #connection(failed: ReadonlyMap<number, Failure>): Connection | Failure {
    const { addresses, certs, maxConnectionAgeMs = 30 * 60_000 } = this.#options;
    const certificates = certs.current;
    if (certificates === undefined) {
      return certs.failure ?? { reason: 'certificate-unusable', detail: 'our own certificate has not been read yet' };
    }
    const current = this.#current;
    if (current !== undefined) {
      const fresh = current.certificates === certificates && Date.now() - current.startedMs < maxConnectionAgeMs;
      if (fresh && !failed.has(current.index)) return current;
      this.#drop(current);
    }
    const order = [this.#lastGood, ...addresses.keys()];
    const index = order.find((candidate) => !failed.has(candidate))!;
    try {
      this.#current = new Connection(this.#options, index, certificates);
      return this.#current;
    } catch (thrown) {
      return failureFrom(thrown);
    }
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

interface AttemptEvents {
  established(): void;
  /** The stream was not accepted. `final`: another address would not help, the peer itself has spoken. */
  refused(failure: Failure, final: boolean): void;
  /** The connection broke under a stream that had been accepted. */
  lost(): void;
}

/** One TLS connection to one address with one certificate: a gRPC client, closed when it is retired and its last stream is over. */
class Connection {
  readonly index: number;
  readonly address: Address;
  readonly certificates: Certificates;
  readonly startedMs = Date.now();
  readonly #options: DialerOptions;
  readonly #client: Client;
  /** Set by the TLS handshake, whose error text is all that gRPC would report. */
  #mismatch: Failure | undefined;
  #established = false;
  #calls = 0;
  #retired = false;

  /** Throws if the certificates cannot be used. */
  constructor(options: DialerOptions, index: number, certificates: Certificates) {
    this.#options = options;
    this.index = index;
    this.address = options.addresses[index]!;
    this.certificates = certificates;
    const { host, port } = this.address;
    const { cert, key, ca } = certificates;
    const context = createSecureContext({ cert, key, ca, minVersion: 'TLSv1.3' });
    // The name we dialled proves nothing and is not looked at: the certificate has to name the cluster.
    const secure = credentials.createFromSecureContext(context, {
      checkServerIdentity: (_host, { raw }) => {
        const verdict = this.#verify(raw);
        this.#mismatch = 'reason' in verdict ? verdict : undefined;
        return this.#mismatch === undefined ? undefined : new Error(this.#mismatch.detail);
      },
    });
    const target = `dns:${host.includes(':') ? `[${host}]` : host}:${port}`;
    this.#client = new Client(target, secure, { ...clientOptions(options, host, options.expect.cluster) });
  }

  /** True once the peer has accepted a stream on it. */
  get established(): boolean {
    return this.#established;
  }

  /** No more streams; closes after the last one. */
  retire(): void {
    if (this.#retired) return;
    this.#retired = true;
    if (this.#calls === 0) this.#client.close();
  }

  /**
   * Starts a call for the channel. The channel is given it when the other side has accepted: nothing of the outbox is
   * handed over before, so that another address may be tried without sending anything twice.
   */
  start(channel: GrpcChannel, timeoutMs: number, events: AttemptEvents): void {
    const call = this.#client.makeBidiStreamRequest(methodPaths[channel.method], identity, identity, new Metadata());
    this.#calls += 1;
    let accepted = false;
    let readEnded = false;
    let status: StatusObject | undefined;
    let given: Failure | undefined;
    let cancelExpiry: (() => void) | undefined;
    const give = (failure: Failure): void => {
      given = failure;
      call.cancel();
    };
    const timer = setTimeout(() => give(this.#silence(timeoutMs)), timeoutMs);
    timer.unref();
    channel.opening(() => call.cancel());

    call.on('metadata', () => {
      clearTimeout(timer);
      if (channel.isEnded) return;
      const peer = this.#peerOf(call);
      if ('reason' in peer) return give(peer);
      accepted = true;
      this.#established = true;
      events.established();
      cancelExpiry = atTime(peer.notAfterMs, () => {
        // A new connection shows whether the peer has renewed it.
        events.lost();
        channel.abort({ reason: 'rotated', detail: 'the certificate of the peer on this connection has ended' });
      });
      channel.connect(clientPort(call), peer);
    });
    call.on('data', (frame: Buffer) => channel.received(frame));
    call.on('end', () => {
      readEnded = true;
      if (status?.code === statusCode.OK) channel.over();
    });
    call.on('error', () => {
      // The status event, which follows, says the same.
    });
    call.on('status', (ended: StatusObject) => {
      clearTimeout(timer);
      cancelExpiry?.();
      this.#release();
      status = ended;
      if (ended.code === statusCode.OK) {
        // Frames may still wait in the call's buffer; its end comes after them.
        if (readEnded) channel.over();
        return;
      }
      const carried = carriedFailure(ended);
      const failure = given ?? this.#renewed(carried) ?? this.#mismatchOnce() ?? this.#explain(ended, accepted);
      if (!accepted) return events.refused(failure, carried !== undefined && reasons[failure.reason].retry === 'park');
      if (ended.code === statusCode.UNAVAILABLE && carried === undefined) events.lost();
      channel.over(failure);
    });
  }

  #release(): void {
    this.#calls -= 1;
    if (this.#retired && this.#calls === 0) this.#client.close();
  }

  #explain(ended: StatusObject, accepted: boolean): Failure {
    const failure = failureOfStatus(ended, accepted);
    return carriedFailure(ended) === undefined ? this.#at(failure) : failure;
  }

  #mismatchOnce(): Failure | undefined {
    return this.#mismatch === undefined ? undefined : this.#at(this.#mismatch);
  }

  /** A certificate that the peer refuses as expired is no reason to park if we have a newer one since. */
  #renewed(carried: Failure | undefined): Failure | undefined {
    if (carried?.reason !== 'certificate-expired' || this.#options.certs.current === this.certificates)
      return undefined;
    return { reason: 'rotated', detail: 'our certificate of this connection has ended, there is a newer one' };
  }

  #silence(timeoutMs: number): Failure {
    const seconds = Math.round(timeoutMs / 100) / 10;
    const connected = this.#client.getChannel().getConnectivityState(false) === connectivityState.READY;
    const reason = connected ? 'peer-silent' : 'unreachable';
    return this.#at({ reason, detail: `no answer within ${seconds} s` });
  }

  #at(failure: Failure): Failure {
    return { ...failure, detail: `${this.address.host}:${this.address.port}: ${failure.detail}` };
  }

  #peerOf(call: Call): PeerIdentity | Failure {
    const raw = call.getAuthContext()?.sslPeerCertificate?.raw;
    if (raw === undefined) return { reason: 'certificate-missing', detail: 'gRPC knows no certificate of the peer' };
    return this.#verify(raw);
  }

  #verify(raw: Buffer): PeerIdentity | Failure {
    const { expect, identify } = this.#options;
    const found = identify(new X509Certificate(raw));
    if ('reason' in found) return found;
    if (found.trustDomain === expect.trustDomain && found.cluster === expect.cluster) return found;
    const [is, should] = [found, expect].map(({ trustDomain, cluster }) => `${trustDomain}/${cluster}`);
    return { reason: 'identity-mismatch', detail: `the certificate of the peer is for ${is}, not for ${should}` };
  }
}

function clientPort(call: Call): CallPort {
  return {
    write: (frame, taken) => {
      // An error here is followed by the status of the call.
      call.write(frame, (error: Error | null | undefined) => {
        if (error === null || error === undefined) taken();
      });
    },
    pause: () => void call.pause(),
    resume: () => void call.resume(),
    finish: () => void call.end(),
    reset: () => call.cancel(),
    // A client has no status to give.
    refuse: () => call.cancel(),
  };
}

function identity(frame: Buffer): Buffer {
  return frame;
}
