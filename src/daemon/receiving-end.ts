import { LaneReceiver, type ReceiverEffect, type ReceiverEvent } from '../lane/lane-receiver.ts';
import type { DrainReason } from '../lane/lane-sender.ts';
import type { StoredEffect } from '../lane/sink-writer-events.ts';
import type { MemoryShare } from '../lib/memory-budget.ts';
import type { Channel } from '../transport/channel.ts';
import { encodeFrame, type Frame } from '../wire/frame.ts';
import type { Failure } from '../wire/reasons.ts';
import type { LaneStats } from './lane-stats.ts';
import type { SinkSession } from './sink-session.ts';

/** What has arrived is told within so long, in ms, if nothing is stored meanwhile. */
const arrivalMs = 25;

/** Drives the receiving end of one session: a Channel into a sink stream, and the acknowledgements back. */
export class ReceivingEnd {
  readonly #channel: Channel;
  readonly #sink: SinkSession;
  readonly #stats: LaneStats;
  readonly #receiver: LaneReceiver;
  readonly #ended: (failure: Failure | undefined) => void;
  /** Arrival times of batches that are not stored yet, oldest first. */
  readonly #arrived: { readonly atMs: number; bytes: number }[] = [];
  #ackScheduled = false;
  readonly #tellsArrival: boolean;
  #arrivalTimer: NodeJS.Timeout | undefined;
  /** When the last batch did. */
  #arrivedMs = 0;
  /** What the sender was last told to have arrived. */
  #toldBytes = 0;
  #closed = false;

  constructor(options: {
    readonly channel: Channel;
    readonly sink: SinkSession;
    readonly stats: LaneStats;
    readonly memory: MemoryShare;
    readonly batchBytes: number;
    /** What the sender was told in the opening. */
    readonly creditLimit: number;
    /** The peer wants to know what has arrived, also while nothing is stored. */
    readonly tellsArrival: boolean;
    readonly ended: (failure: Failure | undefined) => void;
  }) {
    this.#channel = options.channel;
    this.#sink = options.sink;
    this.#stats = options.stats;
    this.#ended = options.ended;
    this.#tellsArrival = options.tellsArrival;
    const { epoch, cursor } = options.sink;
    this.#receiver = new LaneReceiver({ ...options, epoch, cursor });
    this.#stats.onStored(cursor, Date.now());
  }

  get inFlightBytes(): number {
    return this.#receiver.inFlightBytes;
  }

  frame(frame: Frame): void {
    if (this.#closed) return;
    if (frame.kind === 'batch') {
      this.#stats.wireBytes += frame.batch.wireBytes;
      const head = Math.max(frame.batch.headSequence, frame.batch.lastSequence);
      this.#stats.onHead(head, Date.now());
      this.#stats.onBatchHead(frame.batch.incarnation, head);
      if (frame.batch.packed.length > 0) {
        this.#arrivedMs = performance.now();
        this.#arrived.push({ atMs: this.#arrivedMs, bytes: frame.batch.packed.length });
      }
    }
    this.#step({ type: 'frame', frame });
    if (this.#tellsArrival && this.#receiver.arrivedBytes > this.#toldBytes) this.#tellArrival();
  }

  /** Later, since it is mostly told together with what is stored. */
  #tellArrival(): void {
    if (this.#closed || this.#arrivalTimer !== undefined) return;
    this.#arrivalTimer = setTimeout(() => {
      this.#arrivalTimer = undefined;
      if (this.#receiver.arrivedBytes > this.#toldBytes) this.#sendAck();
    }, arrivalMs);
    this.#arrivalTimer.unref();
  }

  /** From the sink: a batch or a gap is stored. */
  stored(effect: StoredEffect): void {
    if (this.#closed) return;
    const { position, bytes, records, duplicates, loops, quarantined } = effect;
    this.#stats.onStored(position, Date.now());
    this.#stats.records += records;
    this.#stats.bytes += bytes;
    this.#stats.duplicates += duplicates;
    this.#stats.loopDrops += loops;
    this.#stats.quarantined += quarantined;
    const arrivedMs = this.#takeArrived(bytes);
    this.#stats.observer.batch({
      records,
      bytes,
      ...(arrivedMs === undefined ? {} : { stagesMs: { store: performance.now() - arrivedMs } }),
    });
    this.#step({ type: 'stored', position, bytes, nowMs: performance.now() });
    this.#acknowledge();
  }

  /** So many bytes of what arrived are stored: when the last batch arrived that is complete with them, if one is. */
  #takeArrived(bytes: number): number | undefined {
    let arrivedMs: number | undefined;
    for (let left = bytes; left > 0 && this.#arrived.length > 0; ) {
      const oldest = this.#arrived[0]!;
      const taken = Math.min(left, oldest.bytes);
      left -= taken;
      oldest.bytes -= taken;
      if (oldest.bytes > 0) break;
      arrivedMs = oldest.atMs;
      this.#arrived.shift();
    }
    return arrivedMs;
  }

  #acknowledge(): void {
    if (this.#ackScheduled) return;
    this.#ackScheduled = true;
    // One acknowledgement for everything that this turn of the event loop brought.
    setImmediate(() => {
      this.#ackScheduled = false;
      if (!this.#closed) this.#sendAck();
    });
  }

  #sendAck(): void {
    const ack = this.#receiver.ack();
    this.#toldBytes = ack.arrivedBytes;
    this.#channel.send(encodeFrame({ ...ack, arrivedMs: Math.round(this.#arrivedMs) }));
  }

  /** From the sink: it does not go on. */
  refused(failure: Failure): void {
    this.#step({ type: 'refused', failure });
  }

  drain(reason: DrainReason): void {
    this.#step({ type: 'drain', reason });
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    clearTimeout(this.#arrivalTimer);
    this.#sink.close();
  }

  #step(event: ReceiverEvent): void {
    if (!this.#closed) this.#perform(this.#receiver.step(event));
  }

  #perform(effects: readonly ReceiverEffect[]): void {
    for (const effect of effects) {
      switch (effect.type) {
        case 'append':
          // Where the lane has a cursor, a batch that takes up no position only says how far the source is.
          if (this.#sink.cursor !== undefined && effect.batch.lastSequence < effect.batch.firstSequence)
            this.#acknowledge();
          else this.#sink.append(effect.batch);
          break;
        case 'append-gap': {
          const { after, upTo } = effect.gap;
          this.#stats.onGap(after, upTo);
          this.#sink.gap(effect.gap);
          break;
        }
        case 'send':
          this.#channel.send(encodeFrame(effect.frame));
          break;
        case 'close':
          this.close();
          this.#channel.end();
          this.#ended(effect.failure);
          break;
      }
    }
  }
}
