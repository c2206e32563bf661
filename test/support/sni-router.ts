import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import type { Address } from '../../src/topology/plan.ts';
import { join } from './http-proxy.ts';

/** Passes TLS on, unopened, to whoever belongs to the server name in the ClientHello. */
export class SniRouter {
  /** Names that were asked for. */
  readonly asked: (string | undefined)[] = [];
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();

  private constructor(routes: ReadonlyMap<string, Address>) {
    this.#server = createServer((near) => {
      this.#track(near);
      let read = Buffer.alloc(0);
      const look = (chunk: Buffer): void => {
        read = Buffer.concat([read, chunk]);
        if (read.length < 5 || read.length < 5 + read.readUInt16BE(3)) return;
        near.removeListener('data', look);
        near.pause();
        const name = serverName(read);
        this.asked.push(name);
        const route = routes.get(name ?? '');
        if (route === undefined) {
          near.destroy();
          return;
        }
        const far = connect({ ...route });
        this.#track(far);
        far.write(read);
        join(near, far);
      };
      near.on('data', look);
    });
  }

  static async start(routes: ReadonlyMap<string, Address>): Promise<SniRouter> {
    const router = new SniRouter(routes);
    await new Promise<void>((resolve) => router.#server.listen(0, '127.0.0.1', resolve));
    return router;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  async stop(): Promise<void> {
    const closed = new Promise((resolve) => this.#server.close(resolve));
    for (const socket of this.#sockets) socket.destroy();
    await closed;
  }

  #track(socket: Socket): void {
    this.#sockets.add(socket);
    socket.on('error', () => {
      // Closes both; the ends notice.
    });
    socket.once('close', () => this.#sockets.delete(socket));
  }
}

/** The server name in a record with a whole ClientHello (RFC 8446 4.1.2, RFC 6066 3). */
function serverName(record: Buffer): string | undefined {
  // Record header, type and length of the message, version, random.
  let at = 5 + 4 + 2 + 32;
  at += 1 + record.readUInt8(at);
  at += 2 + record.readUInt16BE(at);
  at += 1 + record.readUInt8(at);
  const end = at + 2 + record.readUInt16BE(at);
  at += 2;
  while (at + 4 <= end) {
    const [type, length] = [record.readUInt16BE(at), record.readUInt16BE(at + 2)];
    at += 4;
    if (type === 0) return record.toString('latin1', at + 5, at + 5 + record.readUInt16BE(at + 3));
    at += length;
  }
  return undefined;
}
