import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { Direction, type Shape } from './chaos-direction.ts';

export interface ChaosOptions extends Partial<Shape> {
  /** From 0 to 1, for the jitter. Default: another one each time. */
  readonly random?: () => number;
}

/** Directions, as the connections go that are made over the proxy. */
export type Way = 'both' | 'to-target' | 'from-target';

interface Connection {
  readonly near: Socket;
  readonly far: Socket;
}

/** A TCP line between two ends on this machine that is as long, slow and broken as one wants. */
export class ChaosProxy {
  readonly #target: { readonly host: string; readonly port: number };
  readonly #random: () => number;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  readonly #swallowed = new Set<Socket>();
  readonly #open = new Map<Connection, readonly Direction[]>();
  readonly #directions = new Set<Direction>();
  #shape: Shape;
  #connections = 0;
  #newcomers: 'taken' | 'swallowed' | 'reset' = 'taken';
  /** Bytes that still pass in a direction before everything is cut. */
  readonly #fuses = new Map<boolean, number>();

  private constructor(target: { readonly host: string; readonly port: number }, options: ChaosOptions) {
    const { delayMs = 0, jitterMs = 0, bytesPerSecond = Number.POSITIVE_INFINITY } = options;
    this.#target = target;
    this.#shape = { delayMs, jitterMs, bytesPerSecond };
    this.#random = options.random ?? Math.random;
    this.#server = createServer((socket) => this.#accept(socket));
  }

  static async start(
    target: { readonly host: string; readonly port: number },
    options: ChaosOptions = {},
  ): Promise<ChaosProxy> {
    const proxy = new ChaosProxy(target, options);
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

  /** Bytes that have reached an end so far. */
  passed(way: Way = 'both'): number {
    return this.#sum(way, ({ passedBytes }) => passedBytes);
  }

  /** Bytes that are under way to the target just now. */
  get bytesToTarget(): number {
    return this.#sum('to-target', ({ waitingBytes }) => waitingBytes);
  }

  /** Pieces that were sent to the target so far; pings are pieces, too. */
  get piecesToTarget(): number {
    return this.#sum('to-target', ({ pieces }) => pieces);
  }

  /** The most bytes that ever were under way to the target at once. */
  get peakBytesToTarget(): number {
    return this.#sum('to-target', ({ peakBytes }) => peakBytes);
  }

  /** Makes the line another one from here on, for connections that there are and for new ones. */
  shape(change: Partial<Shape>): void {
    this.#shape = { ...this.#shape, ...change };
    for (const direction of this.#directions) direction.shape(this.#shape);
  }

  /** Nothing arrives any more at either end of the connections there are; nobody is told. What is sent is kept. */
  freeze(way: Way = 'both'): void {
    for (const direction of this.#along(way)) direction.setFrozen(true);
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

  /** Resets every connection when so many more bytes have passed in a direction, in the middle of whatever that is. Once. */
  cutAfter(bytes: number, way: Exclude<Way, 'both'>): void {
    this.#fuses.set(way === 'to-target', bytes);
  }

  /** One end of every connection is gone, as after a loss of power, and the other is not told: what it sends is lost. */
  halfOpen(gone: 'dialler' | 'target'): void {
    for (const [{ near, far }, directions] of this.#open) {
      for (const direction of directions) direction.mute();
      (gone === 'dialler' ? near : far).resetAndDestroy();
    }
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
    const connection = { near, far };
    const directions = [this.#direction(near, far, true), this.#direction(far, near, false)];
    this.#open.set(connection, directions);
    near.once('close', () => this.#open.delete(connection));
  }

  #direction(from: Socket, to: Socket, toTarget: boolean): Direction {
    const direction = new Direction({
      from,
      to,
      toTarget,
      shape: this.#shape,
      random: this.#random,
      cutIn: (bytes) => this.#burn(toTarget, bytes),
      cut: () => this.cut(),
    });
    this.#directions.add(direction);
    return direction;
  }

  /** How many of these bytes may pass, where a cut follows; undefined: all of them, and none does. */
  #burn(toTarget: boolean, bytes: number): number | undefined {
    const left = this.#fuses.get(toTarget);
    if (left === undefined) return undefined;
    if (bytes < left) {
      this.#fuses.set(toTarget, left - bytes);
      return undefined;
    }
    this.#fuses.delete(toTarget);
    return left;
  }

  #track(socket: Socket): void {
    socket.setNoDelay();
    this.#sockets.add(socket);
    socket.on('error', () => {
      // The end that broke says so to its owner; here both are closed.
    });
    socket.once('close', () => this.#sockets.delete(socket));
  }

  #along(way: Way): Direction[] {
    return [...this.#directions].filter(({ toTarget }) => way === 'both' || (way === 'to-target') === toTarget);
  }

  #sum(way: Way, of: (direction: Direction) => number): number {
    return this.#along(way).reduce((total, direction) => total + of(direction), 0);
  }
}
