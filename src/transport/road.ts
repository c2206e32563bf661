import { X509Certificate } from 'node:crypto';
import { isIP, type Socket } from 'node:net';
import { connect, createSecureContext, type SecureContext, type TLSSocket } from 'node:tls';
import { type ChannelCredentials, credentials } from '@grpc/grpc-js';
import type { Certificates } from '../security/identity.ts';
import { endpointText } from '../topology/endpoint.ts';
import type { Endpoint } from '../topology/plan.ts';
import { type Failure, FailureError, failureFrom } from '../wire/reasons.ts';
import type { PeerIdentity } from './channel.ts';
import { connectFailure, noTls } from './grpc-status.ts';
import { destroyWhenLost } from './lost-sockets.ts';
import type { ProxyHop } from './proxy.ts';
import { openTunnel } from './tunnel.ts';

export interface RoadOptions {
  readonly endpoint: Endpoint;
  readonly proxy: ProxyHop | undefined;
  readonly certificates: Certificates;
  /** Cluster that is expected there: the server name where the endpoint has none. */
  readonly cluster: string;
  /** Judges a certificate whose signature and validity have been verified. */
  readonly verify: (certificate: X509Certificate) => PeerIdentity | Failure;
}

/** How long sockets may take to say goodbye before they are destroyed. */
const lingerMs = 1000;

/**
 * The way from here to one address: perhaps through a proxy, then TLS with whoever is there. gRPC makes the TCP connections, ours is
 * what follows on them; its own proxy support takes one for the whole process out of the environment, and is switched off.
 */
export class Road {
  /** What gRPC shall connect to: the address, or the proxy in front of it. */
  readonly next: Endpoint;
  /** The same, as gRPC writes it. */
  readonly target: string;
  readonly credentials: ChannelCredentials;
  /** Name sent in TLS (SNI) and as the HTTP/2 authority: the host that was dialled, or the cluster where that is no name. */
  readonly serverName: string;
  readonly #options: RoadOptions;
  readonly #context: SecureContext;
  /** Sockets on which there is no connection yet, and those that gRPC was given. */
  readonly #opening = new Set<Socket>();
  readonly #given = new Set<Socket>();
  #failure: Failure | undefined;
  #closed = false;
  #isReached = false;
  #stage: 'to the proxy' | 'asking the proxy' | 'through' = 'through';

  /** Throws if the certificates cannot be used. */
  constructor(options: RoadOptions) {
    const { endpoint, proxy, certificates, cluster } = options;
    const { cert, key, ca } = certificates;
    this.#options = options;
    this.#context = createSecureContext({ cert, key, ca, minVersion: 'TLSv1.3' });
    // RFC 6066 has no addresses as server names, and Node warns about them.
    this.serverName = 'path' in endpoint || isIP(endpoint.host) !== 0 ? cluster : endpoint.host;
    this.next = proxy?.address ?? endpoint;
    this.target = 'path' in this.next ? `unix:${this.next.path}` : `dns:${endpointText(this.next)}`;
    if (proxy !== undefined) this.#stage = 'to the proxy';
    this.credentials = this.#connecting(credentials.createFromSecureContext(this.#context));
  }

  /** Why the last attempt found nobody it could trust, as far as the road knows better than gRPC. */
  get failure(): Failure | undefined {
    return this.#failure;
  }

  /** Somebody has answered there: a TCP connection was made. */
  get isReached(): boolean {
    return this.#isReached;
  }

