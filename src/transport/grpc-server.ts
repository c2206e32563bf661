import { X509Certificate } from 'node:crypto';
import { constants, type ServerHttp2Stream } from 'node:http2';
import { Metadata, Server, ServerCredentials, type ServerDuplexStream, status as statusCode } from '@grpc/grpc-js';
import type { CertificateSource, Identify } from '../security/identity.ts';
import type { Endpoint } from '../topology/plan.ts';
import { type Failure, failureFrom } from '../wire/reasons.ts';
import { atTime } from './at-time.ts';
import type { Accept, ChannelEvents, Listener, Method, PeerIdentity } from './channel.ts';
import { type CallPort, GrpcChannel } from './grpc-channel.ts';
import { defaultWindowBytes, serverOptions, type Tuning } from './grpc-options.ts';
import { statusOf } from './grpc-status.ts';
import { type Http2Seam, http2Seam } from './http2-seam.ts';
import { methodPaths } from './methods.ts';
import { TlsListener } from './tls-listener.ts';

export interface ListenerOptions extends Tuning {
  /** Port 0 binds any free one. */
  readonly address: Endpoint;
  readonly certs: CertificateSource;
  readonly identify: Identify;
  readonly trustDomain: string;
  /** Whether the plan knows this cluster as a peer; asked for each connection and stream. */
  readonly knownPeer: (cluster: string) => boolean;
  readonly accept: Accept;
  /** Streams per connection. Default 1024. */
  readonly maxStreams?: number;
  /** Streams of one cluster over all its connections; more are refused with `overloaded`. Default 2048. */
  readonly maxStreamsPerPeer?: number;
  /** A connection was refused; `remote` is its address. For the log. */
  readonly onRefused?: (failure: Failure, remote: string) => void;
  /** Something inside gRPC is not as expected: it works, slower. For the log. */
  readonly onDefect?: (detail: string) => void;
}

/** Starts the listening end. Rejects with the system's error if the address cannot be bound. */
export async function startListener(options: ListenerOptions): Promise<Listener> {
  const listener = new GrpcListener(options);
  await listener.start();
  return listener;
}

type Call = ServerDuplexStream<Buffer, Buffer>;

/** How long a stream that was told why it ends may take to hear it, before it is reset. */
const lingerMs = 1000;
const resetFollowsMs = 20;
/** How long a dialer that has ended may take to read what was queued for it. */
const endedMs = 5000;

class GrpcListener implements Listener {
  readonly #options: ListenerOptions;
  readonly #seam: Http2Seam;
  readonly #server: Server;
  readonly #channels = new Set<GrpcChannel>();
  readonly #calls = new Set<Call>();
  /** Open streams by cluster. */
  readonly #perPeer = new Map<string, number>();
  #tls: TlsListener | undefined;
  #refusal: Failure | undefined;
  #stopped: Promise<void> | undefined;
  /** Called whenever a call is over, while `stop` waits for that. */
  #onQuiet: (() => void) | undefined;

