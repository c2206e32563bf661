import { Backoff } from '../lane/backoff.ts';
import type { Logger } from '../lib/logger.ts';
import type { LaneState, LaneStatus } from '../ops/status.ts';
import type { LanePlan } from '../topology/plan.ts';
import type { Channel, ChannelEvents } from '../transport/channel.ts';
import type { Hello } from '../wire/frame.ts';
import { type Failure, reasons } from '../wire/reasons.ts';
import { LaneSession, type LaneSessionOptions } from './lane-session.ts';
import type { LaneStats } from './lane-stats.ts';

/** Behind by more than so many records, a lane that moves is catching up. */
const liveWithin = 1000;

export interface LaneRunnerOptions {
  readonly plan: LanePlan;
  readonly role: 'sender' | 'receiver';
  readonly peer: string;
  readonly node: string;
  readonly log: Logger;
  readonly stats: LaneStats;
  readonly windowBytes: number;
  readonly maxFrameBytes: number;
  readonly openSource: LaneSessionOptions['openSource'];
  readonly openSink: LaneSessionOptions['openSink'];
  /** How to open a stream to the peer at this moment; undefined while the peer dials us. */
  readonly open: () => ((events: ChannelEvents) => Channel) | undefined;
  /** What keeps the own end from working, apart from any session. */
  readonly obstacle: () => Failure | undefined;
  readonly mode: () => 'chain' | 'id' | undefined;
}

/** Keeps one lane going: sessions one after the other, with the reconnect schedule between them, and its state for all to see. */
export class LaneRunner {
  readonly #options: LaneRunnerOptions;
  readonly #backoff = new Backoff();
  readonly #log: Logger;
  #session: LaneSession | undefined;
  #live = false;
  #failure: Failure | undefined;
  /** What the other end's daemon said of the link: it may not run there. */
  #refused: Failure | undefined;
  #timer: NodeJS.Timeout | undefined;
  #nextTryMs: number | undefined;
  #peerUp = false;
  #stopped = false;
  #draining = false;
  #state: LaneState = 'starting';
  #stateSinceMs = Date.now();
  #onQuiet: (() => void) | undefined;

  constructor(options: LaneRunnerOptions) {
    this.#options = options;
    this.#log = options.log.child({ lane: options.plan.id });
  }

  get plan(): LanePlan {
    return this.#options.plan;
  }

  get role(): 'sender' | 'receiver' {
    return this.#options.role;
  }

  get peer(): string {
    return this.#options.peer;
  }

  get stats(): LaneStats {
    return this.#options.stats;
  }

  get isLive(): boolean {
    return this.#live;
  }

  /** The peer's control stream is up, or down with a reason. */
  peerChanged(up: boolean, failure: Failure | undefined): void {
    this.#peerUp = up;
    if (up) {
      this.#backoff.reset();
      this.#schedule(0);
    } else {
      this.#clearTimer();
      if (!this.#live) this.#failure = failure ?? this.#failure;
      // Beats stand for the whole connection: what is under way over it will not be answered.
      else if (failure?.reason === 'peer-silent') this.#session?.finish(failure);
    }
    this.#update();
  }

  /** What the other end says of the link: undefined when it accepts it. */
  verdict(failure: Failure | undefined): void {
    const changed = failure?.reason !== this.#refused?.reason;
    this.#refused = failure;
    if (changed && failure === undefined) this.#schedule(0);
    this.#update();
  }

  /** An incoming session of this lane; a newer one takes over from an older one. */
  accept(channel: Channel, hello: Hello): ChannelEvents {
    this.#session?.finish({ reason: 'superseded', detail: 'the peer opened a newer session' });
    const session = this.#begin();
    return session.accept(channel, hello);
  }

  /** Finishes what is in flight; resolves when no session is left. */
  async drain(): Promise<void> {
    this.#draining = true;
    this.#clearTimer();
    this.#update();
    if (this.#session === undefined) return;
    await new Promise<void>((resolve) => {
      this.#onQuiet = resolve;
      this.#session?.drain();
    });
  }

  stop(failure: Failure = { reason: 'draining', detail: 'the daemon stops' }): void {
    this.#stopped = true;
    this.#clearTimer();
    this.#session?.finish(failure);
    this.#update();
  }

  #schedule(waitMs: number): void {
    this.#clearTimer();
    const open = this.#options.open();
    if (this.#stopped || this.#draining || open === undefined || !this.#peerUp || this.#session !== undefined) return;
    this.#nextTryMs = Date.now() + waitMs;
    this.#timer = setTimeout(() => {
      this.#clearTimer();
      void this.#begin().dial(open);
    }, waitMs);
  }

  #clearTimer(): void {
    clearTimeout(this.#timer);
    this.#nextTryMs = undefined;
  }

