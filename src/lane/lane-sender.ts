import type { MemoryShare } from '../lib/memory-budget.ts';
import type { BatchBuilder } from '../wire/batch.ts';
import type { Frame, Opening } from '../wire/frame.ts';
import { formatPosition, type Position } from '../wire/position.ts';
import type { Failure, Reason } from '../wire/reasons.ts';

/** Why a session finishes what is in flight: the own daemon stops, or the lane moves to another connection. */
export type DrainReason = 'draining' | 'rotated';

export type SenderEvent =
  | { readonly type: 'batch'; readonly batch: BatchBuilder }
  | { readonly type: 'gap'; readonly after: Position; readonly upTo: Position; readonly reason: Reason }
  | { readonly type: 'source-failed'; readonly failure: Failure }
  /** HTTP/2 has taken a frame of so many bytes. */
  | { readonly type: 'taken'; readonly bytes: number; readonly nowMs: number }
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
}

/**
 * The sending end of one session of a lane, after the handshake. Pulls from its source no more than the receiver's credit
 * and the own outbox allow (I5), and settles the source only up to what the receiver acknowledged as stored (I1).
 */
export class LaneSender {
  readonly #epoch: number;
  readonly #outbox: MemoryShare;
  #creditLimit: number;
  #sentBytes = 0;
  #queuedBytes = 0;
  #frame = 0;
  #allowed = -1;
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
        if (this.#state === 'open') this.#onBatch(event.batch);
        break;
      case 'gap':
        if (this.#state === 'open') {
          this.#frame++;
          this.#reach(event.upTo);
          const { after, upTo, reason } = event;
          this.#effects.push({
            type: 'send',
            frame: { kind: 'gap', epoch: this.#epoch, frame: this.#frame, stripe: 0, after, upTo, reason },
          });
        }
        break;
      case 'source-failed':
        this.#close(event.failure);
        break;
      case 'taken':
        this.#queuedBytes -= event.bytes;
        this.#outbox.hold(this.#queuedBytes);
        this.#outbox.passed(event.bytes, event.nowMs);
        this.#pull();
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

  #onBatch(batch: BatchBuilder): void {
    this.#frame++;
    this.#sentBytes += batch.rawBytes;
    this.#queuedBytes += batch.rawBytes;
    this.#outbox.hold(this.#queuedBytes);
    this.#reach({ incarnation: batch.incarnation, sequence: batch.lastSequence });
    this.#effects.push({ type: 'send-batch', batch, frame: this.#frame });
    this.#pull();
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
        this.#creditLimit = Math.max(this.#creditLimit, frame.creditLimit);
        if (frame.stored !== undefined) {
          this.#stored = frame.stored;
          this.#effects.push({ type: 'settle', position: frame.stored });
        }
        if (this.#state === 'draining') this.#finishIfDone();
        else this.#pull();
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

  #pull(): void {
    if (this.#state !== 'open') return;
    const bytes = Math.max(0, Math.min(this.creditBytes, this.#outbox.windowBytes - this.#queuedBytes));
    if (bytes === this.#allowed) return;
    this.#allowed = bytes;
    this.#effects.push({ type: 'pull', bytes });
  }

  #drain(reason: DrainReason): void {
    if (this.#state !== 'open') return;
    this.#state = 'draining';
    this.#drainReason = reason;
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
