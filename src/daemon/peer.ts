import { Backoff } from '../lane/backoff.ts';
import type { Logger } from '../lib/logger.ts';
import type { PeerStatus } from '../ops/status.ts';
import { endpointText } from '../topology/endpoint.ts';
import type { PeerPlan } from '../topology/plan.ts';
import type { Channel, ChannelEvents, Dialer } from '../transport/channel.ts';
import type { Declaration, Greeting, Verdicts } from '../wire/control.ts';
import { type Failure, reasons } from '../wire/reasons.ts';
import { ControlSession, type LineMeasure } from './control-session.ts';

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
  /** The control stream is up: time to declare; or down. */
  readonly changed: (up: boolean, failure: Failure | undefined) => void;
  /** It was connected until now. */
  readonly left: () => void;
  readonly declaration: (declaration: Declaration) => void;
  readonly verdicts: (verdicts: Verdicts) => void;
}

/** Daemons of this name that a newer one replaced: as many as are remembered. */
const maxOusted = 100;
/** An attempt of a second daemon under the name of the peer is shown for so long: it comes back every 15 seconds, if it is there. */
const rivalShownMs = 45_000;
/** Where both ends dial, the own attempt has so long before the connection of the other end is taken. */
const precedenceMs = 2000;

/** Another cluster: keeps the control stream to it, dialling if that is ours to do, and knows how it is. */
export class Peer {
  readonly #options: PeerOptions;
  readonly #backoff = new Backoff();
  readonly #log: Logger;
  #session: ControlSession | undefined;
  /** Opened by the peer while the present one is up: takes over when it has said who it is. */
  #candidate: ControlSession | undefined;
  /** What the candidate has said, while it waits for an own attempt to fail. */
  #waiting: Greeting | undefined;
  /** Nodes that another one took over from. One that comes back while the other is there is a second daemon under one name. */
  readonly #ousted = new Set<string>();
  /** The node that was last connected. */
  #lastNode: string | undefined;
  /** The node that was refused last because another one is connected. */
  #rival: { readonly node: string; readonly atMs: number } | undefined;
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

  send(frame: Declaration | Verdicts): void {
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
    this.#candidate?.finish(failure);
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

  #make(): ControlSession {
    const session: ControlSession = new ControlSession({
      greeting: this.#options.greeting,
      greeted: (greeting) => {
        // One that waits for the own attempt has said who it is, and goes on waiting.
        if (session === this.#candidate && this.isUp) this.#admit(session, greeting);
        else if (session === this.#candidate) this.#waiting = greeting;
        if (session === this.#session) this.#greeted(greeting);
      },
      declaration: (declaration) => {
        if (session === this.#session) this.#options.declaration(declaration);
      },
      verdicts: (verdicts) => {
        if (session === this.#session) this.#options.verdicts(verdicts);
      },
      measured: (measure) => {
        if (session === this.#session) this.#measure = measure;
      },
      ended: (failure) => {
        if (session === this.#candidate) this.#dropCandidate();
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
    if (!this.#ousted.has(node)) {
      this.#oust(present);
      // What the other one still carries ends here, before anything of this one begins.
      this.#options.changed(false, { reason: 'superseded', detail: `${node} has taken over from ${present}` });
      this.#promote(session);
      return;
    }
    const detail = this.#twoDaemons(present, node);
    if (this.#rival === undefined || Date.now() - this.#rival.atMs > rivalShownMs)
      this.#log.warn('name-taken', { reason: 'name-taken', detail });
    this.#rival = { node, atMs: Date.now() };
    session.finish({ reason: 'name-taken', detail });
  }

  #twoDaemons(present: string, refused: string): string {
    return `two daemons call themselves ${this.cluster}: ${present} is connected, ${refused} is refused`;
  }

  /** The second daemon that was refused lately, while the first one is connected. */
  #rivalry(): Failure | undefined {
    const present = this.#greeting?.node;
    const rival = this.#rival;
    if (present === undefined || rival === undefined || Date.now() - rival.atMs > rivalShownMs) return undefined;
    return { reason: 'name-taken', detail: this.#twoDaemons(present, rival.node) };
  }

  /** Another one has taken the place of this node: should it come back meanwhile, it is refused. */
  #oust(node: string): void {
    this.#ousted.delete(node);
    this.#ousted.add(node);
    for (const oldest of this.#ousted) if (this.#ousted.size > maxOusted) this.#ousted.delete(oldest);
  }

  #dropCandidate(): void {
    this.#candidate = undefined;
    this.#waiting = undefined;
    clearTimeout(this.#precedence);
  }

  /** Makes an incoming session the present one. */
  #promote(session: ControlSession): void {
    const old = this.#session;
    const greeting = this.#waiting;
    this.#dropCandidate();
    this.#session = session;
    this.#incoming = true;
    clearTimeout(this.#timer);
    this.#nextTryMs = undefined;
    old?.finish(superseded);
    session.greet();
    if (greeting !== undefined) this.#greeted(greeting);
  }

  #greeted(greeting: Greeting): void {
    const { node, software } = greeting;
    // One that was ousted and has come back is no restart of the one that did it: now that one would be the second.
    if (this.#lastNode !== undefined && this.#lastNode !== node && this.#ousted.has(node)) this.#oust(this.#lastNode);
    this.#lastNode = node;
    if (this.#rival?.node === node) this.#rival = undefined;
    this.#greeting = greeting;
    this.#failure = undefined;
    this.#sinceMs = Date.now();
    this.#backoff.up(performance.now());
    this.#log.info('peer-connected', { node, software, address: this.#address() });
    this.#options.changed(true, undefined);
    // Where both dial, the own attempt has come through.
    this.#candidate?.finish({ reason: 'superseded', detail: `${this.#options.self} dials and is connected` });
  }

  #ended(failure: Failure): void {
    const wasUp = this.isUp;
    if (wasUp) this.#lastSeenMs = Date.now();
    this.#session = undefined;
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
    if (this.#candidate === undefined) this.#dial(waitMs);
    else this.#promote(this.#candidate);
  }

  #address(): string | undefined {
    const address = this.#options.dialer?.address;
    return address && endpointText(address);
  }

  status(): PeerStatus {
    const { plan, group } = this.#options;
    const address = this.#address();
    const greeting = this.#greeting;
    const notAfterMs = this.#session?.channel?.peer.notAfterMs;
    const failure = this.#rivalry() ?? this.#failure;
    const lastSeenMs = this.lastSeenMs;
    const dials = this.#options.dialer === undefined ? 'dials-us' : 'we-dial';
    return {
      peer: this.cluster,
      connected: this.isUp,
      direction: plan.nats === undefined ? dials : 'served-here',
      sinceMs: this.#sinceMs,
      ...(group === undefined ? {} : { group }),
      ...(lastSeenMs === undefined ? {} : { lastSeenMs }),
      ...(address === undefined ? {} : { address }),
      ...(failure === undefined ? {} : { reason: failure.reason, detail: failure.detail }),
      ...(this.#nextTryMs === undefined ? {} : { nextTryMs: this.#nextTryMs }),
      ...(this.#measure ?? {}),
      ...(greeting === undefined
        ? {}
        : {
            software: greeting.software,
            node: greeting.node,
            file: greeting.file,
            fileHash: greeting.fileHash,
            generation: greeting.generation,
          }),
      ...(greeting === undefined || !notAfterMs || !Number.isFinite(notAfterMs)
        ? {}
        : { certificateNotAfterMs: notAfterMs }),
    };
  }
}