  #begin(): LaneSession {
    const { plan, role, node, stats, windowBytes, maxFrameBytes, openSource, openSink } = this.#options;
    this.#live = false;
    const session: LaneSession = new LaneSession({
      plan,
      role,
      node,
      stats,
      windowBytes,
      maxFrameBytes,
      openSource,
      openSink,
      live: () => {
        if (this.#session !== session) return;
        this.#live = true;
        this.#failure = undefined;
        stats.sessions++;
        this.#backoff.up(performance.now());
        this.#log.info('lane-live', { peer: this.peer, role, stored: stats.stored?.sequence });
        this.#update();
      },
      ended: (failure) => {
        if (this.#session === session) this.#ended(failure);
      },
    });
    this.#session = session;
    this.#update();
    return session;
  }

  #ended(failure: Failure | undefined): void {
    const news = this.#live || failure?.reason !== this.#failure?.reason;
    this.#session = undefined;
    this.#live = false;
    this.#failure = failure;
    if (news && !this.#stopped) {
      const parked = failure !== undefined && reasons[failure.reason].retry === 'park';
      this.#log[parked ? 'warn' : 'info']('lane-ended', {
        peer: this.peer,
        role: this.role,
        reason: failure?.reason,
        detail: failure?.detail,
      });
    }
    this.#onQuiet?.();
    this.#schedule(this.#backoff.down(failure, performance.now()));
    this.#update();
  }

  /** Called often enough that `since` means something: on every change, and when status is asked for. */
  #update(): void {
    const [state] = this.#judge();
    if (state === this.#state) return;
    this.#log.debug('lane-state', { from: this.#state, to: state });
    this.#state = state;
    this.#stateSinceMs = Date.now();
  }

  #judge(): [LaneState, Failure | undefined] {
    if (this.#stopped) return ['stopped', undefined];
    if (this.#draining) return ['draining', undefined];
    if (this.#refused !== undefined)
      return [this.#refused.reason === 'link-conflict' ? 'link-conflict' : 'parked', this.#refused];
    const obstacle = this.#options.obstacle();
    if (obstacle !== undefined) return [reasons[obstacle.reason].retry === 'park' ? 'parked' : 'blocked', obstacle];
    if (this.#live) return [(this.stats.lag ?? 0) > liveWithin ? 'catching-up' : 'live', undefined];
    const failure = this.#failure;
    if (failure === undefined) return ['starting', undefined];
    if (failure.reason === 'link-conflict') return ['link-conflict', failure];
    const { retry } = reasons[failure.reason];
    if (retry === 'park') return ['parked', failure];
    return [retry === 'slow' || isBroker(failure) ? 'blocked' : 'disconnected', failure];
  }

  status(nowMs: number): LaneStatus {
    this.#update();
    const { plan, role, peer, mode } = this.#options;
    const { stats } = this;
    const [state, failure] = this.#judge();
    const lag = stats.lag;
    const appendMode = mode();
    const credit = this.#session?.creditBytes;
    const inflight = this.#session?.inFlightBytes;
    const behindSinceMs = stats.oldestMs ?? stats.backlogSinceMs;
    return {
      lane: plan.id,
      link: plan.link,
      from: plan.from,
      to: plan.to,
      role,
      peer,
      declaredBy: plan.declaredBy,
      state,
      sinceMs: this.#stateSinceMs,
      recordsTotal: stats.records,
      bytesTotal: stats.bytes,
      wireBytesTotal: stats.wireBytes,
      duplicatesTotal: stats.duplicates,
      loopDropsTotal: stats.loopDrops,
      lostTotal: stats.lost,
      gapsTotal: stats.gaps,
      reconnectsTotal: Math.max(0, stats.sessions - 1),
      ...(failure === undefined ? {} : { reason: failure.reason, detail: failure.detail }),
      ...(this.#nextTryMs === undefined ? {} : { nextTryMs: this.#nextTryMs }),
      ...(stats.stored === undefined
        ? {}
        : { storedSequence: stats.stored.sequence, incarnation: stats.stored.incarnation }),
      ...(stats.head === undefined ? {} : { headSequence: stats.head }),
      ...(stats.headAtMs === undefined ? {} : { headAtMs: stats.headAtMs }),
      ...(lag === undefined ? {} : { lagRecords: lag }),
      ...(lag === 0
        ? { lagSeconds: 0 }
        : behindSinceMs === undefined
          ? {}
          : { lagSeconds: Math.max(0, nowMs - behindSinceMs) / 1000 }),
      ...(stats.progressAtMs === undefined ? {} : { progressAtMs: stats.progressAtMs }),
      ...(stats.backlogSinceMs === undefined ? {} : { backlogSinceMs: stats.backlogSinceMs }),
      ...(credit === undefined ? {} : { creditBytes: credit }),
      ...(inflight === undefined ? {} : { inflightBytes: inflight }),
      ...(appendMode === undefined ? {} : { mode: appendMode }),
    };
  }
}

/** Failures of a broker, here or at the other end, rather than of the way between. */
function isBroker({ reason }: Failure): boolean {
  return (
    reason.startsWith('nats-') ||
    reason.startsWith('sink-') ||
    reason.startsWith('source-') ||
    reason === 'jetstream-unavailable'
  );
}
