/** What one direction of a packet line does to packets. */
export interface PacketShape {
  /** Added to every packet: half of the round trip. */
  readonly delayMs: number;
  /** Share of the packets that vanish, from 0 to 1. */
  readonly loss: number;
  /** Bits per second, headers of IP included. Absent: as fast as it goes. */
  readonly bitsPerSecond?: number;
}

/** A queue holds what its line sends in so long, as those of routers do, but never less than some packets. */
const queueMs = 250;
const leastQueueBytes = 32 * 1500;

/** Decides the fate of each packet of one direction. Pure: the time comes from outside, chance from the seed. */
export class PacketShaper {
  readonly #random: () => number;
  #shape: PacketShape;
  /** When the last bit of what waits has been sent. */
  #freeAtMs = 0;

  constructor(shape: PacketShape, seed: number) {
    this.#shape = shape;
    this.#random = xorshift(seed);
  }

  reshape(shape: PacketShape): void {
    this.#shape = shape;
  }

  /** When a packet of `bytes` arrives at the other end; undefined if it does not. */
  arrivalMs(bytes: number, nowMs: number): number | undefined {
    const { delayMs, loss, bitsPerSecond } = this.#shape;
    if (loss > 0 && this.#random() < loss) return undefined;
    if (bitsPerSecond === undefined) return nowMs + delayMs;
    const startMs = Math.max(nowMs, this.#freeAtMs);
    const waitingBytes = ((startMs - nowMs) / 8000) * bitsPerSecond;
    if (waitingBytes + bytes > Math.max(leastQueueBytes, (queueMs / 8000) * bitsPerSecond)) return undefined;
    this.#freeAtMs = startMs + (bytes * 8000) / bitsPerSecond;
    return this.#freeAtMs + delayMs;
  }
}

/** Numbers from 0 to 1, the same for the same seed. */
function xorshift(seed: number): () => number {
  let state = Math.imul(seed, 0x9e3779b1) | 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 2 ** 32;
  };
}
