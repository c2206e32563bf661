/** A stream of frames between two daemons, with a window, latency, and an end that may come between any two frames. */
import type { Channel, ChannelEnd, ChannelEvents, PeerIdentity } from '../../src/transport/channel.ts';
import type { Failure } from '../../src/wire/reasons.ts';
import type { Seed } from '../support/seed.ts';
import type { Owner, VirtualClock } from './clock.ts';

/** What HTTP/2 holds that was taken and has not been read, in bytes. */
const windowBytes = 4096;

/** Sees every frame that an end sends, and may pass on others in its place. */
export type FrameTap = (
  sender: Owner,
  lane: string | undefined,
  frame: Buffer,
) => { readonly lane: string | undefined; readonly frame: Buffer };

interface Outgoing {
  readonly frame: Buffer;
  readonly onTaken: (() => void) | undefined;
}

export class SimChannel implements Channel {
  readonly method = 'exchange';
  readonly peer: PeerIdentity;
  readonly owner: Owner;
  queuedBytes = 0;
  frozen = false;
  readonly #clock: VirtualClock;
  readonly #random: Seed;
  readonly #tap: FrameTap;
  #other!: SimChannel;
  #events: ChannelEvents | undefined;
  #outbox: Outgoing[] = [];
  /** Under way to the other end. */
  #flying: Buffer[] = [];
  #flyingBytes = 0;
  #moving = false;
  #paused = false;
  #ending = false;
  #ended = false;
  #cut = false;
  /** What the channel is for, once a Hello has said so. */
  #lane: string | undefined;

  private constructor(clock: VirtualClock, random: Seed, owner: Owner, peer: string, tap: FrameTap) {
    this.#clock = clock;
    this.#random = random;
    this.owner = owner;
    this.#tap = tap;
    this.peer = { trustDomain: 'simulated', cluster: peer, fingerprint: '', notAfterMs: Number.POSITIVE_INFINITY };
  }

  static pair(
    clock: VirtualClock,
    random: Seed,
    left: { readonly owner: Owner; readonly cluster: string },
    right: { readonly owner: Owner; readonly cluster: string },
    tap: FrameTap,
  ): [SimChannel, SimChannel] {
    const one = new SimChannel(clock, random, left.owner, right.cluster, tap);
    const two = new SimChannel(clock, random, right.owner, left.cluster, tap);
    one.#other = two;
    two.#other = one;
    return [one, two];
  }

  /** The end that it is a pair with. */
  get other(): SimChannel {
    return this.#other;
  }

  get isOver(): boolean {
    return this.#ended && this.#other.#ended;
  }

  attach(events: ChannelEvents): void {
    this.#events = events;
    this.#move();
    this.#other.#move();
  }

  send(frame: Buffer, onTaken?: () => void): void {
    if (this.#ending || this.#ended) return;
    // It goes nowhere any more, and this end does not know it yet.
    if (this.#cut) return;
    const tapped = this.#tap(this.owner, this.#lane, frame);
    this.#lane = this.#other.#lane = tapped.lane;
    this.#outbox.push({ frame: tapped.frame, onTaken });
    this.queuedBytes += tapped.frame.length;
    this.#move();
  }

  pause(): void {
    this.#paused = true;
  }

  resume(): void {
    this.#paused = false;
    this.#other.#move();
  }

  end(): void {
    if (this.#ending || this.#ended) return;
    this.#ending = true;
    this.resume();
    this.#move();
  }

  abort(failure: Failure): void {
    this.#finish({ failure }, 0);
    this.#other.#finish({ failure: { reason: 'connection-lost', detail: 'the other end aborted' } }, this.#latencyMs());
  }

  /** The connection is gone; each end finds out by itself. What was under way may still arrive in part. */
  cut(failure: Failure): void {
    for (const end of [this, this.#other]) {
      end.#cut = true;
      end.#outbox = [];
      end.#flying.length = end.#random.between(0, end.#flying.length);
      end.#finish({ failure }, end.#random.next() * 50);
    }
  }

  /** The connection is gone, and this end knows it. The other one hears late what was under way to it, and learns the rest `lateMs` later. */
  cutHalf(failure: Failure, lateMs: number): void {
    const [random, other] = [this.#random, this.#other];
    const late = this.#flying.splice(0, random.between(0, this.#flying.length));
    for (const end of [this, other]) {
      end.#cut = true;
      end.#outbox = [];
      end.#flying = [];
    }
    this.#clock.after(random.next() * lateMs, other.owner, () => {
      for (const frame of late) if (!other.#ended) other.#events?.frame(frame);
    });
    this.#finish({ failure }, random.next() * 50);
    other.#finish({ failure }, lateMs);
  }

  freeze(frozen: boolean): void {
    this.frozen = frozen;
    this.#other.frozen = frozen;
    this.#move();
    this.#other.#move();
  }

  #move(): void {
    if (this.#moving || this.#ended || this.frozen) return;
    if (this.#outbox.length === 0 && this.#flying.length === 0 && !this.#ending) return;
    this.#moving = true;
    this.#clock.after(this.#latencyMs(), undefined, () => {
      this.#moving = false;
      if (this.#ended || this.frozen) return;
      const stuck = !this.#takeOff() && !this.#land();
      if (this.#ending && this.#outbox.length === 0 && this.#flying.length === 0) {
        this.#finish({}, 0);
        this.#other.#finish({}, this.#latencyMs());
        return;
      }
      if (!stuck) this.#move();
    });
  }

  /** HTTP/2 takes what its window allows. */
  #takeOff(): boolean {
    let took = false;
    while (this.#outbox.length > 0 && (this.#flyingBytes === 0 || this.#flyingBytes < windowBytes)) {
      const { frame, onTaken } = this.#outbox.shift()!;
      this.queuedBytes -= frame.length;
      this.#flying.push(frame);
      this.#flyingBytes += frame.length;
      took = true;
      if (onTaken !== undefined) this.#clock.after(0, this.owner, () => this.#ended || onTaken());
    }
    return took;
  }

  #land(): boolean {
    const other = this.#other;
    if (other.#events === undefined || other.#paused || this.#flying.length === 0) return false;
    const some = this.#random.next() < 0.4 ? this.#random.between(1, this.#flying.length) : this.#flying.length;
    const frames = this.#flying.splice(0, some);
    for (const frame of frames) this.#flyingBytes -= frame.length;
    this.#clock.after(0, other.owner, () => {
      for (const frame of frames) if (!other.#ended) other.#events?.frame(frame);
    });
    return true;
  }

  #finish(end: ChannelEnd, delayMs: number): void {
    if (this.#ended) return;
    this.#clock.after(delayMs, this.owner, () => {
      if (this.#ended) return;
      this.#ended = true;
      this.#outbox = [];
      this.queuedBytes = 0;
      const events = this.#events;
      if (events !== undefined) queueMicrotask(() => events.ended(end));
    });
  }

  #latencyMs(): number {
    const random = this.#random;
    return random.next() < 0.05 ? random.next() * 60 : 0.2 + random.next() * 5;
  }
}