  /** What the last attempt was waiting for. */
  get waitingFor(): string {
    if (this.#stage === 'to the proxy') return 'the proxy cannot be reached';
    return this.#stage === 'asking the proxy' ? 'the proxy does not answer' : 'no answer';
  }

  /** The address, and how it was approached. */
  get text(): string {
    const { endpoint, proxy } = this.#options;
    const through = proxy === undefined ? '' : ` through the proxy ${endpointText(proxy.address)}`;
    return `${endpointText(endpoint)}${through}`;
  }

  /** No more connections. Those that stand are closed by gRPC; what it forgets is destroyed after a while. */
  close(): void {
    this.#closed = true;
    for (const socket of this.#opening) socket.destroy();
    if (this.#given.size === 0) return;
    setTimeout(() => {
      for (const socket of this.#given) socket.destroy();
    }, lingerMs).unref();
  }

  /** Credentials whose connections are made by this road. gRPC has no other place for that. */
  #connecting(made: ChannelCredentials): ChannelCredentials {
    const createConnector = made._createSecureConnector.bind(made);
    made._createSecureConnector = (...args) => {
      const connector = createConnector(...args);
      connector.connect = async (raw) => ({ socket: await this.#connect(raw), secure: true });
      return connector;
    };
    return made;
  }

  async #connect(raw: Socket): Promise<TLSSocket> {
    this.#isReached = true;
    this.#hold(this.#opening, raw);
    raw.on('error', () => {
      // Shows at what runs over it; here only so that it always has a listener.
    });
    try {
      if (this.#closed) throw new FailureError('draining', 'the connection is not wanted any more');
      const { proxy, endpoint } = this.#options;
      let line = raw;
      if (proxy !== undefined && !('path' in endpoint)) {
        this.#stage = 'asking the proxy';
        line = await openTunnel(raw, proxy, endpoint);
        this.#stage = 'through';
      }
      const socket = await this.#secure(line);
      this.#opening.delete(raw);
      this.#hold(this.#given, socket);
      destroyWhenLost(socket);
      return socket;
    } catch (thrown) {
      // A connection that was given up says nothing about the road.
      if (!this.#closed) this.#failure = failureFrom(thrown);
      raw.destroy();
      throw thrown;
    }
  }

  #hold(set: Set<Socket>, socket: Socket): void {
    set.add(socket);
    socket.once('close', () => set.delete(socket));
  }

  #secure(line: Socket): Promise<TLSSocket> {
    return new Promise((resolve, reject) => {
      // The name we dialled proves nothing and is not looked at, and what is wrong with a certificate can be said better than by a
      // broken handshake: it is judged here.
      const options = { servername: this.serverName, ALPNProtocols: ['h2'], rejectUnauthorized: false };
      const checkServerIdentity = (): undefined => undefined;
      const socket = connect({ ...options, socket: line, secureContext: this.#context, checkServerIdentity }, () => {
        const failure = this.#verdict(socket);
        if (failure === undefined) resolve(socket);
        else reject(new FailureError(failure.reason, failure.detail));
      });
      socket.on('error', (error) => {
        const { reason, detail } = connectFailure(error.message);
        const other = `what answers at ${this.text} does not speak TLS; is it the peer's "listen" port?`;
        reject(new FailureError(reason, detail === noTls ? other : detail, { cause: error }));
      });
    });
  }

  #verdict(socket: TLSSocket): Failure | undefined {
    // Not getPeerX509Certificate: at a client, Node 20 takes the certificate out of the chain by that, and gRPC finds none.
    const { raw } = socket.getPeerCertificate();
    if (raw === undefined) return { reason: 'certificate-missing', detail: 'the peer shows no certificate' };
    const certificate = new X509Certificate(raw);
    if (!socket.authorized) return this.#distrusted(certificate, String(socket.authorizationError));
    const verdict = this.#options.verify(certificate);
    return 'reason' in verdict ? verdict : undefined;
  }

  /**
   * A certificate that is none of our authority's. If it names no cluster, whoever shows it is no daemon: TLS was opened on the way, or
   * something else listens there. If it does, the peer may have another authority; but behind a proxy of ours we must assume the
   * proxy, since those that open TLS copy the names of what they found behind them.
   */
  #distrusted(certificate: X509Certificate, code: string): Failure {
    if (code === 'CERT_HAS_EXPIRED' || code === 'CERT_NOT_YET_VALID') {
      return { reason: 'certificate-expired', detail: `the certificate of the peer is outside its validity: ${code}` };
    }
    const issuer = nameIn(certificate.issuer);
    const signed = `a certificate signed by ${issuer}, which is no authority of ours (${code})`;
    if (!/URI:"?spiffe:/i.test(certificate.subjectAltName ?? '')) {
      const by =
        this.#options.proxy === undefined
          ? 'something on the way opens TLS, or this is not a Causeway daemon'
          : 'the proxy opens TLS, or something behind it does';
      return {
        reason: 'identity-lost',
        detail: `${nameIn(certificate.subject)} shows ${signed}, and names no cluster: ${by}`,
      };
    }
    if (this.#options.proxy === undefined)
      return { reason: 'certificate-untrusted', detail: `the peer shows ${signed}` };
    const unless = `the proxy opens TLS, unless ${issuer} is the authority of the peer`;
    return { reason: 'identity-lost', detail: `what answers shows ${signed}: ${unless}` };
  }
}

/** A subject or issuer in one line. */
function nameIn(distinguished: string | undefined): string {
  return JSON.stringify((distinguished ?? '').replaceAll('\n', ', ').slice(0, 150));
}
