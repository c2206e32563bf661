import { Backoff } from '../lane/backoff.ts';
import type { Logger } from '../lib/logger.ts';
import type { PeerStatus } from '../ops/status.ts';
import { endpointText } from '../topology/endpoint.ts';
import type { PeerPlan } from '../topology/plan.ts';
import type { Channel, ChannelEvents, Dialer } from '../transport/channel.ts';
import type { Declaration, Greeting, Verdicts } from '../wire/control.ts';
import { protocolVersions } from '../wire/frame.ts';
import { type Failure, reasons } from '../wire/reasons.ts';
import type { VerifyFrame } from '../wire/verify.ts';
import { ControlSession, type LineMeasure } from './control-session.ts';
import { greetedStatus } from './peer-status.ts';
import { Rivals } from './rivals.ts';
import { RotationTimer } from './rotation.ts';

const rotated: Failure = { reason: 'rotated', detail: 'a new connection has taken over' };
const superseded: Failure = { reason: 'superseded', detail: 'the peer opened a newer control stream' };

export interface PeerOptions {
  readonly plan: PeerPlan;
  /** The own cluster. */
  readonly self: string;
  /** Present if this daemon dials the peer. */
  readonly dialer: Dialer | undefined;
  /** The group it belongs to, if it is known as a member of one. */
  readonly group?: string;
  /** When it was last connected, as far as an earlier run of this daemon knew, Unix ms: that may become known later. */
  readonly lastSeenMs: () => number | undefined;
  readonly greeting: () => Omit<Greeting, 'kind' | 'minVersion' | 'maxVersion' | 'beatMs'>;
  readonly log: Logger;
  /** About how long a connection is used, in ms. */
  readonly rotateMs: number;
  /** The control stream is up: time to declare; or down. */
  readonly changed: (up: boolean, failure: Failure | undefined) => void;
  /** The control stream is on a new connection, and what was said over the old one may not have arrived: time to declare again. */
  readonly rotated: () => void;
  /** It was connected until now. */
  readonly left: () => void;
  readonly declaration: (declaration: Declaration) => void;
  readonly verdicts: (verdicts: Verdicts) => void;
  readonly verify: (frame: VerifyFrame) => void;
}

/** Where both ends dial, the own attempt has so long before the connection of the other end is taken. */
const precedenceMs = 2000;

/** Another cluster: keeps the control stream to it, dialling if that is ours to do, and knows how it is. */
export class Peer {
  readonly #options: PeerOptions;
  readonly #backoff = new Backoff();
  readonly #log: Logger;
  readonly #rivals: Rivals;
  readonly #rotation: RotationTimer;
  #session: ControlSession | undefined;
  /** Opened by us over a new connection: takes over from the present one when it is greeted. */
  #next: ControlSession | undefined;
  /** The session that takes over by plan, over a new connection. */
  #planned: ControlSession | undefined;
  #rotations = 0;
  /** Opened by the peer while the present one is up: takes over when it has said who it is. */
  #candidate: ControlSession | undefined;
  /** What the candidate has said, while it waits for an own attempt to fail. */
  #waiting: Greeting | undefined;
  #precedence: NodeJS.Timeout | undefined;
  #lastSeenMs: number | undefined;
  #greeting: Greeting | undefined;
  #measure: LineMeasure | undefined;
  #failure: Failure | undefined;
  #sinceMs = Date.now();
  #timer: NodeJS.Timeout | undefined;
  #nextTryMs: number | undefined;
  #stopped = false;
  /** The present session was opened by the peer. */
  #incoming = false;

  constructor(options: PeerOptions) {
    this.#options = options;
    this.#log = options.log.child({ peer: options.plan.cluster });
    this.#rivals = new Rivals(options.plan.cluster);
    this.#rotation = new RotationTimer(options.rotateMs, () => this.#rotate());
  }

  get plan(): PeerPlan {
    return this.#options.plan;
  }

  get group(): string | undefined {
    return this.#options.group;
  }

  /** Instance of the peer's daemon that is connected. */
  get node(): string | undefined {
    return this.#greeting?.node;
  }

  /** Name of the peer's topology file, while it is connected. */
  get file(): string | undefined {
    return this.#greeting?.file;
  }

  /** Generation of the peer's file, while it is connected. */
  get generation(): number | undefined {
    return this.#greeting?.generation;
  }