  constructor(options: ListenerOptions) {
    this.#options = options;
    this.#seam = http2Seam(options.windowBytes ?? defaultWindowBytes, (detail) => options.onDefect?.(detail));
    this.#server = new Server({ ...serverOptions(options), interceptors: [this.#seam.interceptor] });
    this.#server.register(
      methodPaths.control,
      (call: Call) => this.#started('control', call),
      identity,
      identity,
      'bidi',
    );
    this.#server.register(
      methodPaths.exchange,
      (call: Call) => this.#started('exchange', call),
      identity,
      identity,
      'bidi',
    );
  }

  async start(): Promise<void> {
    // gRPC is given connections on which TLS is done and the peer is proven; to it they look like plain ones.
    const injector = this.#server.createConnectionInjector(ServerCredentials.createInsecure());
    const { address, certs, onRefused } = this.#options;
    this.#tls = await TlsListener.start({
      address,
      certs,
      admit: (certificate) => this.#admit(certificate),
      onAdmitted: (socket) => injector.injectConnection(socket),
      onRefused: (failure, remote) => onRefused?.(failure, remote),
    });
  }

  get address(): Endpoint {
    return this.#tls!.address;
  }

  refuseNew(failure: Failure): void {
    this.#refusal = failure;
  }

  recheck(): void {
    for (const channel of [...this.#channels]) {
      if (!this.#options.knownPeer(channel.peer.cluster)) channel.cut(unknownPeer(channel.peer.cluster));
    }
  }

  stop(graceMs: number): Promise<void> {
    this.#stopped ??= this.#stop(graceMs);
    return this.#stopped;
  }

  async #stop(graceMs: number): Promise<void> {
    const failure: Failure = { reason: 'draining', detail: 'the listener is stopping' };
    this.#refusal ??= failure;
    this.#tls!.close();
    await this.#quiet(graceMs);
    for (const channel of [...this.#channels]) channel.cut(failure);
    await this.#quiet(lingerMs);
    await this.#tls!.destroy();
    this.#server.forceShutdown();
  }

  /** Resolves when no call is open, or when the time is over. */
  #quiet(timeoutMs: number): Promise<void> {
    if (this.#calls.size === 0) return Promise.resolve();
    return new Promise((resolve) => {
      const done = (): void => {
        clearTimeout(timer);
        this.#onQuiet = undefined;
        resolve();
      };
      const timer = setTimeout(done, timeoutMs);
      this.#onQuiet = () => {
        if (this.#calls.size === 0) done();
      };
    });
  }

  #admit(certificate: X509Certificate): PeerIdentity | Failure {
    const { identify, trustDomain, knownPeer } = this.#options;
    const peer = identify(certificate);
    if ('reason' in peer) return peer;
    if (peer.trustDomain !== trustDomain) {
      const detail = `the certificate of the dialer is of the trust domain ${peer.trustDomain}, not ${trustDomain}`;
      return { reason: 'identity-mismatch', detail };
    }
    if (peer.notAfterMs <= Date.now())
      return { reason: 'certificate-expired', detail: 'the certificate of the dialer has ended' };
    return knownPeer(peer.cluster) ? peer : unknownPeer(peer.cluster);
  }

  #started(method: Method, call: Call): void {
    const stream = this.#seam.streamOf(call.metadata);
    this.#calls.add(call);
    // The call closes when its status is queued, the stream when the dialer has it.
    (stream ?? call).once('close', () => {
      this.#calls.delete(call);
      this.#onQuiet?.();
    });
    const port = serverPort(call, stream);
    const peer = this.#refusal ?? this.#peerOf(call);
    if ('reason' in peer) {
      port.refuse(peer);
      return;
    }
    const { cluster } = peer;
    const streams = this.#perPeer.get(cluster) ?? 0;
    const { maxStreamsPerPeer = 2048 } = this.#options;
    if (streams >= maxStreamsPerPeer) {
      port.refuse({ reason: 'overloaded', detail: `${cluster} has ${streams} streams here already` });
      return;
    }
    this.#perPeer.set(cluster, streams + 1);
    const channel = new GrpcChannel(method, peer, () => {
      cancelExpiry();
      this.#channels.delete(channel);
      const left = (this.#perPeer.get(cluster) ?? 1) - 1;
      if (left === 0) this.#perPeer.delete(cluster);
      else this.#perPeer.set(cluster, left);
    });
    const cancelExpiry = atTime(peer.notAfterMs, () => {
      channel.cut({ reason: 'certificate-expired', detail: 'the certificate of the dialer has ended' });
    });
    this.#channels.add(channel);
    const events = this.#ask(channel);
    if ('reason' in events) {
      channel.abort(events);
      port.refuse(events);
      return;
    }
    channel.attach(events);
    if (channel.isEnded) {
      port.reset();
      return;
    }
    // Tells the dialer that it was accepted; until then it sends nothing.
    call.sendMetadata(new Metadata());
    this.#listen(call, stream, channel);
    channel.connect(port, peer);
  }

  /** Proven again for each stream, since a connection outlives a change of the plan. */
  #peerOf(call: Call): PeerIdentity | Failure {
    const raw = call.getAuthContext().sslPeerCertificate?.raw;
    if (raw === undefined) return { reason: 'certificate-missing', detail: 'the connection proves no identity' };
    return this.#admit(new X509Certificate(raw));
  }

  #ask(channel: GrpcChannel): ChannelEvents | Failure {
    try {
      return this.#options.accept(channel);
    } catch (thrown) {
      return failureFrom(thrown);
    }
  }

  #listen(call: Call, stream: ServerHttp2Stream | undefined, channel: GrpcChannel): void {
    call.on('data', (frame: Buffer) => channel.received(frame));
    call.on('end', () => {
      if (stream !== undefined && stream.rstCode !== constants.NGHTTP2_NO_ERROR) return;
      // Node's client sends an end of the stream in front of a reset, too: give the reset the time to follow.
      later(call, resetFollowsMs, () => channel.end());
      later(call, endedMs, () =>
        channel.abort({ reason: 'connection-lost', detail: 'the dialer ended, and reads no more' }),
      );
    });
    // Comes at every end: after our status was sent as well as when the peer or the connection has gone.
    call.on('cancelled', () => {
      const sent = stream?.sentTrailers?.['grpc-status'];
      if (sent === statusCode.OK || (stream === undefined && call.writableFinished)) return channel.over();
      if (sent === statusCode.RESOURCE_EXHAUSTED) {
        return channel.over({ reason: 'frame-too-large', detail: 'the peer sent a frame that is larger than allowed' });
      }
      channel.over({ reason: 'connection-lost', detail: 'the dialer or the connection to it has gone' });
    });
  }
}

function unknownPeer(cluster: string): Failure {
  return { reason: 'peer-unknown', detail: `the topology file here has no peer ${cluster}` };
}

function serverPort(call: Call, stream: ServerHttp2Stream | undefined): CallPort {
  const reset = (): void => {
    if (stream === undefined) call.emit('error', { code: statusCode.CANCELLED, details: 'aborted' });
    else stream.close(constants.NGHTTP2_CANCEL);
  };
  return {
    write: (frame, taken) => {
      // An error here is followed by the end of the call.
      call.write(frame, (error: Error | null | undefined) => {
        if (error === null || error === undefined) taken();
      });
    },
    pause: () => void call.pause(),
    resume: () => void call.resume(),
    finish: () => void call.end(),
    reset,
    refuse: (failure) => {
      call.emit('error', statusOf(failure));
      // The status waits behind what was written before, and for a peer that does not read that is for ever.
      later(call, lingerMs, reset);
    },
  };
}

/** Unless the call is over by then. */
function later(call: Call, delayMs: number, action: () => void): void {
  const timer = setTimeout(action, delayMs);
  timer.unref();
  call.once('close', () => clearTimeout(timer));
}

function identity(frame: Buffer): Buffer {
  return frame;
}
