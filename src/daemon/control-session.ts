import { negotiate } from '../lane/lane-receiver.ts';
import type { Channel, ChannelEvents } from '../transport/channel.ts';
import {
  type ControlFrame,
  type Declaration,
  decodeControl,
  encodeControl,
  type Greeting,
  type Verdicts,
} from '../wire/control.ts';
import { protocolVersions } from '../wire/frame.ts';
import { type Failure, failureFrom } from '../wire/reasons.ts';
import type { VerifyFrame } from '../wire/verify.ts';

/** A beat is sent this often, per connection and not per lane. */
const beatMs = 5000;
/** Without a frame for so many of the peer's beats, the peer is silent. */
const missedBeats = 3;
const greetingTimeoutMs = 10_000;

/**
 * Declarations and verdicts that a peer may send within a period. Each is judged, answered and kept: a flood of them is work without end.
 * A reload a second, which is more than anybody can want, sends one or two of each.
 */
const maxDeclarations = 600;
const declarationsPeriodMs = 60_000;

/** Round trip and clocks, measured by beats. */
export interface LineMeasure {
  readonly rttMs: number;
  /** The peer's wall clock minus ours: for labels only. */
  readonly clockOffsetMs: number;
}

export interface ControlSessionOptions {
  readonly greeting: () => Omit<Greeting, 'kind' | 'minVersion' | 'maxVersion' | 'beatMs'>;
  readonly greeted: (greeting: Greeting) => void;
  readonly declaration: (declaration: Declaration) => void;
  readonly verdicts: (verdicts: Verdicts) => void;
  readonly verify: (frame: VerifyFrame) => void;
  readonly measured: (measure: LineMeasure) => void;
  /** Exactly once. */
  readonly ended: (failure: Failure) => void;
}

/** The control stream of one peer connection, the same for the dialling and the accepting end. */
export class ControlSession {
  readonly #options: ControlSessionOptions;
  #channel: Channel | undefined;
  #greeting: Greeting | undefined;
  #heardMs = performance.now();
  #echo: { readonly sentMs: number; readonly atMs: number } | undefined;
  #timer: NodeJS.Timeout | undefined;
  #hasGreeted = false;
  /** The own greeting is on its way. */
  #isOpen = false;
  #declarations = 0;
  #declarationsSinceMs = performance.now();
  #over = false;
  /** Of the newest own beat. */
  #sentMs = 0;
  /** The peer was told that a new connection comes, in front of the beat of this time. */
  #leaving: { readonly sentMs: number; readonly heard: () => void } | undefined;
  #isLeft = false;
  /** The peer waits for the echo of its next beat. */
  #owesEcho = false;

  constructor(options: ControlSessionOptions) {
    this.#options = options;
  }

  get channel(): Channel | undefined {
    return this.#channel;
  }

  /** The peer has said that it is about to move to a new connection. */
  get isLeft(): boolean {
    return this.#isLeft;
  }

