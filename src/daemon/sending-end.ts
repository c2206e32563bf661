import type { Source } from '../brokers/broker.ts';
import { BatchCompressor } from '../lane/batch-compressor.ts';
import { type DrainReason, LaneSender, type SenderEffect, type SenderEvent } from '../lane/lane-sender.ts';
import type { Line, LineShare } from '../lane/line.ts';
import type { MemoryShare } from '../lib/memory-budget.ts';
import type { Channel } from '../transport/channel.ts';
import { BatchBuilder } from '../wire/batch.ts';
import { encodeFrame, type Frame, type Opening } from '../wire/frame.ts';
import { covers, type Position, samePosition } from '../wire/position.ts';
import type { Failure, Reason } from '../wire/reasons.ts';
import type { LaneStats } from './lane-stats.ts';

/** A gap takes the other end no longer than this, unless it waits there for somebody. */
const gapAfterMs = 10_000;

interface OnTheWay {
  readonly last: Position;
  readonly records: number;
  readonly filtered: number;
  readonly sourced: number;
  readonly bytes: number;
  readonly firstMs: number;
  readonly sentMs: number;
  takenMs: number;
}

/** Drives the sending end of one session: a Source into a Channel, and the acknowledgements back. */
export class SendingEnd {
  readonly #channel: Channel;
  readonly #source: Source;
  readonly #stats: LaneStats;
  readonly #opening: Opening;
  readonly #sender: LaneSender;
  readonly #line: LineShare | undefined;
  readonly #compressor = new BatchCompressor();
  readonly #ended: (failure: Failure | undefined) => void;
  readonly #live: () => void;
  /** Sent and not yet known to be stored, oldest first. */
  readonly #onTheWay: OnTheWay[] = [];
  /** When the other end last said that something was stored, as performance.now. */
  #settledMs = 0;
  /** Where a lane that goes on stands, until the other end has heard how far the source is: it knows no lag before (I6). */
  #untold: Position | undefined;
  /** The newest gap that the other end was told of, until it has passed it. */
  #gap: { readonly upTo: Position; readonly reason: Reason; readonly sentMs: number } | undefined;
  /** Where the next batch goes on, as the other end knows it. */
  #at: Position | undefined;
  #closed = false;

  constructor(options: {
    readonly channel: Channel;
    readonly source: Source;
    readonly stats: LaneStats;
    readonly opening: Opening;
    /** For what is handed to the channel and not yet taken by HTTP/2. */
    readonly outbox: MemoryShare;
    /** To the peer; undefined if the peer does not say what has arrived. */
    readonly line: Line | undefined;
    /** The cursor is proven and records flow. */
    readonly live: () => void;
    readonly ended: (failure: Failure | undefined) => void;
  }) {
    this.#channel = options.channel;
    this.#source = options.source;
    this.#stats = options.stats;
    this.#opening = options.opening;
    this.#ended = options.ended;
    this.#live = options.live;
    this.#line = options.line?.join(() => this.#step({ type: 'turn' }));
    this.#sender = new LaneSender(options.opening, { outbox: options.outbox, line: this.#line });
  }

