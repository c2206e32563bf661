import { randomBytes } from 'node:crypto';
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
/** A live lane whose receiver stores nothing of what it has for so long is blocked there. */
const stalledAfterMs = 10_000;
/** A lane that moves to another connection may be without a session for so long before that is shown. */
const moveMs = 10_000;

export interface LaneRunnerOptions extends Omit<LaneSessionOptions, 'live' | 'ended'> {
  readonly peer: string;
  /** The own file declares the link: the lane waits until the other end has said, each time anew, that it may run. */
  readonly needsVerdict: boolean;
  readonly log: Logger;
  /** How to open a stream to the peer at this moment; undefined while the peer dials us. */
  readonly open: () => ((events: ChannelEvents) => Channel) | undefined;
  /** What keeps the own end from working, apart from any session. */
  readonly obstacle: () => Failure | undefined;
  readonly appending: () => Pick<LaneStatus, 'mode' | 'guarantee'>;
}

/** Keeps one lane going: sessions one after the other, with the reconnect schedule between them, and its state for all to see. */
export class LaneRunner {
  readonly #options: LaneRunnerOptions;
  readonly #backoff = new Backoff();
  readonly #log: Logger;
  #session: LaneSession | undefined;
  /** The name of the session, as the dialler chose it. It keeps it when it moves to another connection. */
  #name = '';
  #live = false;
  /** Runs while the session settles what is in flight, to go on over another connection. */
  #settling: NodeJS.Timeout | undefined;
  /** It has done so, and the next one is about to begin: to everybody else the lane is live. */
  #moving: NodeJS.Timeout | undefined;
  /** The session shall move, as soon as it is live. */
  #moves: { readonly drainMs: number } | undefined;
  #failure: Failure | undefined;
  /** Why the peer was away, where that is what the lane shows. */
  #peerFailure: Failure | undefined;
  /** What the other end's daemon said of the link: it may not run there. */
  #refused: Failure | undefined;
  /** The other end has accepted the link since it was last connected. */
  #agreed: boolean;
  #timer: NodeJS.Timeout | undefined;
  #nextTryMs: number | undefined;
  #peerUp = false;
  #stopped = false;
  #draining = false;
  #state: LaneState = 'starting';
  #stateSinceMs = Date.now();
  /** What kept it from being live when it was judged last, and since when: retrying for the same reason begins nothing anew. */
  #trouble: { readonly state: LaneState; readonly failure: Failure; readonly sinceMs: number } | undefined;
  #onQuiet: (() => void) | undefined;

  constructor(options: LaneRunnerOptions) {
    this.#options = options;
    this.#log = options.log.child({ lane: options.plan.id });
    this.#agreed = !options.needsVerdict;
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
    return this.#live || this.#moving !== undefined;
  }

  /** The peer's control stream is up, or down with a reason. */
  peerChanged(up: boolean, failure: Failure | undefined): void {
    this.#peerUp = up;
    if (up) {
      // The way is there again: why it was not says nothing of what the lane meets now.
      if (this.#failure === this.#peerFailure || this.#failure?.reason === 'connection-lost') {
        this.#failure = undefined;
        this.#trouble = undefined;
      }
      this.#peerFailure = undefined;
      this.#backoff.reset();
      this.#schedule(0);
    } else {
      this.#clearTimer();
      this.#agreed = !this.#options.needsVerdict;
      this.#moved();
      if (!this.#live) {
        this.#failure = failure ?? this.#failure;
        this.#peerFailure = failure;
      }
      // Beats stand for the whole connection: what is under way over it will not be answered. And a daemon that another one has
      // taken over from is not listened to any more.
      else if (failure?.reason === 'peer-silent' || failure?.reason === 'superseded') this.#session?.finish(failure);
    }
    this.#update();
  }

  /** What the other end says of the link: undefined when it accepts it. */
  verdict(failure: Failure | undefined): void {
    const news = this.#refused !== undefined || !this.#agreed;
    this.#refused = failure;
    this.#agreed = failure === undefined || !this.#options.needsVerdict;
    if (failure === undefined && news) {
      this.#backoff.reset();
      this.#schedule(0);
    }
    this.#update();
  }

