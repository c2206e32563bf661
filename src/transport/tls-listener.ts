import { constants, type X509Certificate } from 'node:crypto';
import { rmSync } from 'node:fs';
import { performServerHandshake } from 'node:http2';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { createServer, type SecureContextOptions, type Server, type TLSSocket, type TlsOptions } from 'node:tls';
import type { CertificateSource, Certificates } from '../security/identity.ts';
import { endpointText } from '../topology/endpoint.ts';
import type { Endpoint } from '../topology/plan.ts';
import type { Failure } from '../wire/reasons.ts';
import type { PeerIdentity } from './channel.ts';
import { connectFailure, refusalHeaders } from './grpc-status.ts';
import { destroyWhenLost } from './lost-sockets.ts';

export interface TlsListenerOptions {
  readonly address: Endpoint;
  readonly certs: CertificateSource;
  /** Decides about a certificate whose signature and validity have been verified. */
  readonly admit: (certificate: X509Certificate) => PeerIdentity | Failure;
  /** Handshakes under way at once; one more, and the oldest is given up. Default 256. */
  readonly maxHandshakes?: number;
  /** Connections of one cluster at once; one more, and its oldest is cut. Default 16. */
  readonly maxPerPeer?: number;
  readonly onAdmitted: (socket: TLSSocket) => void;
  /** `remote` is the address of the other end, as text. */
  readonly onRefused: (failure: Failure, remote: string) => void;
}

/** Longest time that a refused connection is kept, to be told why. */
const refusalMs = 3000;
const maxRefusals = 64;

/**
 * The TLS side of a listener. Ours rather than gRPC's for three reasons: only proven peers come near gRPC; a refused peer is told a
 * named reason, where Node would close the connection without a word; and gRPC's forceShutdown leaves connections open when channelz
 * is off (1.14.7).
 */
export class TlsListener {
  readonly #options: TlsListenerOptions;
  readonly #server: Server;
  /** Of all connections, those with a handshake under way included. */
  readonly #sockets = new Set<Socket>();
  /** Connections whose handshake is under way, by who is at the other end, the oldest first. Unix sockets have no such name. */
  readonly #handshakes = new Map<string, Socket>();
  /** Admitted connections by cluster, the oldest first. */
  readonly #perPeer = new Map<string, Set<TLSSocket>>();
  readonly #unsubscribe: () => void;
  #refusals = 0;
  #boundAddress: Endpoint;