  /** Why the other end does not go on behind a gap that it was told of long ago. */
  get parked(): Failure | undefined {
    if (this.#gap === undefined) return undefined;
    const waitedMs = performance.now() - this.#gap.sentMs;
    if (waitedMs < gapAfterMs) return undefined;
    const detail = `the peer has not passed this gap for ${Math.floor(waitedMs / 1000)} s: it waits to be acknowledged there`;
    return { reason: this.#gap.reason, detail };
  }

  get creditBytes(): number {
    return this.#sender.creditBytes;
  }

  get inFlightBytes(): number {
    let bytes = 0;
    for (const batch of this.#onTheWay) bytes += batch.bytes;
    return bytes;
  }

  /** For how long the other end has had records, in ms, and has not said that any is stored; 0 while it has none. */
  get stalledMs(): number {
    const oldest = this.#onTheWay.find(({ records }) => records > 0);
    if (oldest === undefined || oldest.takenMs === 0) return 0;
    return performance.now() - Math.max(oldest.takenMs, this.#settledMs);
  }

  start(): void {
    this.#stats.onStored(this.#opening.cursor, Date.now());
    this.#source.open(this.#opening, {
      opened: (at) => {
        if (this.#closed) return;
        this.#stats.onStored(at, Date.now());
        this.#live();
        this.#perform(this.#sender.start());
        if (samePosition(this.#opening.cursor, at)) this.#untold = this.#at = at;
      },
      batch: (batch) => {
        this.#untold = undefined;
        this.#at = { incarnation: batch.incarnation, sequence: batch.lastSequence };
        this.#step({ type: 'batch', batch });
      },
      gap: (after, upTo, reason) => {
        this.#untold = undefined;
        this.#at = upTo;
        this.#stats.onGap(after, upTo);
        this.#gap = { upTo, reason, sentMs: performance.now() };
        this.#step({ type: 'gap', after, upTo, reason });
      },
      head: (sequence) => {
        // It was told too far, and nothing may follow for long that says otherwise.
        if (sequence < (this.#stats.head ?? 0)) this.#untold = this.#at;
        this.#stats.onHead(sequence, Date.now());
        // A gap may follow at once: then this is the head of what comes behind it.
        queueMicrotask(() => this.#tellHead(sequence));
      },
      failed: (failure) => this.#step({ type: 'source-failed', failure }),
    });
  }

  /** A batch without a record, where the lane goes on: nothing else may follow for long. */
  #tellHead(sequence: number): void {
    const at = this.#untold;
    if (at === undefined) return;
    this.#untold = undefined;
    const batch = new BatchBuilder(at.incarnation, at.sequence, 0);
    batch.headSequence = sequence;
    batch.firstSeconds = Math.floor(Date.now() / 1000);
    this.#step({ type: 'batch', batch });
  }

  frame(frame: Frame): void {
    if (frame.kind === 'ack' && frame.stored !== undefined) this.#settled(frame.stored);
    this.#step({ type: 'frame', frame });
    if (frame.kind === 'ack' && frame.epoch === this.#opening.epoch)
      this.#line?.arrived(frame.arrivedBytes, frame.arrivedMs);
  }

  drain(reason: DrainReason): void {
    this.#step({ type: 'drain', reason });
  }

  /** The session is over, whoever ended it. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#source.close();
    this.#line?.leave();
    const [oldest] = this.#onTheWay;
    if (oldest !== undefined) this.#stats.oldestMs = oldest.firstMs;
  }

  #step(event: SenderEvent): void {
    if (!this.#closed) this.#perform(this.#sender.step(event));
  }

  #perform(effects: readonly SenderEffect[]): void {
    for (const effect of effects) {
      switch (effect.type) {
        case 'send-batch':
          this.#send(effect.batch, effect.frame);
          break;
        case 'send':
          this.#channel.send(encodeFrame(effect.frame));
          break;
        case 'pull':
          this.#source.pull(effect.bytes);
          break;
        case 'settle':
          this.#source.settle(effect.position);
          break;
        case 'close':
          this.close();
          this.#channel.end();
          this.#ended(effect.failure);
          break;
      }
    }
  }

  #send(batch: BatchBuilder, number: number): void {
    const bytes = batch.rawBytes;
    // Only peers that say what has arrived are given a share of the line, and those inflate.
    const deflated = this.#compressor.compress(batch, this.#line?.isFull === true);
    const made = batch.frame(this.#opening.epoch, number, 0, deflated);
    // A batch of few records stands in a buffer made for many, of which nothing else is counted.
    const own = deflated !== undefined || 2 * made.length > batch.capacityBytes;
    const frame = own ? made : Buffer.from(made);
    if (frame.length > this.#opening.maxFrameBytes) {
      const detail = `record ${batch.lastSequence} of ${bytes} bytes; the peer takes frames of ${this.#opening.maxFrameBytes}`;
      this.#step({ type: 'source-failed', failure: { reason: 'frame-too-large', detail } });
      return;
    }
    this.#stats.wireBytes += frame.length;
    this.#stats.onBatchHead(batch.incarnation, Math.max(batch.headSequence, batch.lastSequence));
    const onTheWay: OnTheWay = {
      last: { incarnation: batch.incarnation, sequence: batch.lastSequence },
      records: batch.count,
      filtered: batch.filtered,
      sourced: batch.sourced,
      bytes,
      firstMs: batch.firstSeconds * 1000,
      sentMs: performance.now(),
      takenMs: 0,
    };
    this.#onTheWay.push(onTheWay);
    this.#stats.oldestMs ??= onTheWay.firstMs;
    this.#channel.send(frame, () => {
      onTheWay.takenMs = performance.now();
      this.#step({ type: 'taken', bytes, nowMs: onTheWay.takenMs });
    });
  }

  /** Everything up to `position` is stored: count it. */
  #settled(position: Position): void {
    const nowMs = performance.now();
    if (position.sequence !== this.#stats.stored?.sequence) this.#settledMs = nowMs;
    if (this.#gap !== undefined && covers(position, this.#gap.upTo)) this.#gap = undefined;
    // The newest batch that the position covers; whatever went before it is covered too, of an earlier incarnation as well.
    const covered = this.#onTheWay.findLastIndex(
      ({ last }) => last.incarnation === position.incarnation && last.sequence <= position.sequence,
    );
    for (const batch of this.#onTheWay.splice(0, covered + 1)) {
      this.#stats.records += batch.records;
      this.#stats.bytes += batch.bytes;
      // Left out here because the sink would drop them as loops. Counted once they are passed for good.
      this.#stats.loopDrops += batch.filtered;
      this.#stats.sourcedDrops += batch.sourced;
      if (batch.records === 0) continue;
      this.#stats.observer.batch({
        records: batch.records,
        bytes: batch.bytes,
        stagesMs: { 'source-wait': batch.takenMs - batch.sentMs, 'round-trip': nowMs - batch.takenMs },
      });
    }
    this.#stats.oldestMs = this.#onTheWay[0]?.firstMs;
    this.#stats.onStored(position, Date.now());
  }
}
