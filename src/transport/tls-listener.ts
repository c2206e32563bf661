import { constants, type X509Certificate } from 'node:crypto';
import { performServerHandshake } from 'node:http2';
import type { AddressInfo, Socket } from 'node:net';
import { createServer, type SecureContextOptions, type Server, type TLSSocket, type TlsOptions } from 'node:tls';
import type { CertificateSource, Certificates } from '../security/identity.ts';
import type { Address } from '../topology/plan.ts';
import type { Failure } from '../wire/reasons.ts';
import { connectFailure, refusalHeaders } from './grpc-status.ts';
import { destroyWhenLost } from './lost-sockets.ts';

export interface TlsListenerOptions {
  readonly address: Address;
  readonly certs: CertificateSource;
  /** Decides about a certificate whose signature and validity have been verified. */
  readonly admit: (certificate: X509Certificate) => Failure | undefined;
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
  readonly #unsubscribe: () => void;
  #refusals = 0;
  #boundAddress: Address;

  private constructor(options: TlsListenerOptions) {
    this.#options = options;
    this.#boundAddress = options.address;
    this.#server = createServer({ ...serverOptions, ...contextOptions(options.certs.current) });
    this.#server.prependListener('connection', (socket) => {
      this.#sockets.add(socket);
      socket.once('close', () => this.#sockets.delete(socket));
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
  get address(): Address {
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

  #listen(): Promise<void> {
    const { host, port } = this.#options.address;
    return new Promise((resolve, reject) => {
      this.#server.once('error', (error) => {
        this.#unsubscribe();
        reject(error);
      });
      this.#server.listen({ host, port }, () => {
        this.#boundAddress = { host, port: (this.#server.address() as AddressInfo).port };
        this.#server.removeAllListeners('error');
        // Errors of accepting, such as too many open files: the connection is lost, listening goes on.
        this.#server.on('error', (error) => this.#options.onRefused(connectFailure(error.message), 'unknown'));
        resolve();
      });
    });
  }

  #connected(socket: TLSSocket): void {
    socket.on('error', () => {
      // Closes the socket; gRPC and the refusal below notice that.
    });
    if (socket.alpnProtocol !== 'h2') {
      socket.destroy();
      return;
    }
    destroyWhenLost(socket);
    const failure = this.#verdict(socket);
    if (failure === undefined) this.#options.onAdmitted(socket);
    else this.#refuse(socket, failure);
  }

  #verdict(socket: TLSSocket): Failure | undefined {
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

function remoteOf(socket: TLSSocket): string {
  return `${socket.remoteAddress ?? 'unknown'}:${socket.remotePort ?? 0}`;
}