  /** An incoming session of this lane; a newer one takes over from an older one. */
  accept(channel: Channel, hello: Hello): ChannelEvents {
    const old = this.#session;
    if (hello.session !== this.#name) this.#moved();
    // What the other end said over the old connection may come later than this.
    else if (this.isLive) this.#move({ reason: 'rotated', detail: 'the peer moved the session' });
    this.#name = hello.session;
    old?.finish({ reason: 'superseded', detail: 'the peer opened a newer session' });
    const session = this.#begin();
    return session.accept(channel, hello);
  }

  /**
   * Moves to the connection that takes new streams now, if this end dials: what is in flight is settled first. If that takes longer than
   * `drainMs` it is sent again.
   */
  rotate(drainMs: number): void {
    const session = this.#session;
    if (session === undefined || this.#settling !== undefined || this.#stopped || this.#draining) return;
    if (this.#options.open() === undefined) return;
    if (!this.#live) {
      this.#moves = { drainMs };
      return;
    }
    const detail = `what is in flight was not stored within ${drainMs / 1000} s`;
    this.#settling = setTimeout(() => session.finish({ reason: 'rotated', detail }), drainMs);
    session.drain('rotated');
  }

  /** Finishes what is in flight; resolves when no session is left. */
  async drain(): Promise<void> {
    this.#draining = true;
    this.#clearTimer();
    this.#update();
    if (this.#session === undefined) return;
    await new Promise<void>((resolve) => {
      this.#onQuiet = resolve;
      // What waits for somebody would not be settled before the time is over.
      if (this.#session?.parked === undefined) this.#session?.drain('draining');
      else this.#session.finish({ reason: 'draining', detail: 'the daemon stops' });
    });
  }

  stop(failure: Failure = { reason: 'draining', detail: 'the daemon stops' }): void {
    this.#stopped = true;
    this.#clearTimer();
    this.#moved();
    this.#session?.finish(failure);
    this.#update();
  }

  #schedule(waitMs: number): void {
    this.#clearTimer();
    if (this.#stopped || this.#draining || this.#options.open() === undefined) return;
    if (!this.#peerUp || !this.#agreed || this.#session !== undefined) return;
    this.#nextTryMs = Date.now() + waitMs;
    this.#timer = setTimeout(() => {
      this.#clearTimer();
      // By now the peer may be the one that dials.
      const open = this.#options.open();
      if (open === undefined) return;
      if (this.#moving === undefined) this.#name = randomBytes(8).toString('hex');
      void this.#begin().dial(open, this.#name);
    }, waitMs);
  }

  #clearTimer(): void {
    clearTimeout(this.#timer);
    this.#nextTryMs = undefined;
  }

  #begin(): LaneSession {
    const { role, stats } = this.#options;
    this.#clearTimer();
    this.#live = false;
    this.#moves = undefined;
    const session: LaneSession = new LaneSession({
      ...this.#options,
      live: () => {
        if (this.#session !== session) return;
        this.#live = true;
        this.#failure = undefined;
        const moved = this.#moved();
        if (!moved) stats.sessions++;
        this.#backoff.up(performance.now());
        const said = { peer: this.peer, role, stored: stats.stored?.sequence };
        if (moved) this.#log.debug('lane-rotated', said);
        else this.#log.info('lane-live', said);
        this.#update();
        const again = this.#moves;
        if (again !== undefined) queueMicrotask(() => this.#session === session && this.rotate(again.drainMs));
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
    if (failure !== undefined && this.#isMove(failure)) {
      this.#move(failure);
      return;
    }
    clearTimeout(this.#settling);
    this.#settling = undefined;
    this.#moved();
    const news = this.#live || failure?.reason !== this.#failure?.reason;
    this.#session = undefined;
    this.#live = false;
    this.#failure = failure;
    if (news && !this.#stopped) this.#tellEnded(failure);
    this.#onQuiet?.();
    this.#schedule(this.#backoff.down(failure, performance.now()));
    this.#update();
  }

  /**
   * The session ended as planned, to go on over another connection. An end that dials relies on its own plan only: a peer that says so
   * time and again would have it dial in a storm.
   */
  #isMove({ reason }: Failure): boolean {
    if (!this.isLive || !this.#peerUp || this.#stopped || this.#draining) return false;
    if (this.#settling === undefined) return this.#options.open() === undefined && reason === 'rotated';
    // A sender that knows no other reason says that it is draining.
    return reason === 'rotated' || reason === 'draining';
  }

  #move(failure: Failure): void {
    this.#moved();
    clearTimeout(this.#settling);
    this.#settling = undefined;
    this.#session = undefined;
    this.#live = false;
    this.#moving = setTimeout(() => {
      this.#moved();
      this.#failure = failure;
      this.#tellEnded(failure);
      this.#update();
    }, moveMs);
    this.#moving.unref();
    this.#schedule(0);
    this.#update();
  }

  /** It does not move any more, because it has, or cannot. Returns whether it did. */
  #moved(): boolean {
    const moved = this.#moving !== undefined;
    clearTimeout(this.#moving);
    this.#moving = undefined;
    return moved;
  }

  #tellEnded(failure: Failure | undefined): void {
    const parked = failure !== undefined && reasons[failure.reason].retry === 'park';
    this.#log[parked ? 'warn' : 'info']('lane-ended', { peer: this.peer, role: this.role, ...failure });
  }

  /** Called often enough that `since` means something: on every change, and when status is asked for. */
  #update(): void {
    const [state, failure] = this.#judge();
    if (state !== this.#state) {
      this.#log.debug('lane-state', { from: this.#state, to: state });
      const before = this.#trouble;
      const goesOn = before?.state === state && before.failure.reason === failure?.reason;
      this.#state = state;
      this.#stateSinceMs = goesOn ? before.sinceMs : Date.now();
    }
    if (failure !== undefined) this.#trouble = { state, failure, sinceMs: this.#stateSinceMs };
    else if (state !== 'starting') this.#trouble = undefined;
  }

  #judge(): [LaneState, Failure | undefined] {
    if (this.#stopped) return ['stopped', undefined];
    if (this.#draining) return ['draining', undefined];
    if (this.#refused !== undefined)
      return [this.#refused.reason === 'link-conflict' ? 'link-conflict' : 'parked', this.#refused];
    const obstacle = this.#options.obstacle();
    if (obstacle !== undefined) return [reasons[obstacle.reason].retry === 'park' ? 'parked' : 'blocked', obstacle];
    const parked = this.#live ? this.#session?.parked : undefined;
    if (parked !== undefined) return ['gap', parked];
    const stalledMs = this.#session?.stalledMs ?? 0;
    if (this.#live && stalledMs > stalledAfterMs) {
      const detail = `the peer has not stored anything for ${Math.floor(stalledMs / 1000)} s`;
      return ['blocked', { reason: 'sink-blocked', detail }];
    }
    if (this.isLive) return [(this.stats.lag ?? 0) > liveWithin ? 'catching-up' : 'live', undefined];
    // While an attempt is under way, the lane is what the attempt before has found.
    const failure = this.#failure ?? (this.#session === undefined ? undefined : this.#trouble?.failure);
    if (failure === undefined) return ['starting', undefined];
    if (failure.reason === 'link-conflict') return ['link-conflict', failure];
    const { retry } = reasons[failure.reason];
    if (retry === 'park') return ['parked', failure];
    return [retry === 'slow' || isBroker(failure) ? 'blocked' : 'disconnected', failure];
  }

  status(nowMs: number): LaneStatus {
    this.#update();
    const { plan, role, peer, appending } = this.#options;
    const { stats } = this;
    const [state, failure] = this.#judge();
    const lag = stats.lag;
    const credit = this.#session?.creditBytes;
    const inflight = this.#session?.inFlightBytes;
    // A receiver of records that stopped coming before it was made is not behind: how far the source is, it has not heard yet.
    const unknown = lag === undefined && this.isLive;
    const behindSinceMs = unknown ? undefined : (stats.oldestMs ?? stats.backlogSinceMs);
    return {
      lane: plan.id,
      link: plan.link,
      from: plan.from,
      to: plan.to,
      role,
      peer,
      declaredBy: plan.declaredBy,
      state,
      sinceMs: Math.min(nowMs, this.#stateSinceMs),
      recordsTotal: stats.records,
      bytesTotal: stats.bytes,
      wireBytesTotal: stats.wireBytes,
      duplicatesTotal: stats.duplicates,
      loopDropsTotal: stats.loopDrops,
      sourcedDropsTotal: stats.sourcedDrops,
      quarantinedTotal: stats.quarantined,
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
      ...(stats.retention === undefined ? {} : { retention: stats.retention }),
      ...(lag === 0
        ? { lagSeconds: 0 }
        : behindSinceMs === undefined
          ? {}
          : { lagSeconds: Math.max(0, nowMs - behindSinceMs) / 1000 }),
      ...(stats.progressAtMs === undefined ? {} : { progressAtMs: stats.progressAtMs }),
      ...(stats.backlogSinceMs === undefined ? {} : { backlogSinceMs: stats.backlogSinceMs }),
      ...(credit === undefined ? {} : { creditBytes: credit }),
      ...(inflight === undefined ? {} : { inflightBytes: inflight }),
      ...appending(),
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
