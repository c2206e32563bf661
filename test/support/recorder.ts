import type { Channel, ChannelEnd, ChannelEvents } from '../../src/transport/channel.ts';

/** Waits until `condition` holds; fails after `timeoutMs`, saying what was waited for. */
export async function until(condition: () => boolean, what: string, timeoutMs = 10_000): Promise<void> {
  const deadlineMs = performance.now() + timeoutMs;
  while (!condition()) {
    if (performance.now() > deadlineMs) throw new Error(`waited ${timeoutMs} ms for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** Keeps what a channel says. */
export class Recorder implements ChannelEvents {
  readonly frames: Buffer[] = [];
  readonly ends: ChannelEnd[] = [];
  /** Frames that came after `ended`. */
  late = 0;
  /** Events that came while the test was inside a method of the channel. */
  synchronous = 0;
  bytes = 0;
  onFrame: ((frame: Buffer) => void) | undefined;
  #inside = false;

  frame(bytes: Buffer): void {
    if (this.ends.length > 0) this.late += 1;
    if (this.#inside) this.synchronous += 1;
    this.frames.push(bytes);
    this.bytes += bytes.length;
    this.onFrame?.(bytes);
  }

  ended(end: ChannelEnd): void {
    if (this.#inside) this.synchronous += 1;
    this.ends.push(end);
  }

  /** Runs calls into the channel, and counts the events that come back before they return. */
  inside(calls: () => void): void {
    this.#inside = true;
    calls();
    this.#inside = false;
  }

  async untilFrames(count: number): Promise<void> {
    await until(() => this.frames.length >= count || this.ends.length > 0, `${count} frames`);
    if (this.frames.length < count) {
      throw new Error(`ended after ${this.frames.length} of ${count} frames: ${JSON.stringify(this.ends)}`);
    }
  }

  async untilEnded(timeoutMs?: number): Promise<ChannelEnd> {
    await until(() => this.ends.length > 0, 'the end of the channel', timeoutMs);
    return this.ends[0]!;
  }
}

/** A channel together with what it said. */
export interface RecordedChannel {
  readonly channel: Channel;
  readonly said: Recorder;
}
