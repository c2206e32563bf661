import type { MemoryShare } from '../lib/memory-budget.ts';
import { BatchBuilder } from '../wire/batch.ts';
import type { Frame, Opening } from '../wire/frame.ts';
import { formatPosition, type Position } from '../wire/position.ts';
import type { Failure, Reason } from '../wire/reasons.ts';
import type { LineShare } from './line.ts';

/** Why a session finishes what is in flight: the own daemon stops, or the lane moves to another connection. */
export type DrainReason = 'draining' | 'rotated';

interface GapEvent {
  readonly type: 'gap';
  readonly after: Position;
  readonly upTo: Position;
  readonly reason: Reason;
}

export type SenderEvent =
  | { readonly type: 'batch'; readonly batch: BatchBuilder }
  | GapEvent
  | { readonly type: 'source-failed'; readonly failure: Failure }
  /** HTTP/2 has taken a frame of so many bytes. */
  | { readonly type: 'taken'; readonly bytes: number; readonly nowMs: number }
  /** It is this lane's turn on the line. */
  | { readonly type: 'turn' }
  | { readonly type: 'frame'; readonly frame: Frame }
  /** Read no more, wait for the acknowledgements, then end for this reason. */
  | { readonly type: 'drain'; readonly reason: DrainReason };

export type SenderEffect =
  /** A finished batch frame; `bytes` of it count against the credit. */
  | { readonly type: 'send-batch'; readonly batch: BatchBuilder; readonly frame: number }
  | { readonly type: 'send'; readonly frame: Exclude<Frame, { kind: 'batch' }> }
  | { readonly type: 'pull'; readonly bytes: number }
  | { readonly type: 'settle'; readonly position: Position }
  | { readonly type: 'close'; readonly failure?: Failure };

export interface LaneSenderOptions {
  /** Its window is what may be handed to the transport and not yet be taken by it. */
  readonly outbox: MemoryShare;
  /** Its part of the line; absent if the peer does not say what has arrived. What arrives is told there by the driver. */
  readonly line?: LineShare | undefined;
}

/**
 * The sending end of one session of a lane, after the handshake. Pulls from its source no more than the receiver's credit
 * and the own outbox allow (I5); what the line has no room for it holds, one batch, and reads no more. Settles the source only up to what the receiver acknowledged as stored (I1).
 */
export class LaneSender {
  readonly #epoch: number;
  readonly #outbox: MemoryShare;
  readonly #line: LineShare | undefined;
  #creditLimit: number;
  #sentBytes = 0;
  #queuedBytes = 0;
  #frame = 0;
  #allowed = -1;
  /** Read and not sent: what is left of a batch, and what came behind it. */
  readonly #held: (BatchBuilder | GapEvent)[] = [];
  #sent: Position | undefined;
  #stored: Position | undefined;
  /** How far the session came in each incarnation of the source that it saw; there are few. */
  readonly #reached = new Map<string, number>();
  #state: 'open' | 'draining' | 'closed' = 'open';
  #drainReason: DrainReason = 'draining';
  #effects: SenderEffect[] = [];

  constructor(opening: Pick<Opening, 'epoch' | 'cursor' | 'creditLimit'>, options: LaneSenderOptions) {
    this.#epoch = opening.epoch;
    this.#creditLimit = opening.creditLimit;
    this.#stored = opening.cursor;
    if (opening.cursor !== undefined) this.#reach(opening.cursor);
    this.#outbox = options.outbox;
    this.#line = options.line;
  }