  /** What the channel shall tell. */
  readonly events: ChannelEvents = {
    frame: (bytes) => {
      if (this.#over) return;
      this.#heardMs = performance.now();
      try {
        const frame = decodeControl(bytes);
        if (frame !== undefined) this.#onFrame(frame);
      } catch (error) {
        this.finish(failureFrom(error));
      }
    },
    ended: (end) =>
      this.#ended(end.failure ?? { reason: 'connection-lost', detail: 'the peer ended the control stream' }),
  };

  /** Takes the channel. Nothing is said over it before `greet`. */
  start(channel: Channel): void {
    this.#channel = channel;
    this.#timer = setInterval(() => this.#beat(), beatMs);
    this.#timer.unref();
  }

  /** Says who we are: at once where we dial, and where we accept, as soon as the other end is wanted. */
  greet(): void {
    if (this.#hasGreeted) return;
    this.#hasGreeted = true;
    const { min: minVersion, max: maxVersion } = protocolVersions;
    const frame = { kind: 'greeting', minVersion, maxVersion, beatMs, ...this.#options.greeting() } as const;
    // From here on an answer is due. Before, the channel is still being opened, and says itself when that fails.
    this.send(frame, () => {
      this.#isOpen = true;
      this.#heardMs = performance.now();
    });
  }

  send(frame: ControlFrame, onTaken?: () => void): void {
    if (!this.#over) this.#channel?.send(encodeControl(frame), onTaken);
  }

  /**
   * Tells the peer that a new connection is about to take over; `heard` is called when the peer has answered, so that it takes the new one
   * for that, however far behind this one is.
   */
  leave(heard: () => void): void {
    this.send({ kind: 'drain', reason: 'rotated' });
    this.#beat();
    this.#leaving = { sentMs: this.#sentMs, heard };
  }

  /** Ends, telling the peer why. */
  finish(failure: Failure): void {
    if (this.#over) return;
    const { reason, detail, retryAfterMs = 0 } = failure;
    this.send({ kind: 'goodbye', reason, detail, retryAfterMs });
    this.#channel?.end();
    this.#ended(failure);
  }

  #onFrame(frame: ControlFrame): void {
    if (this.#greeting === undefined && frame.kind !== 'greeting' && frame.kind !== 'goodbye') {
      this.finish({ reason: 'bad-frame', detail: `${frame.kind} before the greeting` });
      return;
    }
    switch (frame.kind) {
      case 'greeting': {
        if (this.#greeting !== undefined) {
          this.finish({ reason: 'bad-frame', detail: 'a second greeting' });
          return;
        }
        const version = negotiate(frame.minVersion, frame.maxVersion);
        if (typeof version !== 'number') {
          this.finish(version);
          return;
        }
        this.#greeting = frame;
        this.#options.greeted(frame);
        this.#beat();
        return;
      }
      case 'declaration':
        if (!this.#isFlood()) this.#options.declaration(frame);
        return;
      case 'verdicts':
        if (!this.#isFlood()) this.#options.verdicts(frame);
        return;
      case 'verify':
        this.#options.verify(frame);
        return;
      case 'beat':
        this.#onBeat(frame.sentMs, frame.echoMs, frame.heldMs, frame.wallMs);
        return;
      case 'drain':
        // If the peer's daemon stops, its lanes finish by themselves, and its Goodbye follows.
        this.#isLeft = frame.reason === 'rotated';
        this.#owesEcho = this.#isLeft;
        return;
      case 'goodbye':
        this.#channel?.end();
        this.#ended({ reason: frame.reason, detail: frame.detail, retryAfterMs: frame.retryAfterMs });
    }
  }

  #isFlood(): boolean {
    const nowMs = performance.now();
    if (nowMs - this.#declarationsSinceMs > declarationsPeriodMs) {
      this.#declarationsSinceMs = nowMs;
      this.#declarations = 0;
    }
    this.#declarations++;
    if (this.#declarations <= maxDeclarations) return false;
    const seconds = declarationsPeriodMs / 1000;
    this.finish({
      reason: 'overloaded',
      detail: `the peer sent more than ${maxDeclarations} declarations and verdicts within ${seconds} s`,
      retryAfterMs: declarationsPeriodMs,
    });
    return true;
  }

  #onBeat(sentMs: number, echoMs: number, heldMs: number, wallMs: number): void {
    const nowMs = Math.round(performance.now());
    const first = this.#echo === undefined;
    this.#echo = { sentMs, atMs: nowMs };
    // An answer to the peer's first beat gives it a round trip without waiting for our next one.
    if (first || this.#owesEcho) this.#beat();
    this.#owesEcho = false;
    if (echoMs === 0) return;
    const rttMs = Math.max(0, nowMs - echoMs - heldMs);
    this.#options.measured({ rttMs, clockOffsetMs: wallMs + rttMs / 2 - Date.now() });
    const leaving = this.#leaving;
    if (leaving === undefined || echoMs < leaving.sentMs) return;
    this.#leaving = undefined;
    leaving.heard();
  }

  #beat(): void {
    if (this.#hasGreeted && !this.#isOpen && this.#greeting === undefined) return;
    const nowMs = performance.now();
    const silence = (this.#greeting?.beatMs ?? beatMs) * missedBeats;
    if (nowMs - this.#heardMs > (this.#greeting === undefined ? greetingTimeoutMs : Math.max(silence, beatMs))) {
      this.#channel?.abort({ reason: 'peer-silent', detail: 'no beat from the peer in time' });
      this.#ended({ reason: 'peer-silent', detail: 'no beat from the peer in time' });
      return;
    }
    if (!this.#hasGreeted) return;
    // Two beats of one millisecond are told apart.
    this.#sentMs = Math.max(this.#sentMs + 1, Math.round(nowMs));
    this.send({
      kind: 'beat',
      sentMs: this.#sentMs,
      echoMs: this.#echo?.sentMs ?? 0,
      heldMs: this.#echo === undefined ? 0 : Math.round(nowMs - this.#echo.atMs),
      wallMs: Date.now(),
    });
  }

  #ended(failure: Failure): void {
    if (this.#over) return;
    this.#over = true;
    clearInterval(this.#timer);
    this.#options.ended(failure);
  }
}