  private constructor(options: TlsListenerOptions) {
    this.#options = options;
    this.#boundAddress = options.address;
    this.#server = createServer({ ...serverOptions, ...contextOptions(options.certs.current) });
    this.#server.prependListener('connection', (socket) => {
      this.#sockets.add(socket);
      socket.once('close', () => this.#sockets.delete(socket));
      this.#handshaking(socket);
      // Before there is a certificate a handshake can only fail.
      if (options.certs.current === undefined) socket.destroy();
    });
    this.#server.on('secureConnection', (socket) => this.#connected(socket));
    this.#server.on('tlsClientError', (error: NodeJS.ErrnoException, socket) => {
      // Somebody only looked whether the port is open, as probes do.
      if (error.code === 'ECONNRESET') return;
      options.onRefused(connectFailure(error.message), remoteOf(socket));
    });
    this.#unsubscribe = options.certs.subscribe((current) => this.#server.setSecureContext(contextOptions(current)));
  }

  /** Binds the address. Rejects with the system's error. */
  static async start(options: TlsListenerOptions): Promise<TlsListener> {
    const listener = new TlsListener(options);
    await listener.#listen();
    return listener;
  }

  /** The bound address, with the real port. */
  get address(): Endpoint {
    return this.#boundAddress;
  }

  /** Takes no more connections. */
  close(): void {
    this.#unsubscribe();
    this.#server.close();
  }

  /** Cuts every connection. Resolves when all are closed. Call `close` first. */
  async destroy(): Promise<void> {
    const closed = [...this.#sockets].map((socket) => new Promise((resolve) => socket.once('close', resolve)));
    for (const socket of this.#sockets) socket.destroy();
    await Promise.all(closed);
  }

  async #listen(): Promise<void> {
    const { address } = this.#options;
    try {
      await this.#bind();
    } catch (error) {
      const taken = (error as NodeJS.ErrnoException).code === 'EADDRINUSE';
      // The file of a socket outlives a process that was killed.
      if (!('path' in address) || !taken || (await isAnswered(address.path))) {
        this.#unsubscribe();
        throw error;
      }
      rmSync(address.path);
      await this.#bind();
    }
    // Errors of accepting, such as too many open files: the connection is lost, listening goes on.
    this.#server.on('error', (error) => this.#options.onRefused(connectFailure(error.message), nobody));
  }

  #bind(): Promise<void> {
    const { address } = this.#options;
    return new Promise((resolve, reject) => {
      this.#server.once('error', reject);
      this.#server.listen(address, () => {
        this.#server.removeListener('error', reject);
        if (!('path' in address)) {
          this.#boundAddress = { host: address.host, port: (this.#server.address() as AddressInfo).port };
        }
        resolve();
      });
    });
  }

  /** Whoever does not finish handshakes must not fill the memory, nor keep others out: the one that took longest goes. */
  #handshaking(socket: Socket): void {
    const remote = remoteOf(socket);
    if (remote === nobody) return;
    this.#handshakes.set(remote, socket);
    socket.once('close', () => this.#handshakes.delete(remote));
    const { maxHandshakes = 256, onRefused } = this.#options;
    const [oldest] = this.#handshakes;
    if (this.#handshakes.size <= maxHandshakes || oldest === undefined) return;
    this.#handshakes.delete(oldest[0]);
    const detail = `more than ${maxHandshakes} TLS handshakes are under way: the oldest was given up`;
    onRefused({ reason: 'overloaded', detail }, oldest[0]);
    oldest[1].destroy();
  }

  #connected(socket: TLSSocket): void {
    this.#handshakes.delete(remoteOf(socket));
    socket.on('error', () => {
      // Closes the socket; gRPC and the refusal below notice that.
    });
    if (socket.alpnProtocol !== 'h2') {
      socket.destroy();
      return;
    }
    destroyWhenLost(socket);
    const peer = this.#verdict(socket);
    if ('reason' in peer) {
      this.#refuse(socket, peer);
      return;
    }
    this.#count(socket, peer.cluster);
    this.#options.onAdmitted(socket);
  }

  /**
   * One cluster has a connection, or two for a moment, and those that died unseen. The oldest makes room, since a peer that comes back
   * must never be kept out by what it left behind.
   */
  #count(socket: TLSSocket, cluster: string): void {
    const sockets = this.#perPeer.get(cluster) ?? new Set();
    this.#perPeer.set(cluster, sockets);
    sockets.add(socket);
    socket.once('close', () => {
      sockets.delete(socket);
      if (sockets.size === 0 && this.#perPeer.get(cluster) === sockets) this.#perPeer.delete(cluster);
    });
    const { maxPerPeer = 16, onRefused } = this.#options;
    const [oldest] = sockets;
    if (sockets.size <= maxPerPeer || oldest === undefined) return;
    sockets.delete(oldest);
    const detail = `${cluster} has more than ${maxPerPeer} connections here: its oldest was cut`;
    onRefused({ reason: 'overloaded', detail }, remoteOf(oldest));
    oldest.destroy();
  }

  #verdict(socket: TLSSocket): PeerIdentity | Failure {
    const certificate = socket.getPeerX509Certificate();
    if (certificate === undefined) {
      return { reason: 'certificate-missing', detail: 'the listener demands a client certificate and got none' };
    }
    if (!socket.authorized) {
      const code = String(socket.authorizationError);
      const expired = code === 'CERT_HAS_EXPIRED' || code === 'CERT_NOT_YET_VALID';
      const detail = `the listener refuses the certificate of the dialer: ${code}`;
      return { reason: expired ? 'certificate-expired' : 'certificate-untrusted', detail };
    }
    return this.#options.admit(certificate);
  }

  /** Answers the first calls of a connection with the reason, without gRPC, and closes it. */
  #refuse(socket: TLSSocket, failure: Failure): void {
    this.#options.onRefused(failure, remoteOf(socket));
    if (this.#refusals >= maxRefusals) {
      socket.destroy();
      return;
    }
    this.#refusals += 1;
    const session = performServerHandshake(socket, { settings: { maxConcurrentStreams: 16 } });
    const timer = setTimeout(() => session.destroy(), refusalMs);
    timer.unref();
    session.on('stream', (stream) => {
      stream.on('error', () => {
        // The dialer has gone before it heard.
      });
      stream.respond(refusalHeaders(failure), { endStream: true });
    });
    session.on('error', () => {
      // As above; closed below.
    });
    session.once('close', () => {
      clearTimeout(timer);
      this.#refusals -= 1;
      socket.destroy();
    });
  }
}

/**
 * A certificate is demanded, and judged by us after the handshake. Without tickets there is no resumed session, whose certificate
 * nobody would look at again.
 */
const serverOptions: TlsOptions = {
  requestCert: true,
  rejectUnauthorized: false,
  ALPNProtocols: ['h2'],
  handshakeTimeout: 10_000,
  noDelay: true,
};

function contextOptions(current: Certificates | undefined): SecureContextOptions {
  const fixed: SecureContextOptions = { minVersion: 'TLSv1.3', secureOptions: constants.SSL_OP_NO_TICKET };
  if (current === undefined) return fixed;
  const { cert, key, ca } = current;
  return { ...fixed, cert, key, ca };
}

/** True if somebody listens on a unix socket. */
function isAnswered(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = connect(path);
    probe.once('connect', () => {
      probe.destroy();
      resolve(true);
    });
    probe.once('error', (error: NodeJS.ErrnoException) => resolve(error.code !== 'ECONNREFUSED'));
  });
}

/** The remote address where there is none: of unix sockets, and of connections that are gone. */
const nobody = 'unknown';

function remoteOf(socket: Socket): string {
  if (socket.remoteAddress === undefined) return nobody;
  return endpointText({ host: socket.remoteAddress, port: socket.remotePort ?? 0 });
}
