import { Backoff } from '../lane/backoff.ts';
import type { Logger } from '../lib/logger.ts';
import type { PeerStatus } from '../ops/status.ts';
import type { PeerPlan } from '../topology/plan.ts';
import type { Channel, ChannelEvents, Dialer } from '../transport/channel.ts';
import type { Declaration, Greeting, Verdicts } from '../wire/control.ts';
import { type Failure, reasons } from '../wire/reasons.ts';
import { ControlSession, type LineMeasure } from './control-session.ts';

export interface PeerOptions {
  readonly plan: PeerPlan;
  /** The own cluster. */
  readonly self: string;
  /** Present if this daemon dials the peer. */
  readonly dialer: Dialer | undefined;
  readonly greeting: () => Omit<Greeting, 'kind' | 'minVersion' | 'maxVersion' | 'beatMs'>;
  readonly log: Logger;
  /** The control stream is up: time to declare; or down. */
  readonly changed: (up: boolean, failure: Failure | undefined) => void;
  readonly declaration: (declaration: Declaration) => void;
  readonly verdicts: (verdicts: Verdicts) => void;
}

/** Another cluster: keeps the control stream to it, dialling if that is ours to do, and knows how it is. */
export class Peer {
  readonly #options: PeerOptions;
  readonly #backoff = new Backoff();
  readonly #log: Logger;
  #session: ControlSession | undefined;
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
   * The peer opened a control stream. A newer one takes over from an older one; where both ends dial, the connection of the
   * lower name stays.
   */
  accept(channel: Channel): ChannelEvents | Failure {
    if (this.isUp && !this.#incoming && this.#options.self < this.cluster)
      return { reason: 'superseded', detail: `${this.#options.self} dials and is connected` };
    clearTimeout(this.#timer);
    this.#nextTryMs = undefined;
    this.#session?.finish({ reason: 'superseded', detail: 'the peer opened a newer control stream' });
    clearTimeout(this.#timer);
    this.#incoming = true;
    return this.#begin((session) => session.start(channel)).events;
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

  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#timer);
    this.#session?.finish({ reason: 'draining', detail: 'the daemon stops' });
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
      this.#begin((session) => session.start(dialer.open('control', session.events)));
    }, waitMs);
  }

  #begin(start: (session: ControlSession) => void): ControlSession {
    const session: ControlSession = new ControlSession({
      greeting: this.#options.greeting(),
      greeted: (greeting) => {
        if (this.#session !== session) return;
        this.#greeting = greeting;
        this.#failure = undefined;
        this.#sinceMs = Date.now();
        this.#backoff.up(performance.now());
        this.#log.info('peer-connected', {
          node: greeting.node,
          software: greeting.software,
          address: this.#address(),
        });
        this.#options.changed(true, undefined);
      },
      declaration: (declaration) => this.#options.declaration(declaration),
      verdicts: (verdicts) => this.#options.verdicts(verdicts),
      measured: (measure) => {
        this.#measure = measure;
      },
      ended: (failure) => {
        if (this.#session === session) this.#ended(failure);
      },
    });
    this.#session = session;
    start(session);
    return session;
  }

  #ended(failure: Failure): void {
    const wasUp = this.isUp;
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
    this.#dial(this.#backoff.down(failure, performance.now()));
    this.#options.changed(false, failure);
  }

  #address(): string | undefined {
    const address = this.#options.dialer?.address;
    return address && `${address.host}:${address.port}`;
  }

  status(): PeerStatus {
    const address = this.#address();
    const greeting = this.#greeting;
    const notAfterMs = this.#session?.channel?.peer.notAfterMs;
    return {
      peer: this.cluster,
      connected: this.isUp,
      direction: this.#options.dialer === undefined ? 'dials-us' : 'we-dial',
      sinceMs: this.#sinceMs,
      ...(address === undefined ? {} : { address }),
      ...(this.#failure === undefined ? {} : { reason: this.#failure.reason, detail: this.#failure.detail }),
      ...(this.#nextTryMs === undefined ? {} : { nextTryMs: this.#nextTryMs }),
      ...(this.#measure ?? {}),
      ...(greeting === undefined
        ? {}
        : {
            software: greeting.software,
            node: greeting.node,
            fileHash: greeting.fileHash,
            generation: greeting.generation,
          }),
      ...(greeting === undefined || !notAfterMs ? {} : { certificateNotAfterMs: notAfterMs }),
    };
  }
}
