/**
 * The middle of a packet line, a process of its own: reads IP packets from two TUN devices, whose descriptors it inherits, and writes
 * each to the other one, as late as the line is long, or not at all. Told over IPC what the line is like; ends with its parent.
 */
import { read, writeSync } from 'node:fs';
import { type PacketShape, PacketShaper } from './packet-shape.ts';

/** `shape`: what both directions do from now on. `cut`: no packet arrives, those under way included. */
export type RelayOrder = { readonly shape: PacketShape } | { readonly cut: boolean };

const maxPacketBytes = 65_536;

class Direction {
  readonly #from: number;
  readonly #to: number;
  readonly #shaper: PacketShaper;
  readonly #buffer = Buffer.allocUnsafe(maxPacketBytes);
  #waiting: { readonly dueMs: number; readonly packet: Buffer }[] = [];
  #timer: NodeJS.Timeout | undefined;
  #cut = false;

  constructor(from: number, to: number, seed: number) {
    this.#from = from;
    this.#to = to;
    this.#shaper = new PacketShaper({ delayMs: 0, loss: 0 }, seed);
    this.#read();
  }

  order(order: RelayOrder): void {
    if ('shape' in order) {
      this.#shaper.reshape(order.shape);
      return;
    }
    this.#cut = order.cut;
    if (order.cut) this.#waiting = [];
  }

  #read(): void {
    read(this.#from, this.#buffer, 0, maxPacketBytes, null, (error, bytes) => {
      if (error !== null) throw error;
      this.#take(bytes);
      this.#read();
    });
  }

  #take(bytes: number): void {
    if (this.#cut) return;
    const nowMs = performance.now();
    const dueMs = this.#shaper.arrivalMs(bytes, nowMs);
    if (dueMs === undefined) return;
    if (dueMs <= nowMs && this.#waiting.length === 0) {
      this.#deliver(this.#buffer.subarray(0, bytes));
      return;
    }
    this.#waiting.push({ dueMs, packet: Buffer.from(this.#buffer.subarray(0, bytes)) });
    this.#timer ??= setTimeout(() => this.#due(), dueMs - nowMs);
  }

  #due(): void {
    const nowMs = performance.now();
    let sent = 0;
    while (sent < this.#waiting.length && this.#waiting[sent]!.dueMs <= nowMs)
      this.#deliver(this.#waiting[sent++]!.packet);
    this.#waiting.splice(0, sent);
    const next = this.#waiting[0];
    this.#timer = next === undefined ? undefined : setTimeout(() => this.#due(), next.dueMs - nowMs);
  }

  #deliver(packet: Uint8Array): void {
    try {
      writeSync(this.#to, packet);
    } catch (error) {
      // The device is not up yet, or no longer; packets are lost there.
      if ((error as NodeJS.ErrnoException).code !== 'EIO') throw error;
    }
  }
}

const [seed, near, far] = process.argv.slice(2).map(Number) as [number, number, number];
const directions = [new Direction(near, far, seed), new Direction(far, near, seed + 1)];
process.on('message', (order: RelayOrder) => {
  for (const direction of directions) direction.order(order);
  process.send!('done');
});
process.once('disconnect', () => process.exit());
process.send!('ready');