  /** Bytes the receiver still allows. */
  get creditBytes(): number {
    return Math.max(0, this.#creditLimit - this.#sentBytes);
  }

  get stored(): Position | undefined {
    return this.#stored;
  }

  /** The first pull, once the source is open. */
  start(): readonly SenderEffect[] {
    this.#effects = [];
    this.#pull();
    return this.#effects;
  }

  step(event: SenderEvent): readonly SenderEffect[] {
    this.#effects = [];
    if (this.#state === 'closed') return this.#effects;
    switch (event.type) {
      case 'batch':
        this.#held.push(event.batch);
        this.#goOn();
        break;
      case 'gap':
        this.#held.push(event);
        this.#goOn();
        break;
      case 'turn':
        this.#goOn();
        break;
      case 'source-failed':
        this.#close(event.failure);
        break;
      case 'taken':
        this.#queuedBytes -= event.bytes;
        this.#hold();
        this.#outbox.passed(event.bytes, event.nowMs);
        this.#goOn();
        break;
      case 'frame':
        this.#onFrame(event.frame);
        break;
      case 'drain':
        this.#drain(event.reason);
        break;
    }
    return this.#effects;
  }

  /** Sends what it holds as far as that is allowed, and asks the source for more. */
  #goOn(): void {
    if (this.#state !== 'open') return;
    for (let next = this.#held[0]; next !== undefined; next = this.#held[0]) {
      if (!(next instanceof BatchBuilder)) {
        this.#held.shift();
        this.#sendGap(next);
        continue;
      }
      // One without a record costs nothing.
      if (next.rawBytes > 0 && !this.#maySend()) break;
      const piece = this.#line === undefined ? undefined : next.cut(this.#line.pieceBytes);
      if (piece === undefined) this.#held.shift();
      this.#sendBatch(piece ?? next);
    }
    this.#pull();
  }

  #maySend(): boolean {
    return this.#roomBytes() > 0 && this.#line?.request() !== false;
  }

  #sendBatch(batch: BatchBuilder): void {
    const { rawBytes, incarnation, lastSequence: sequence } = batch;
    this.#frame++;
    this.#sentBytes += rawBytes;
    this.#queuedBytes += rawBytes;
    if (rawBytes > 0) this.#line?.sent(rawBytes);
    this.#reach({ incarnation, sequence });
    this.#effects.push({ type: 'send-batch', batch, frame: this.#frame });
  }

  #sendGap({ after, upTo, reason }: GapEvent): void {
    this.#frame++;
    this.#reach(upTo);
    this.#effects.push({
      type: 'send',
      frame: { kind: 'gap', epoch: this.#epoch, frame: this.#frame, stripe: 0, after, upTo, reason },
    });
  }

  #onFrame(frame: Frame): void {
    switch (frame.kind) {
      case 'ack':
        if (frame.epoch !== this.#epoch) return;
        if (frame.stored !== undefined && this.#isBeyond(frame.stored)) {
          this.#close({
            reason: 'bad-frame',
            detail: `${formatPosition(frame.stored)} is acknowledged and was never sent`,
          });
          return;
        }
        if (this.#line !== undefined && frame.arrivedBytes > this.#sentBytes) {
          const detail = `${frame.arrivedBytes} bytes are said to have arrived of ${this.#sentBytes} sent`;
          this.#close({ reason: 'bad-frame', detail });
          return;
        }
        this.#creditLimit = Math.max(this.#creditLimit, frame.creditLimit);
        if (frame.stored !== undefined) {
          this.#stored = frame.stored;
          this.#effects.push({ type: 'settle', position: frame.stored });
        }
        if (this.#state === 'draining') this.#finishIfDone();
        else this.#goOn();
        return;
      case 'drain':
        this.#drain(frame.reason === 'rotated' ? 'rotated' : 'draining');
        return;
      case 'goodbye':
        this.#state = 'closed';
        this.#effects.push({
          type: 'close',
          failure: { reason: frame.reason, detail: frame.detail, retryAfterMs: frame.retryAfterMs },
        });
        return;
      case 'batch':
      case 'gap':
      case 'hello':
      case 'welcome':
        this.#close({ reason: 'bad-frame', detail: `${frame.kind} sent to a sender` });
    }
  }

  #reach(position: Position): void {
    this.#sent = position;
    this.#reached.set(position.incarnation, position.sequence);
  }

  /** Further than anything that was sent: to believe that would be to lose records. */
  #isBeyond(stored: Position): boolean {
    return stored.sequence > (this.#reached.get(stored.incarnation) ?? -1);
  }

  #roomBytes(): number {
    return Math.max(0, Math.min(this.creditBytes, this.#outbox.windowBytes - this.#queuedBytes));
  }

  /** What it has of the source's records, and the transport has not taken (I5). */
  #hold(): void {
    let heldBytes = 0;
    for (const held of this.#held) if (held instanceof BatchBuilder) heldBytes += held.rawBytes;
    this.#outbox.hold(this.#queuedBytes + heldBytes);
  }

  #pull(): void {
    if (this.#state !== 'open') return;
    const bytes = this.#held.length > 0 ? 0 : this.#roomBytes();
    this.#hold();
    if (this.#queuedBytes >= this.#outbox.windowBytes) this.#line?.refused();
    if (bytes === this.#allowed) return;
    this.#allowed = bytes;
    this.#effects.push({ type: 'pull', bytes });
  }

  #drain(reason: DrainReason): void {
    if (this.#state !== 'open') return;
    this.#state = 'draining';
    this.#drainReason = reason;
    this.#held.length = 0;
    this.#hold();
    this.#effects.push({ type: 'pull', bytes: 0 }, { type: 'send', frame: { kind: 'drain', reason } });
    this.#finishIfDone();
  }

  #finishIfDone(): void {
    const sent = this.#sent;
    const stored = this.#stored;
    const done =
      sent === undefined ||
      (stored !== undefined && stored.incarnation === sent.incarnation && stored.sequence >= sent.sequence);
    if (done) this.#close({ reason: this.#drainReason, detail: 'everything sent is stored' });
  }

  #close(failure: Failure): void {
    this.#state = 'closed';
    const { reason, detail, retryAfterMs = 0 } = failure;
    this.#effects.push(
      { type: 'send', frame: { kind: 'goodbye', reason, detail, retryAfterMs } },
      { type: 'close', failure },
    );
  }
}
