import { createServer, type IncomingMessage } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import { type AddressInfo, connect, type Server, type Socket } from 'node:net';
import { connect as connectTls, createServer as createTlsTerminator } from 'node:tls';
import type { Address } from '../../src/topology/plan.ts';

/** What stands between a daemon and its peer in the networks of companies. */
export interface HttpProxyOptions {
  /** `name:password` that it demands (407 without), by Basic authentication. */
  readonly login?: string;
  /** Scheme that it demands instead. */
  readonly scheme?: string;
  /** Answers every request so: a whole answer, or nothing at all. */
  readonly answer?: string;
  /** Where what is asked for really is: names of a test do not resolve. Default: where it was asked for. */
  readonly leadTo?: Address;
  /** Opens TLS and closes it again behind it, showing this certificate. */
  readonly terminate?: { readonly key: Buffer; readonly cert: Buffer };
  /** Is itself reached over TLS. */
  readonly tls?: { readonly key: Buffer; readonly cert: Buffer };
}

/** A proxy that knows HTTP CONNECT. */
export class HttpProxy {
  /** What it was asked for, as `host:port`. */
  readonly asked: string[] = [];
  readonly #options: HttpProxyOptions;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();

  private constructor(options: HttpProxyOptions) {
    this.#options = options;
    this.#server = options.tls === undefined ? createServer() : createTlsServer(options.tls);
    this.#server.on('connection', (socket: Socket) => this.#track(socket));
    this.#server.on('connect', (request: IncomingMessage, socket: Socket) => this.#asked(request, socket));
  }

  static async start(options: HttpProxyOptions = {}, host = '127.0.0.1'): Promise<HttpProxy> {
    const proxy = new HttpProxy(options);
    await new Promise<void>((resolve) => proxy.#server.listen(0, host, resolve));
    return proxy;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  get url(): string {
    return `${this.#options.tls === undefined ? 'http' : 'https'}://127.0.0.1:${this.port}`;
  }

  /** Connections that stand. */
  get open(): number {
    return this.#sockets.size;
  }

  /** Resets every connection. */
  cut(): void {
    for (const socket of this.#sockets) socket.resetAndDestroy();
  }

  async stop(): Promise<void> {
    const closed = new Promise((resolve) => this.#server.close(resolve));
    for (const socket of this.#sockets) socket.destroy();
    await closed;
  }

  #asked({ url = '', headers }: IncomingMessage, socket: Socket): void {
    this.asked.push(url);
    const { answer, login, scheme } = this.#options;
    if (answer !== undefined) {
      // Read, or its end is never seen.
      socket.resume().once('end', () => socket.destroy());
      if (answer !== '') socket.end(answer);
      return;
    }
    const given = `Basic ${Buffer.from(login ?? '').toString('base64')}`;
    if (scheme !== undefined || (login !== undefined && headers['proxy-authorization'] !== given)) {
      const demanded = scheme ?? 'Basic realm="test"';
      socket.end(`HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: ${demanded}\r\n\r\n`);
      return;
    }
    this.#lead(socket, this.#options.leadTo ?? addressIn(url));
  }

  #lead(near: Socket, { host, port }: Address): void {
    const far = connect({ host, port });
    this.#track(far);
    far.once('error', () => near.end('HTTP/1.1 502 Bad Gateway\r\n\r\n'));
    far.once('connect', () => {
      near.write('HTTP/1.1 200 Connection established\r\n\r\n');
      const { terminate } = this.#options;
      if (terminate === undefined) join(near, far);
      else this.#terminate(near, far, terminate);
    });
  }

  /** Two sessions of TLS, and in between everything lies open. */
  #terminate(near: Socket, far: Socket, shown: { readonly key: Buffer; readonly cert: Buffer }): void {
    const terminator = createTlsTerminator({ ...shown, ALPNProtocols: ['h2'] }, (opened) => {
      this.#track(opened);
      const behind = connectTls({ socket: far, rejectUnauthorized: false, ALPNProtocols: ['h2'] });
      this.#track(behind);
      join(opened, behind);
    });
    terminator.on('tlsClientError', () => near.destroy());
    terminator.emit('connection', near);
  }

  #track(socket: Socket): void {
    this.#sockets.add(socket);
    socket.on('error', () => {
      // Closes both; the ends notice.
    });
    socket.once('close', () => this.#sockets.delete(socket));
  }
}

function addressIn(authority: string): Address {
  const at = authority.lastIndexOf(':');
  return { host: authority.slice(0, at).replace(/^\[(.*)\]$/, '$1'), port: Number(authority.slice(at + 1)) };
}

/** Everything that comes from one goes to the other; both end together. */
export function join(near: Socket, far: Socket): void {
  near.pipe(far);
  far.pipe(near);
  near.once('close', () => far.destroy());
  far.once('close', () => near.destroy());
}
