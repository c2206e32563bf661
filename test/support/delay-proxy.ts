import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';

export interface DelayProxyOptions {
  /** Added to each direction: half of the round trip. Default 0. */
  readonly delayMs?: number;
}

/** A TCP line between two ends on this machine that is as long as one wants, and can be cut or frozen. */
export class DelayProxy {
  readonly #target: { readonly host: string; readonly port: number };
  readonly #delayMs: number;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  readonly #swallowed = new Set<Socket>();
  readonly #directions = new Set<Direction>();
  #connections = 0;
  #newcomers: 'taken' | 'swallowed' | 'reset' = 'taken';

  private constructor(target: { readonly host: string; readonly port: number }, options: DelayProxyOptions) {
    this.#target = target;
    this.#delayMs = options.delayMs ?? 0;
    this.#server = createServer((socket) => this.#accept(socket));
  }

  static async start(
    target: { readonly host: string; readonly port: number },
    options: DelayProxyOptions = {},
  ): Promise<DelayProxy> {
    const proxy = new DelayProxy(target, options);
    await new Promise<void>((resolve) => proxy.#server.listen(0, '127.0.0.1', resolve));
    return proxy;
  }

  get address(): { readonly host: string; readonly port: number } {
    return { host: '127.0.0.1', port: (this.#server.address() as AddressInfo).port };
  }

  /** Connections accepted so far. */
  get connections(): number {
    return this.#connections;
  }

  /** Bytes that are under way to the target just now. */
  get bytesToTarget(): number {
    return this.#sum((direction) => (direction.toTarget ? direction.waitingBytes : 0));
  }

  /** Pieces that were sent to the target so far; pings are pieces, too. */
  get piecesToTarget(): number {
    return this.#sum((direction) => (direction.toTarget ? direction.pieces : 0));
  }

  /** The most bytes that ever were under way to the target at once. */
  get peakBytesToTarget(): number {
    return this.#sum((direction) => (direction.toTarget ? direction.peakBytes : 0));
  }

  /** Nothing arrives any more at either end of the connections there are; nobody is told. What is sent is kept. */
  freeze(direction: 'both' | 'to-target' | 'from-target' = 'both'): void {
    for (const one of this.#directions)
      if (direction === 'both' || (direction === 'to-target') === one.toTarget) one.setFrozen(true);
  }

  thaw(): void {
    for (const direction of this.#directions) direction.setFrozen(false);
  }

  /** Accepts connections and never answers, as behind a firewall that drops packets. */
  swallowNew(): void {
    this.#newcomers = 'swallowed';
  }

  /** Resets every connection. */
  cut(): void {
    for (const socket of this.#sockets) socket.resetAndDestroy();
  }

  /** Resets every connection, and each new one until `restore`. */
  cutOff(): void {
    this.#newcomers = 'reset';
    this.cut();
  }

  /** Takes new connections again; what was swallowed is reset. */
  restore(): void {
    if (this.#newcomers === 'swallowed') for (const socket of this.#swallowed) socket.resetAndDestroy();
    this.#swallowed.clear();
    this.#newcomers = 'taken';
  }

  async stop(): Promise<void> {
    this.cut();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #accept(near: Socket): void {
    this.#connections += 1;
    this.#track(near);
    if (this.#newcomers === 'reset') {
      near.resetAndDestroy();
      return;
    }
    if (this.#newcomers === 'swallowed') {
      this.#swallowed.add(near);
      return;
    }
    const far = connect(this.#target);
    this.#track(far);
    this.#directions.add(new Direction(near, far, true, this.#delayMs));
    this.#directions.add(new Direction(far, near, false, this.#delayMs));
  }

  #track(socket: Socket): void {
    socket.setNoDelay();
    this.#sockets.add(socket);
    socket.on('error', () => {
      // The end that broke says so to its owner; here both are closed.
    });
    socket.once('close', () => this.#sockets.delete(socket));
  }

  #sum(of: (direction: Direction) => number): number {
    return [...this.#directions].reduce((total, direction) => total + of(direction), 0);
  }
}

interface Parcel {
  readonly dueMs: number;
  /** Undefined: the sender has ended its direction. */
  readonly chunk: Buffer | undefined;
}

class Direction {
  readonly toTarget: boolean;
  waitingBytes = 0;
  peakBytes = 0;
  pieces = 0;
  readonly #to: Socket;
  readonly #delayMs: number;
  #frozen = false;
  #parcels: Parcel[] = [];

  constructor(from: Socket, to: Socket, toTarget: boolean, delayMs: number) {
    this.toTarget = toTarget;
    this.#to = to;
    this.#delayMs = delayMs;
    from.on('data', (chunk) => this.#post(chunk));
    from.on('end', () => this.#post(undefined));
    from.once('close', (failed) => {
      if (failed) to.destroy();
    });
  }

  setFrozen(frozen: boolean): void {
    this.#frozen = frozen;
    this.#forward();
  }

  #forward(): void {
    const nowMs = performance.now();
    while (!this.#frozen && this.#parcels[0] !== undefined && this.#parcels[0].dueMs <= nowMs) {
      const { chunk } = this.#parcels.shift()!;
      if (chunk === undefined) {
        this.#to.end();
        return;
      }
      this.waitingBytes -= chunk.length;
      this.#to.write(chunk);
    }
  }

  #post(chunk: Buffer | undefined): void {
    this.#parcels.push({ dueMs: performance.now() + this.#delayMs, chunk });
    this.waitingBytes += chunk?.length ?? 0;
    this.pieces += 1;
    this.peakBytes = Math.max(this.peakBytes, this.waitingBytes);
    if (this.#delayMs === 0) this.#forward();
    // A timer may fire a little early; the next one, or the second try, takes what is left.
    else setTimeout(() => this.#forward(), this.#delayMs + 1);
  }
}
