/** The way between two daemons: who dials, whether it is up, and the channels over it. */
import { awaitHello } from '../../src/daemon/await-hello.ts';
import type { Channel, ChannelEvents } from '../../src/transport/channel.ts';
import type { Failure } from '../../src/wire/reasons.ts';
import type { Seed } from '../support/seed.ts';
import type { VirtualClock } from './clock.ts';
import { type FrameTap, SimChannel } from './sim-channel.ts';
import type { SimDaemon } from './sim-daemon.ts';

/** How long the beats of a connection may be missing before it is given up, in ms. */
const silenceMs = 10_000;
const lost: Failure = { reason: 'connection-lost', detail: 'the connection was reset' };
const silent: Failure = { reason: 'peer-silent', detail: 'no beat in time' };

export interface SimWireOptions {
  readonly clock: VirtualClock;
  readonly random: Seed;
  readonly tap: FrameTap;
  /** The present daemon at each end; undefined while there is none. The dialling end first. */
  readonly ends: readonly [() => SimDaemon | undefined, () => SimDaemon | undefined];
  /** Whether another connection leads from this daemon to that cluster. */
  readonly reaches: (daemon: SimDaemon, cluster: string) => boolean;
}

export class SimWire {
  readonly #options: SimWireOptions;
  #up: readonly [SimDaemon, SimDaemon] | undefined;
  #frozen = false;
  #channels: SimChannel[] = [];
  /** Down until then, whatever the dialler tries. */
  keptDownUntilMs = 0;

  constructor(options: SimWireOptions) {
    this.#options = options;
    this.#dialSoon();
  }

  get isUp(): boolean {
    return this.#up !== undefined && !this.#frozen;
  }

  connects(daemon: SimDaemon, cluster: string): boolean {
    if (this.#up === undefined) return false;
    const [dialler, listener] = this.#up;
    return (daemon === dialler && listener.cluster === cluster) || (daemon === listener && dialler.cluster === cluster);
  }

  /** How the dialling daemon opens a channel at this moment. */
  opener(from: SimDaemon): ((events: ChannelEvents) => Channel) | undefined {
    const up = this.#up;
    if (up === undefined || up[0] !== from) return undefined;
    return (events) => {
      const { clock, random, tap } = this.#options;
      const [dialler, listener] = up;
      const end = (daemon: SimDaemon) => ({ owner: daemon, cluster: daemon.cluster });
      const [near, far] = SimChannel.pair(clock, random, end(dialler), end(listener), tap);
      near.attach(events);
      if (this.#up !== up) {
        near.cut(lost);
        return near;
      }
      this.#channels = this.#channels.filter((channel) => !channel.isOver);
      this.#channels.push(near);
      if (this.#frozen) near.freeze(true);
      clock.after(random.next() * 4, listener, () => {
        if (far.isOver) return;
        far.attach(awaitHello(far, (hello) => listener.lanes.accept(far, hello)));
      });
      return near;
    };
  }

  #dialSoon(): void {
    const { clock, random, ends } = this.#options;
    clock.after(random.between(5, 400), undefined, () => {
      const [dialler, listener] = [ends[0](), ends[1]()];
      if (dialler === undefined || listener === undefined || clock.nowMs < this.keptDownUntilMs) {
        this.#dialSoon();
        return;
      }
      this.#up = [dialler, listener];
      this.#frozen = false;
      const up = this.#up;
      const tell = (daemon: SimDaemon, peer: SimDaemon): void => {
        clock.after(random.next() * 30, daemon, () => {
          if (this.#up === up) daemon.peerUp(peer.cluster);
        });
      };
      tell(dialler, listener);
      tell(listener, dialler);
    });
  }

  cut(failure: Failure = lost): void {
    const { random } = this.#options;
    const up = this.#down();
    if (up === undefined) return;
    for (const channel of this.#channels.splice(0)) channel.cut(failure);
    this.#tellDown(up[0], up[1], failure, random.next() * 60);
    this.#tellDown(up[1], up[0], failure, random.next() * 60);
  }

  /** One end loses the connection and dials anew, or is dialled; the other goes on believing in it for a while. False if it is down. */
  cutHalf(lateMs: number): boolean {
    const { random } = this.#options;
    const up = this.#down();
    if (up === undefined) return false;
    const [first, second] = random.next() < 0.5 ? up : [up[1], up[0]];
    for (const channel of this.#channels.splice(0))
      (channel.owner === first ? channel : channel.other).cutHalf(lost, lateMs);
    this.#tellDown(first, second, lost, random.next() * 60);
    this.#tellDown(second, first, lost, lateMs);
    return true;
  }

  #down(): readonly [SimDaemon, SimDaemon] | undefined {
    const up = this.#up;
    this.#up = undefined;
    this.#frozen = false;
    if (up !== undefined) this.#dialSoon();
    return up;
  }

  #tellDown(daemon: SimDaemon, peer: SimDaemon, failure: Failure, delayMs: number): void {
    const { clock, reaches } = this.#options;
    clock.after(delayMs, daemon, () => {
      if (!reaches(daemon, peer.cluster)) daemon.peerDown(peer.cluster, failure);
    });
  }

  /** There is a new connection: the lanes move to it, as far as their sessions are settled within `drainMs`. */
  rotate(drainMs: number): void {
    if (this.#up === undefined) return;
    const [dialler, listener] = this.#up;
    this.#options.clock.as(dialler, () => dialler.lanes.rotate(listener.cluster, drainMs));
  }

  /** One of the channels is reset, and nothing else. False if there is none. */
  cutChannel(): boolean {
    const open = this.#channels.filter((channel) => !channel.isOver);
    if (open.length > 0) this.#options.random.pick(open).cut(lost);
    return open.length > 0;
  }

  /** False if it is down, or frozen already. */
  freeze(forMs: number): boolean {
    const up = this.#up;
    if (up === undefined || this.#frozen) return false;
    this.#frozen = true;
    for (const channel of this.#channels) channel.freeze(true);
    this.#options.clock.after(Math.min(forMs, silenceMs), undefined, () => {
      if (this.#up !== up) return;
      if (forMs > silenceMs) {
        this.cut(silent);
        return;
      }
      this.#frozen = false;
      for (const channel of this.#channels) channel.freeze(false);
    });
    return true;
  }

  /** A daemon at one of the ends is no more. */
  left(daemon: SimDaemon): void {
    if (this.#up?.includes(daemon) === true) this.cut();
  }
}
