import type { MemoryShare } from '../lib/memory-budget.ts';
import type { InBatch } from '../wire/batch.ts';
import { type Ack, type Frame, type Gap, protocolVersions } from '../wire/frame.ts';
import { formatPosition, type Position, samePosition } from '../wire/position.ts';
import type { Failure } from '../wire/reasons.ts';
import type { DrainReason } from './lane-sender.ts';

export type ReceiverEvent =
  | { readonly type: 'frame'; readonly frame: Frame }
  /** The sink holds everything up to `position`; `bytes` of batches were on that way. */
  | { readonly type: 'stored'; readonly position: Position; readonly bytes: number; readonly nowMs: number }
  | { readonly type: 'refused'; readonly failure: Failure }
  /** Tell the sender to finish, for this reason. */
  | { readonly type: 'drain'; readonly reason: DrainReason };

export type ReceiverEffect =
  | { readonly type: 'append'; readonly batch: InBatch }
  | { readonly type: 'append-gap'; readonly gap: Gap }
  | { readonly type: 'send'; readonly frame: Exclude<Frame, { kind: 'batch' }> }
  | { readonly type: 'close'; readonly failure?: Failure };

export interface LaneReceiverOptions {
  readonly epoch: number;
  readonly cursor: Position | undefined;
  /** Its window is what may be on its way and not yet stored. */
  readonly memory: MemoryShare;
  /** Size of a batch. A sender that has credit left, however little, sends a whole one. */
  readonly batchBytes: number;
  /** What the sender was told in the opening: the credit by the same window. */
  readonly creditLimit: number;
}

/** So much credit that what a sender makes of it stays within the window. */
export function creditBytes({ windowBytes }: MemoryShare, batchBytes: number): number {
  return Math.max(1, windowBytes - batchBytes);
}

/**
 * The receiving end of one session of a lane, after the handshake. Checks that what arrives follows on what came before
 * (I2) and stays within the credit (I5), hands it to the sink's writer, and acknowledges what is stored (I1).
 */
export class LaneReceiver {
  readonly #epoch: number;
  readonly #memory: MemoryShare;
  readonly #batchBytes: number;
  /** Where the next frame has to follow on. */
  #received: Position | undefined;
  #stored: Position | undefined;
  #frame = 0;
  #receivedBytes = 0;
  #storedBytes = 0;
  #creditLimit: number;
  #open = true;

  constructor(options: LaneReceiverOptions) {
    this.#epoch = options.epoch;
    this.#received = options.cursor;
    this.#stored = options.cursor;
    this.#memory = options.memory;
    this.#creditLimit = options.creditLimit;
    this.#batchBytes = options.batchBytes;
  }

  /** Bytes received in this session. */
  get arrivedBytes(): number {
    return this.#receivedBytes;
  }

  /** Bytes received and not yet stored. */
  get inFlightBytes(): number {
    return this.#receivedBytes - this.#storedBytes;
  }

  /** The acknowledgement as of now; the driver sends one after each burst of `stored`. */
  ack(): Omit<Ack, 'arrivedMs'> {
    this.#creditLimit = Math.max(this.#creditLimit, this.#storedBytes + creditBytes(this.#memory, this.#batchBytes));
    this.#hold();
    return {
      kind: 'ack',
      epoch: this.#epoch,
      stored: this.#stored,
      creditLimit: this.#creditLimit,
      arrivedBytes: this.#receivedBytes,
    };
  }

  step(event: ReceiverEvent): readonly ReceiverEffect[] {
    if (!this.#open) return [];
    switch (event.type) {
      case 'frame':
        return this.#onFrame(event.frame);
      case 'stored':
        this.#storedBytes += event.bytes;
        this.#stored = event.position;
        this.#hold();
        if (event.bytes > 0) this.#memory.passed(event.bytes, event.nowMs);
        return [];
      case 'refused':
        return this.#close(event.failure);
      case 'drain':
        return [{ type: 'send', frame: { kind: 'drain', reason: event.reason } }];
    }
  }

  #onFrame(frame: Frame): readonly ReceiverEffect[] {
    switch (frame.kind) {
      case 'batch':
        return this.#onBatch(frame.batch);
      case 'gap':
        return this.#onGap(frame);
      case 'drain':
        // The sender has nothing more to send and waits for its acknowledgements.
        return [];
      case 'goodbye':
        this.#open = false;
        return [
          { type: 'close', failure: { reason: frame.reason, detail: frame.detail, retryAfterMs: frame.retryAfterMs } },
        ];
      case 'hello':
      case 'welcome':
      case 'ack':
        return this.#close({ reason: 'bad-frame', detail: `${frame.kind} in the middle of a session` });
    }
  }

  #onBatch(batch: InBatch): readonly ReceiverEffect[] {
    const wrong = this.#order(batch.epoch, batch.frame, batch.stripe);
    if (wrong !== undefined) return this.#close(wrong);
    const after = { incarnation: batch.incarnation, sequence: batch.firstSequence - 1 };
    if (this.#received !== undefined && !samePosition(this.#received, after)) {
      return this.#close({
        reason: 'bad-frame',
        detail: `batch follows ${formatPosition(after)}, not ${formatPosition(this.#received)}`,
      });
    }
    if (this.#receivedBytes >= this.#creditLimit) {
      return this.#close({
        reason: 'credit-exceeded',
        detail: `${this.#receivedBytes} bytes sent of ${this.#creditLimit} allowed`,
      });
    }
    this.#received = { incarnation: batch.incarnation, sequence: batch.lastSequence };
    this.#receivedBytes += batch.packed.length;
    this.#hold();
    return [{ type: 'append', batch }];
  }

  /** What the sender may still send counts as what is here (I5). */
  #hold(): void {
    const mayCome = this.#creditLimit - 1 + this.#batchBytes;
    this.#memory.hold(Math.max(mayCome, this.#receivedBytes) - this.#storedBytes);
  }

  #onGap(gap: Gap): readonly ReceiverEffect[] {
    const wrong = this.#order(gap.epoch, gap.frame, gap.stripe);
    if (wrong !== undefined) return this.#close(wrong);
    if (!samePosition(this.#received, gap.after)) {
      return this.#close({ reason: 'bad-frame', detail: `gap follows ${formatPosition(gap.after)}` });
    }
    this.#received = gap.upTo;
    return [{ type: 'append-gap', gap }];
  }

  #order(epoch: number, frame: number, stripe: number): Failure | undefined {
    if (epoch !== this.#epoch) return { reason: 'superseded', detail: `epoch ${epoch}, not ${this.#epoch}` };
    if (stripe !== 0) return { reason: 'bad-frame', detail: `stripe ${stripe} in a lane of one connection` };
    if (frame !== this.#frame + 1) return { reason: 'bad-frame', detail: `frame ${frame} after ${this.#frame}` };
    this.#frame = frame;
    return undefined;
  }

  #close(failure: Failure): readonly ReceiverEffect[] {
    this.#open = false;
    const { reason, detail, retryAfterMs = 0 } = failure;
    return [
      { type: 'send', frame: { kind: 'goodbye', reason, detail, retryAfterMs } },
      { type: 'close', failure },
    ];
  }
}

/** The version both ends speak: the highest of the overlap. */
export function negotiate(minVersion: number, maxVersion: number): number | Failure {
  const version = Math.min(maxVersion, protocolVersions.max);
  if (version >= Math.max(minVersion, protocolVersions.min)) return version;
  return {
    reason: 'version-mismatch',
    detail: `peer speaks ${minVersion} to ${maxVersion}, this daemon ${protocolVersions.min} to ${protocolVersions.max}`,
  };
}
