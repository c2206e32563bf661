import { type Failure, failureFrom } from '../wire/reasons.ts';
import type { Channel, ChannelEnd, ChannelEvents, Method, PeerIdentity } from './channel.ts';

export interface MemoryPairOptions {
  /** Default `exchange`. */
  readonly method?: Method;
  /** Names of the two ends. Default `left` and `right`. */
  readonly clusters?: readonly [string, string];
  readonly trustDomain?: string;
  /** What an end that does not read lets the other one send, in bytes; one frame always passes. Default 1 MiB. */
  readonly windowBytes?: number;
}

interface Queued {
  readonly frame: Buffer;
  readonly onTaken: (() => void) | undefined;
}

/**
 * Two channels joined in memory, which behave as those over gRPC do: for tests, and for lanes inside one daemon. `attach` events
 * to both; frames wait until then. Frames are passed on, not copied.
 */
export function memoryPair(options: MemoryPairOptions = {}): [MemoryChannel, MemoryChannel] {
  return MemoryChannel.pair(options);
}

/** One end of a pair. */
export class MemoryChannel implements Channel {
  readonly method: Method;
  readonly peer: PeerIdentity;
  readonly #windowBytes: number;
  #other: MemoryChannel | undefined;
  #events: ChannelEvents | undefined;
  #state: 'open' | 'ending' | 'ended' = 'open';
  #end: ChannelEnd | undefined;
  #remoteEnded = false;
  #paused = false;
  #scheduled = false;
  #outbox: Queued[] = [];
  #queuedBytes = 0;
  #inbox: Buffer[] = [];
  #inboxBytes = 0;

  private constructor(method: Method, peer: PeerIdentity, windowBytes: number) {
    this.method = method;
    this.peer = peer;
    this.#windowBytes = windowBytes;
  }

  static pair(options: MemoryPairOptions): [MemoryChannel, MemoryChannel] {
    const { method = 'exchange', clusters = ['left', 'right'], trustDomain = 'memory' } = options;
    const seenBy = (cluster: string): MemoryChannel => {
      const peer = { trustDomain, cluster, fingerprint: '', notAfterMs: Number.POSITIVE_INFINITY };
      return new MemoryChannel(method, peer, options.windowBytes ?? 1024 * 1024);
    };
    const left = seenBy(clusters[1]);
    const right = seenBy(clusters[0]);
    left.#other = right;
    right.#other = left;
    return [left, right];
  }

  get queuedBytes(): number {
    return this.#queuedBytes;
  }

  get #peerEnd(): MemoryChannel {
    return this.#other!;
  }

  attach(events: ChannelEvents): void {
    this.#events = events;
    if (this.#end !== undefined) this.#tellEnded(events, this.#end);
    this.#schedule();
  }

  send(frame: Buffer, onTaken?: () => void): void {
    if (this.#state !== 'open') return;
    this.#outbox.push({ frame, onTaken });
    this.#queuedBytes += frame.length;
    this.#schedule();
  }

  pause(): void {
    if (this.#state === 'open') this.#paused = true;
  }

  resume(): void {
    this.#paused = false;
    this.#schedule();
  }

  end(): void {
    if (this.#state !== 'open') return;
    this.#state = 'ending';
    this.resume();
  }

  abort(failure: Failure): void {
    if (!this.#settle({ failure })) return;
    const lost: Failure = { reason: 'connection-lost', detail: 'the other end of the channel was aborted' };
    setImmediate(() => this.#peerEnd.#settle({ failure: lost }));
  }

  /** Everything happens here, a turn of the event loop after it was asked for. */
  #schedule(): void {
    if (this.#scheduled || this.#state === 'ended') return;
    this.#scheduled = true;
    setImmediate(() => {
      this.#scheduled = false;
      this.#hand();
      this.#deliver();
      this.#finish();
    });
  }

  #hand(): void {
    if (this.#peerEnd.#ended()) return;
    let taken = 0;
    for (const { frame } of this.#outbox) {
      const waiting = this.#peerEnd.#inboxBytes;
      if (waiting > 0 && waiting + frame.length > this.#windowBytes) break;
      this.#peerEnd.#inbox.push(frame);
      this.#peerEnd.#inboxBytes += frame.length;
      taken += 1;
    }
    if (taken === 0) return;
    const handed = this.#outbox.slice(0, taken);
    this.#outbox = this.#outbox.slice(taken);
    this.#peerEnd.#schedule();
    for (const { frame, onTaken } of handed) {
      // An owner may abort in the middle.
      if (this.#ended()) return;
      this.#queuedBytes -= frame.length;
      if (onTaken !== undefined) this.#guard(onTaken);
    }
  }

  #deliver(): void {
    const events = this.#events;
    if (events === undefined || this.#inbox.length === 0) return;
    let delivered = 0;
    for (const frame of this.#inbox) {
      if (this.#paused || this.#ended()) break;
      delivered += 1;
      this.#inboxBytes -= frame.length;
      this.#guard(() => events.frame(frame));
    }
    if (this.#ended()) return;
    this.#inbox = this.#inbox.slice(delivered);
    this.#peerEnd.#schedule();
  }

  #finish(): void {
    if (this.#state === 'ending' && this.#outbox.length === 0 && !this.#peerEnd.#remoteEnded) {
      this.#peerEnd.#remoteEnded = true;
      this.#peerEnd.#schedule();
    }
    const flushed = this.#state === 'open' || this.#outbox.length === 0;
    if (!this.#remoteEnded || this.#inbox.length > 0 || !flushed || this.#events === undefined) return;
    if (this.#settle({})) this.#peerEnd.#settleAfterInbox();
  }

  /** The other side has seen our end. */
  #settleAfterInbox(): void {
    if (this.#state === 'ended') return;
    this.#remoteEnded = true;
    this.#outbox = [];
    this.#queuedBytes = 0;
    this.#schedule();
  }

  #settle(end: ChannelEnd): boolean {
    if (this.#state === 'ended') return false;
    this.#state = 'ended';
    this.#end = end;
    this.#outbox = [];
    this.#queuedBytes = 0;
    this.#inbox = [];
    this.#inboxBytes = 0;
    if (this.#events !== undefined) this.#tellEnded(this.#events, end);
    return true;
  }

  #ended(): boolean {
    return this.#state === 'ended';
  }

  #tellEnded(events: ChannelEvents, end: ChannelEnd): void {
    queueMicrotask(() => events.ended(end));
  }

  #guard(call: () => void): void {
    try {
      call();
    } catch (thrown) {
      this.abort(failureFrom(thrown));
    }
  }
}