  /** The peer runs on another version of its file than it greeted with. */
  fileChanged(generation: number, fileHash: string): void {
    if (this.#greeting !== undefined) this.#greeting = { ...this.#greeting, generation, fileHash };
  }

  /** When it was last known to be there, Unix ms; undefined if it never was. */
  get lastSeenMs(): number | undefined {
    return this.isUp ? Date.now() : (this.#lastSeenMs ?? this.#options.lastSeenMs());
  }

  get cluster(): string {
    return this.#options.plan.cluster;
  }

  /** Version of the protocol that is spoken with it, while it is connected. */
  get version(): number | undefined {
    return this.#greeting && Math.min(this.#greeting.maxVersion, protocolVersions.max);
  }

  get isUp(): boolean {
    return this.#greeting !== undefined;
  }

  /** Opens an Exchange stream; only while this daemon is the one that dials. */
  get open(): ((events: ChannelEvents) => Channel) | undefined {
    const { dialer } = this.#options;
    return dialer === undefined || this.#incoming ? undefined : (events) => dialer.open('exchange', events);
  }

  start(): void {
    this.#dial(0);
  }

  /**
   * The peer opened a control stream. It takes over from the present one when it has said who it is; where both ends dial, the
   * attempt of the lower name comes first. Until it is wanted, it is not greeted, so that the other end does not begin to use it.
   */
  accept(channel: Channel): ChannelEvents {
    this.#candidate?.finish(superseded);
    const session = this.#make();
    this.#candidate = session;
    session.start(channel);
    if (this.isUp) return session.events;
    if (this.#isDialling && this.#options.self < this.cluster)
      this.#precedence = setTimeout(() => this.#promote(session), precedenceMs);
    else this.#promote(session);
    return session.events;
  }

  /** An own attempt is under way. */
  get #isDialling(): boolean {
    return this.#session !== undefined && !this.#incoming;
  }

  send(frame: Declaration | Verdicts | VerifyFrame): void {
    this.#session?.send(frame);
  }

  /** What kept the peer away may have changed: if an attempt is waited for, it is made now. */
  retry(): void {
    if (this.#nextTryMs === undefined) return;
    clearTimeout(this.#timer);
    this.#backoff.reset();
    this.#dial(0);
  }

  /** Ends it for good, telling the peer why. */
  stop(failure: Failure = { reason: 'draining', detail: 'the daemon stops' }): void {
    this.#stopped = true;
    clearTimeout(this.#timer);
    clearTimeout(this.#precedence);
    this.#rotation.stop();
    this.#candidate?.finish(failure);
    this.#next?.finish(failure);
    this.#session?.finish(failure);
  }

  /** After `stop`: waits up to `graceMs` until the peer has heard everything, and closes the connection. */
  async close(graceMs: number): Promise<void> {
    await this.#options.dialer?.stop(graceMs);
  }

  #dial(waitMs: number): void {
    const { dialer } = this.#options;
    if (dialer === undefined || this.#stopped) return;
    this.#nextTryMs = Date.now() + waitMs;
    this.#timer = setTimeout(() => {
      this.#nextTryMs = undefined;
      this.#incoming = false;
      const session = this.#make();
      this.#session = session;
      session.start(dialer.open('control', session.events));
      session.greet();
    }, waitMs);
  }

  /** Makes the connection anew while the present one carries everything. */
  #rotate(): void {
    const { dialer } = this.#options;
    const present = this.#session;
    if (this.#stopped || this.#incoming || !this.isUp || dialer?.openAnew === undefined) return;
    present?.leave(() => {
      if (this.#stopped || this.#session !== present) return;
      const session = this.#make();
      this.#next = session;
      session.start(dialer.openAnew!('control', session.events));
      session.greet();
    });
  }

  /** The present connection stays. */
  #notRotated(failure: Failure): void {
    this.#next = undefined;
    if (this.#stopped) return;
    const nextMs = this.#rotation.again();
    const level = reasons[failure.reason].retry === 'park' ? 'warn' : 'info';
    this.#log[level]('rotation-failed', { ...failure, nextMs });
  }

  /** The control stream moves to the new connection, and what the old one still carries follows. */
  #takeOver(session: ControlSession): void {
    const old = this.#session;
    this.#next = undefined;
    this.#planned = session;
    this.#session = session;
    old?.finish(rotated);
  }

  #make(): ControlSession {
    const session: ControlSession = new ControlSession({
      greeting: this.#options.greeting,
      greeted: (greeting) => {
        // One that waits for the own attempt has said who it is, and goes on waiting.
        if (session === this.#candidate && this.isUp) this.#admit(session, greeting);
        else if (session === this.#candidate) this.#waiting = greeting;
        else if (session === this.#next) this.#takeOver(session);
        if (session === this.#session) this.#greeted(greeting);
      },
      declaration: (declaration) => {
        if (session === this.#session) this.#options.declaration(declaration);
      },
      verdicts: (verdicts) => {
        if (session === this.#session) this.#options.verdicts(verdicts);
      },
      verify: (frame) => {
        if (session === this.#session) this.#options.verify(frame);
      },
      measured: (measure) => {
        if (session === this.#session) this.#measure = measure;
      },
      ended: (failure) => {
        if (session === this.#candidate) this.#dropCandidate();
        if (session === this.#next) this.#notRotated(failure);
        if (session === this.#session) this.#ended(failure);
      },
    });
    return session;
  }

  /** A daemon that has greeted while one is connected: it takes the place of that one, or is refused. */
  #admit(session: ControlSession, { node }: Greeting): void {
    const present = this.#greeting!.node;
    if (present === node) {
      // Where both dial, and the own connection is there: that one stays.
      if (!this.#incoming && this.#options.self < this.cluster)
        session.finish({ reason: 'superseded', detail: `${this.#options.self} dials and is connected` });
      else this.#promote(session);
      return;
    }
    if (!this.#rivals.wasOusted(node)) {
      this.#rivals.oust(present);
      this.#promote(session);
      return;
    }
    const { failure, news } = this.#rivals.refuse(present, node);
    if (news) this.#log.warn('name-taken', { ...failure });
    session.finish(failure);
  }

  #dropCandidate(): void {
    this.#candidate = undefined;
    this.#waiting = undefined;
    clearTimeout(this.#precedence);
  }

  /** Makes an incoming session the present one. */
  #promote(session: ControlSession): void {
    const old = this.#session;
    const next = this.#next;
    const greeting = this.#waiting;
    this.#dropCandidate();
    this.#next = undefined;
    if (old?.isLeft === true) this.#planned = session;
    this.#session = session;
    this.#incoming = true;
    clearTimeout(this.#timer);
    this.#rotation.stop();
    this.#nextTryMs = undefined;
    next?.finish(superseded);
    old?.finish(this.#planned === session ? rotated : superseded);
    session.greet();
    if (greeting !== undefined) this.#greeted(greeting);
  }

  #greeted(greeting: Greeting): void {
    const { node, software } = greeting;
    const present = this.#greeting?.node;
    const planned = this.#planned === this.#session && present === node;
    this.#planned = undefined;
    // What another daemon still carries ends here, before anything of this one begins.
    if (present !== undefined && present !== node)
      this.#options.changed(false, { reason: 'superseded', detail: `${node} has taken over from ${present}` });
    this.#rivals.connected(node);
    this.#greeting = greeting;
    this.#failure = undefined;
    this.#backoff.up(performance.now());
    if (!this.#incoming) this.#rotation.start();
    if (planned) {
      this.#rotations++;
      this.#log.debug('rotated', { node, address: this.#address() });
      this.#options.rotated();
    } else {
      this.#sinceMs = Date.now();
      this.#log.info('peer-connected', { node, software, address: this.#address() });
      this.#options.changed(true, undefined);
    }
    // Where both dial, the own attempt has come through.
    this.#candidate?.finish({ reason: 'superseded', detail: `${this.#options.self} dials and is connected` });
  }

  #ended(failure: Failure): void {
    const next = this.#next;
    this.#next = undefined;
    if (next !== undefined && (failure.reason === 'rotated' || failure.reason === 'superseded')) {
      // The peer has taken the new one, and its greeting is on the way.
      this.#planned = next;
      this.#session = next;
      return;
    }
    const wasUp = this.isUp;
    if (wasUp) this.#lastSeenMs = Date.now();
    // One that should have taken over is the next attempt.
    this.#session = next;
    this.#planned = undefined;
    this.#rotation.stop();
    this.#greeting = undefined;
    this.#measure = undefined;
    if (wasUp || this.#failure === undefined) this.#sinceMs = Date.now();
    const level = reasons[failure.reason].retry === 'park' ? 'warn' : 'info';
    if (!this.#stopped && (wasUp || this.#failure?.reason !== failure.reason))
      this.#log[level]('peer-disconnected', { ...failure });
    this.#failure = failure;
    // Beats stand for the whole connection. A new call over it would only wait, too.
    if (failure.reason === 'peer-silent') this.#options.dialer?.abandon(failure);
    const waitMs = this.#backoff.down(failure, performance.now());
    if (wasUp) this.#options.left();
    this.#options.changed(false, failure);
    if (this.#candidate !== undefined) this.#promote(this.#candidate);
    else if (next === undefined) this.#dial(waitMs);
  }

  #address(): string | undefined {
    const address = this.#options.dialer?.address;
    return address && endpointText(address);
  }

  status(): PeerStatus {
    const { plan, group } = this.#options;
    const address = this.#address();
    const greeting = this.#greeting;
    const failure = this.#rivals.shown(greeting?.node) ?? this.#failure;
    const lastSeenMs = this.lastSeenMs;
    const dials = this.#options.dialer === undefined ? 'dials-us' : 'we-dial';
    return {
      peer: this.cluster,
      connected: this.isUp,
      direction: plan.nats === undefined ? dials : 'served-here',
      sinceMs: this.#sinceMs,
      rotationsTotal: this.#rotations,
      ...(group === undefined ? {} : { group }),
      ...(lastSeenMs === undefined ? {} : { lastSeenMs }),
      ...(address === undefined ? {} : { address }),
      ...(failure === undefined ? {} : { reason: failure.reason, detail: failure.detail }),
      ...(this.#nextTryMs === undefined ? {} : { nextTryMs: this.#nextTryMs }),
      ...(this.#measure ?? {}),
      ...greetedStatus(greeting, this.#session?.channel?.peer.notAfterMs),
    };
  }
}
