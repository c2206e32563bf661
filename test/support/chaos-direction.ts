import type { Socket } from 'node:net';

/** What a line is like, in each direction. */
export interface Shape {
  /** Half of the round trip. */
  readonly delayMs: number;
  /** Up to so much more for each piece. Order is kept, so a late one holds up those behind it. */
  readonly jitterMs: number;
  /** Infinity: no limit. */
  readonly bytesPerSecond: number;
}

/** A slow line takes in so much and then reads no more, so that its sender is held back. */
const bufferBytes = 16 * 1024;
/** What passes at once over a slow line: a packet, or what it takes in so many ms if that is more. */
const packetBytes = 1400;
const packetMs = 5;

interface Parcel {
  readonly dueMs: number;
  /** Undefined: the sender has ended its direction. */
  readonly chunk: Buffer | undefined;
}

/** One direction of a connection: first through the bottleneck, piece by piece, then along the line. */
export class Direction {
  readonly toTarget: boolean;
  waitingBytes = 0;
  peakBytes = 0;
  passedBytes = 0;
  pieces = 0;
  readonly #from: Socket;
  readonly #to: Socket;
  readonly #random: () => number;
  readonly #cutIn: (bytes: number) => number | undefined;
  readonly #cut: () => void;
  #shape: Shape;
  #frozen = false;
  #muted = false;
  /** Before the bottleneck. */
  #queue: (Buffer | undefined)[] = [];
  #queuedBytes = 0;
  #squeezing = false;
  /** Behind it. */
  #parcels: Parcel[] = [];
  #lastDueMs = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(options: {
    readonly from: Socket;
    readonly to: Socket;
    readonly toTarget: boolean;
    readonly shape: Shape;
    readonly random: () => number;
    /** After how many of the next bytes, which are so many, `cut` shall be called. */
    readonly cutIn: (bytes: number) => number | undefined;
    readonly cut: () => void;
  }) {
    const { from, to } = options;
    this.toTarget = options.toTarget;
    this.#from = from;
    this.#to = to;
    this.#shape = options.shape;
    this.#random = options.random;
    this.#cutIn = options.cutIn;
    this.#cut = options.cut;
    from.on('data', (chunk) => this.#take(chunk));
    from.on('end', () => this.#take(undefined));
    from.once('close', (failed) => {
      if (failed && !this.#muted) to.destroy();
    });
  }

  shape(shape: Shape): void {
    this.#shape = shape;
  }

  setFrozen(frozen: boolean): void {
    this.#frozen = frozen;
    this.#forward();
  }

  /** Nothing that is sent goes anywhere, and nobody hears of it. */
  mute(): void {
    this.#muted = true;
    this.#queue = [];
    this.#parcels = [];
    this.#queuedBytes = 0;
    this.waitingBytes = 0;
    this.#from.resume();
  }

  #take(chunk: Buffer | undefined): void {
    if (this.#muted) return;
    const bytes = chunk?.length ?? 0;
    this.#queue.push(chunk);
    this.#queuedBytes += bytes;
    this.waitingBytes += bytes;
    this.pieces += 1;
    this.peakBytes = Math.max(this.peakBytes, this.waitingBytes);
    if (!this.#squeezing) this.#squeeze();
    if (this.#queuedBytes >= bufferBytes) this.#from.pause();
  }

  /** Sends what is queued through the bottleneck. */
  #squeeze(): void {
    this.#squeezing = false;
    while (this.#queue.length > 0) {
      const { bytesPerSecond } = this.#shape;
      const piece = this.#next(Math.max(packetBytes, (bytesPerSecond * packetMs) / 1000));
      const ms = ((piece?.length ?? 0) * 1000) / bytesPerSecond;
      if (ms > 0) {
        this.#squeezing = true;
        setTimeout(() => {
          this.#leave(piece);
          this.#squeeze();
        }, ms);
        return;
      }
      this.#leave(piece);
    }
  }

  #next(maxBytes: number): Buffer | undefined {
    const chunk = this.#queue[0];
    if (chunk === undefined || chunk.length <= maxBytes) return this.#queue.shift();
    const bytes = Math.floor(maxBytes);
    this.#queue[0] = chunk.subarray(bytes);
    return chunk.subarray(0, bytes);
  }

  #leave(piece: Buffer | undefined): void {
    if (this.#muted) return;
    this.#queuedBytes -= piece?.length ?? 0;
    if (this.#queuedBytes < bufferBytes / 2) this.#from.resume();
    const { delayMs, jitterMs } = this.#shape;
    const nowMs = performance.now();
    const dueMs = Math.max(this.#lastDueMs, nowMs + delayMs + this.#random() * jitterMs);
    this.#lastDueMs = dueMs;
    this.#parcels.push({ dueMs, chunk: piece });
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
      const cutIn = this.#cutIn(chunk.length);
      const passing = cutIn === undefined ? chunk : chunk.subarray(0, cutIn);
      this.passedBytes += passing.length;
      this.#to.write(passing);
      if (cutIn !== undefined) this.#cut();
    }
    const next = this.#parcels[0];
    if (next === undefined || this.#frozen || this.#timer !== undefined) return;
    // It may fire a little early in a busy process, and is set again then.
    this.#timer = setTimeout(
      () => {
        this.#timer = undefined;
        this.#forward();
      },
      Math.max(0, next.dueMs - nowMs),
    );
  }
}
