import { type Failure, failureFrom } from '../wire/reasons.ts';
import type { Channel, ChannelEnd, ChannelEvents, Method, PeerIdentity } from './channel.ts';

/** gRPC is handed this much at a time; the rest waits in our own outbox, where it is counted in bytes. */
const maxHandedFrames = 4;
const maxHandedBytes = 1024 * 1024;

/** What a channel needs of the gRPC call under it. Each may be called at any time, and does nothing on a call that is over. */
export interface CallPort {
  /** `taken` is called, asynchronously, once HTTP/2 has taken the frame; never if the call dies first. */
  write(frame: Buffer, taken: () => void): void;
  pause(): void;
  resume(): void;
  /** Ends our direction when everything written has been taken. */
  finish(): void;
  /** Kills the call without sending anything more. */
  reset(): void;
  /** Ends the call with a status that carries the reason, where this end can. */
  refuse(failure: Failure): void;
}

interface Queued {
  readonly frame: Buffer;
  readonly onTaken: (() => void) | undefined;
}

/** A Channel over a call of either end. The call may come later, or never: until then frames wait in the outbox. */
export class GrpcChannel implements Channel {
  readonly method: Method;
  readonly #onEnded: () => void;
  #peer: PeerIdentity;
  #events: ChannelEvents | undefined;
  #port: CallPort | undefined;
  #cancelOpening: (() => void) | undefined;
  #state: 'open' | 'ending' | 'finishing' | 'ended' = 'open';
  #end: ChannelEnd | undefined;
  #paused = false;
  #outbox: Queued[] = [];
  /** Index of the first frame in the outbox that gRPC was not handed. */
  #next = 0;
  #queuedBytes = 0;
  #handedFrames = 0;
  #handedBytes = 0;

  /** `onEnded` is for the bookkeeping of the dialer or listener; it comes before the owner's `ended`. */
  constructor(method: Method, peer: PeerIdentity, onEnded: () => void) {
    this.method = method;
    this.#peer = peer;
    this.#onEnded = onEnded;
  }

  get peer(): PeerIdentity {
    return this.#peer;
  }

  get queuedBytes(): number {
    return this.#queuedBytes;
  }

  get isEnded(): boolean {
    return this.#state === 'ended';
  }

  /** The call is there. */
  get isConnected(): boolean {
    return this.#port !== undefined;
  }

  send(frame: Buffer, onTaken?: () => void): void {
    if (this.#state !== 'open') return;
    this.#outbox.push({ frame, onTaken });
    this.#queuedBytes += frame.length;
    this.#pump();
  }

  pause(): void {
    if (this.#state !== 'open') return;
    this.#paused = true;
    this.#port?.pause();
  }

  resume(): void {
    this.#paused = false;
    this.#port?.resume();
  }

  end(): void {
    if (this.#state !== 'open') return;
    this.#state = 'ending';
    // The other side's answer to the end stands behind what it sent before.
    this.resume();
    this.#pump();
  }

  abort(failure: Failure): void {
    if (this.#settle({ failure })) this.#port?.reset();
  }

  /** Ends now and tells the other side why, where this end can. */
  cut(failure: Failure): void {
    if (this.#settle({ failure })) this.#port?.refuse(failure);
  }

  /** Says whom to tell. An end that came before is told now. */
  attach(events: ChannelEvents): void {
    this.#events = events;
    if (this.#end !== undefined) this.#tellEnded(events, this.#end);
  }

  /** A call is being made; `cancel` gives it up if the channel ends first. */
  opening(cancel: () => void): void {
    this.#cancelOpening = cancel;
  }

  /** The call is there and the other side is who it should be. */
  connect(port: CallPort, peer: PeerIdentity): void {
    this.#port = port;
    this.#peer = peer;
    if (this.#paused) port.pause();
    this.#pump();
  }

  /** A frame has come. */
  received(frame: Buffer): void {
    if (this.#state === 'ended') return;
    this.#guard(() => this.#events?.frame(frame));
  }

  /** The call is over, well unless there is a failure. */
  over(failure?: Failure): void {
    this.#settle(failure === undefined ? {} : { failure });
  }

  #pump(): void {
    const port = this.#port;
    if (port === undefined) return;
    while (this.#next < this.#outbox.length && this.#state !== 'ended') {
      const queued = this.#outbox[this.#next]!;
      const { length } = queued.frame;
      const fits = this.#handedFrames < maxHandedFrames && this.#handedBytes + length <= maxHandedBytes;
      if (!fits && this.#handedFrames > 0) break;
      this.#next += 1;
      this.#handedFrames += 1;
      this.#handedBytes += length;
      port.write(queued.frame, () => this.#taken(queued));
    }
    // Forgets in whole stretches: moving the rest down for each frame would be quadratic.
    if (this.#next === this.#outbox.length || this.#next >= 1024) {
      this.#outbox = this.#outbox.slice(this.#next);
      this.#next = 0;
    }
    if (this.#state === 'ending' && this.#outbox.length === 0) {
      this.#state = 'finishing';
      port.finish();
    }
  }

  #taken(queued: Queued): void {
    if (this.#state === 'ended') return;
    const { length } = queued.frame;
    this.#handedFrames -= 1;
    this.#handedBytes -= length;
    this.#queuedBytes -= length;
    this.#pump();
    if (queued.onTaken !== undefined) this.#guard(queued.onTaken);
  }

  #settle(end: ChannelEnd): boolean {
    if (this.#state === 'ended') return false;
    this.#state = 'ended';
    this.#end = end;
    this.#outbox = [];
    this.#next = 0;
    this.#queuedBytes = 0;
    // What still comes is read and dropped, so that the call can close.
    if (this.#port === undefined) this.#cancelOpening?.();
    else this.#port.resume();
    this.#onEnded();
    if (this.#events !== undefined) this.#tellEnded(this.#events, end);
    return true;
  }

  #tellEnded(events: ChannelEvents, end: ChannelEnd): void {
    queueMicrotask(() => events.ended(end));
  }

  /** A defect in the owner ends its channel, not the process. */
  #guard(call: () => void): void {
    try {
      call();
    } catch (thrown) {
      this.abort(failureFrom(thrown));
    }
  }
}
