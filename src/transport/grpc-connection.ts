import { X509Certificate } from 'node:crypto';
import {
  Client,
  type ClientDuplexStream,
  connectivityState,
  Metadata,
  type StatusObject,
  status as statusCode,
} from '@grpc/grpc-js';
import type { CertificateSource, Certificates, Identify } from '../security/identity.ts';
import type { Endpoint, ProxyPlan } from '../topology/plan.ts';
import { type Failure, reasons } from '../wire/reasons.ts';
import { atTime } from './at-time.ts';
import type { PeerIdentity } from './channel.ts';
import type { CallPort, GrpcChannel } from './grpc-channel.ts';
import { clientOptions, type Tuning } from './grpc-options.ts';
import { carriedFailure, failureOfStatus } from './grpc-status.ts';
import { knock } from './knock.ts';
import { methodPaths } from './methods.ts';
import { proxyTo } from './proxy.ts';
import { Road } from './road.ts';

export interface ConnectionOptions extends Tuning {
  /** In order of preference; at least one. */
  readonly addresses: readonly Endpoint[];
  /** On the way to all of them but unix sockets. */
  readonly proxy?: ProxyPlan;
  /** Who must answer. */
  readonly expect: { readonly trustDomain: string; readonly cluster: string };
  readonly certs: CertificateSource;
  readonly identify: Identify;
}

type Call = ClientDuplexStream<Buffer, Buffer>;

/** How an attempt to open a stream goes. */
export interface AttemptEvents {
  established(): void;
  /** The stream was not accepted. `final`: another address would not help, the peer itself has spoken. */
  refused(failure: Failure, final: boolean): void;
  /** The connection broke under a stream that had been accepted. */
  lost(): void;
  /**
   * The network has returned while TCP waits to ask once more: a new connection will be there sooner. The attempt is over. Absent: TCP is
   * waited for.
   */
  readonly overtaken?: () => void;
}

/** One TLS connection to one address with one certificate: a gRPC client, closed when it is retired and its last stream is over. */
export class Connection {
  readonly index: number;
  readonly address: Endpoint;
  readonly certificates: Certificates;
  readonly #options: ConnectionOptions;
  readonly #client: Client;
  readonly #road: Road;
  #established = false;
  #calls = 0;
  #retired = false;

  /** Throws if the certificates, or what the plan says of the proxy, cannot be used. */
  constructor(options: ConnectionOptions, index: number, certificates: Certificates) {
    this.#options = options;
    this.index = index;
    const address = options.addresses[index]!;
    this.address = address;
    this.certificates = certificates;
    this.#road = new Road({
      endpoint: address,
      proxy: options.proxy === undefined || 'path' in address ? undefined : proxyTo(address, options.proxy),
      certificates,
      cluster: options.expect.cluster,
      verify: (certificate) => this.#verify(certificate),
    });
    const { target, credentials, serverName } = this.#road;
    this.#client = new Client(target, credentials, { ...clientOptions(options, serverName) });
  }

  /** True once the peer has accepted a stream on it. */
  get established(): boolean {
    return this.#established;
  }

  get isRetired(): boolean {
    return this.#retired;
  }

  /** No more streams; closes after the last one. */
  retire(): void {
    if (this.#retired) return;
    this.#retired = true;
    if (this.#calls === 0) this.#close();
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
    let overtaken = false;
    const stopKnocking = this.#knock(events.overtaken, () => {
      overtaken = true;
      call.cancel();
    });
    const timer = setTimeout(() => give(this.#silence(timeoutMs)), timeoutMs);
    timer.unref();
    channel.opening(() => call.cancel());

    call.on('metadata', () => {
      clearTimeout(timer);
      stopKnocking?.();
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
      stopKnocking?.();
      cancelExpiry?.();
      this.#release();
      if (overtaken) return;
      status = ended;
      if (ended.code === statusCode.OK) {
        // Frames may still wait in the call's buffer; its end comes after them.
        if (readEnded) channel.over();
        return;
      }
      const carried = carriedFailure(ended);
      const failure = given ?? this.#renewed(carried) ?? this.#explain(ended, accepted);
      if (!accepted) return events.refused(failure, carried !== undefined && reasons[failure.reason].retry === 'park');
      if (ended.code === statusCode.UNAVAILABLE && carried === undefined) events.lost();
      channel.over(failure);
    });
  }

  /** Knocks where TCP has no answer yet. */
  #knock(overtaken: (() => void) | undefined, giveUp: () => void): (() => void) | undefined {
    const road = this.#road;
    if (overtaken === undefined || 'path' in road.next) return undefined;
    return knock(
      road.next,
      () => !road.isReached,
      () => {
        giveUp();
        overtaken();
      },
    );
  }

  #release(): void {
    this.#calls -= 1;
    if (this.#retired && this.#calls === 0) this.#close();
  }

  #close(): void {
    this.#client.close();
    this.#road.close();
  }

  #explain(ended: StatusObject, accepted: boolean): Failure {
    const carried = carriedFailure(ended);
    if (carried !== undefined) return carried;
    if (!accepted && this.#road.failure !== undefined) return this.#at(this.#road.failure);
    return this.#at(failureOfStatus(ended, accepted));
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
    const what = connected ? 'no answer' : this.#road.waitingFor;
    return this.#at({ reason, detail: `${what} within ${seconds} s` });
  }

  #at(failure: Failure): Failure {
    return { ...failure, detail: `${this.#road.text}: ${failure.detail}` };
  }

  #peerOf(call: Call): PeerIdentity | Failure {
    const raw = call.getAuthContext()?.sslPeerCertificate?.raw;
    if (raw === undefined) return { reason: 'certificate-missing', detail: 'gRPC knows no certificate of the peer' };
    return this.#verify(new X509Certificate(raw));
  }

  #verify(certificate: X509Certificate): PeerIdentity | Failure {
    const { expect, identify } = this.#options;
    const found = identify(certificate);
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
