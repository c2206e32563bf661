import type { SinkLog, TailRecord } from '../brokers/broker.ts';
import type { OriginIndex } from '../dedupe/origin-index.ts';
import { type Failure, failureFrom } from '../wire/reasons.ts';
import { retryDelayMs } from './backoff.ts';
import { SinkAppender } from './sink-appender.ts';
import {
  type BatchItem,
  batchItem,
  type GapItem,
  type SinkItem,
  type SinkLaneState,
  storedEffect,
} from './sink-lane-state.ts';
import { SinkLanes } from './sink-lanes.ts';
import {
  type AppendMode,
  poison,
  type SinkWriterEffect,
  type SinkWriterEvent,
  type SinkWriterOptions,
  sinkWriterDefaults,
} from './sink-writer-events.ts';
import { TailReading } from './tail-reading.ts';

/**
 * One writer per sink stream: merges the lanes that end there and appends with a chain of expected sequences, so that on
 * a stream that nobody else writes what is stored is a prefix of what was sent (I2). It keeps I1 (a position is
 * reported stored only after the sink has it), I3 and I4 (a record is skipped only if the sink holds that very record).
 * After any failure nothing is inferred: it re-reads the tail, which makes its knowledge complete up to the sequence
 * that it expects next, and goes on.
 *
 * A pure state machine but for one call: records go to `SinkLog.append` directly, because an effect per record would
 * cost more than the append.
 */
export class SinkWriter {
  readonly #round: SinkAppender;
  readonly #index: OriginIndex;
  readonly #options: SinkWriterOptions;
  readonly #lanes = new SinkLanes();
  #phase: 'down' | 'reading' | 'open' = 'down';
  #effects: SinkWriterEffect[] = [];
  /** Newest sink sequence known to be stored by us or read. */
  #storedUpTo = 0;
  /** Sink sequence up to which everything is accounted for by the cursors: the end of the last complete item. */
  #completeUpTo = 0;
  /** Walked to their end, oldest first, waiting for their last record to be stored. */
  #flight: BatchItem[] = [];
  /** To be walked before anything new: what a failure interrupted, in its old order. */
  #redo: BatchItem[] = [];
  #current: BatchItem | undefined;
  #inFlightBytes = 0;
  #failures = 0;
  #lastProgressMs = 0;
  #failure: Failure | undefined;
  #chainBroken = false;
  #reading = new TailReading(0);
  #foreignAtMs = 0;

  constructor(log: SinkLog, index: OriginIndex, place: string, options: SinkWriterOptions = sinkWriterDefaults) {
    this.#round = new SinkAppender(log, index, place);
    this.#index = index;
    this.#options = options;
  }

  /** What is known of a lane, whether it has a session or not. */
  lane(id: string): SinkLaneState {
    return this.#lanes.get(id);
  }

  /** Newest sink sequence that is accounted for, for checkpoints. */
  get storedUpTo(): number {
    return this.#storedUpTo;
  }
  get failure(): Failure | undefined {
    return this.#failure;
  }

  get isOpen(): boolean {
    return this.#phase === 'open';
  }

  get mode(): AppendMode {
    return this.#round.mode;
  }

  /** A sequence that the sink holds, in ascending order; `record` if it is one of ours, written where it stands. */
  observe(sinkSequence: number, record: TailRecord | undefined): void {
    this.#reading.saw(sinkSequence, record !== undefined);
    if (record === undefined) return;
    const lane = this.lane(record.lane);
    lane.observe(record, this.#reading.isContiguousFrom(Math.max(lane.accounted, lane.last?.sinkSequence ?? 0)));
    this.#index.space(record.origin.space).add(record.origin.sequence);
  }

  step(event: SinkWriterEvent, nowMs: number): readonly SinkWriterEffect[] {
    this.#effects = [];
    switch (event.type) {
      case 'start':
        if (this.#phase !== 'down') break;
        this.#storedUpTo = this.#completeUpTo = event.accounted;
        this.#read(0);
        break;
      case 'tail':
        if (this.#phase === 'reading') this.#resume(event.lastSequence, nowMs);
        break;
      case 'read-failed':
        if (this.#phase === 'reading') {
          this.#report(event.failure);
          this.#failures++;
          this.#read(retryDelayMs(this.#failures));
        }
        break;
      case 'open':
        this.lane(event.lane.id).session = { lane: event.lane, epoch: event.epoch };
        break;
      case 'close':
        this.#close(event.lane, event.epoch);
        break;
      case 'batch':
        this.#accept(event.lane, event.epoch, (lane) => batchItem(lane, lane.session!, event.batch));
        break;
      case 'gap':
        this.#accept(event.lane, event.epoch, (lane) => ({ ...event, kind: 'gap', lane }));
        break;
      case 'gap-recorded':
        this.#gapRecorded(event.lane, event.epoch);
        break;
      case 'stored':
        this.#stored(event.count, event.sinkSequence, nowMs);
        break;
      case 'unsure':
        this.#unsure(event.failure, event.chainBroken);
        break;
      case 'tick':
        this.#tick(nowMs);
        break;
    }
    this.#pump(nowMs);
    return this.#effects;
  }

  #tick(nowMs: number): void {
    if (this.#phase !== 'open') return;
    if (this.#round.sent > this.#round.done) {
      if (nowMs - this.#lastProgressMs > this.#options.answerTimeoutMs)
        this.#unsure({ reason: 'sink-blocked', detail: 'no answer from the sink in time' }, false);
    } else if (this.#round.mode === 'id' && nowMs - this.#foreignAtMs > this.#options.idModeMs) {
      // Nothing of ours is in flight; the chain starts from what a fresh read finds.
      this.#setMode('chain');
      this.#read(0);
    }
  }

  #accept(id: string, epoch: number, make: (lane: SinkLaneState) => SinkItem): void {
    const lane = this.lane(id);
    if (lane.session?.epoch !== epoch) return;
    this.#lanes.push(make(lane));
  }

  #close(id: string, epoch: number): void {
    const lane = this.lane(id);
    if (lane.session?.epoch !== epoch) return;
    lane.session = undefined;
    this.#lanes.clear(lane);
    if (this.#phase === 'open') {
      // Rewound already and not walked again: nothing of these is on its way. While reading, `#resume` sorts them out.
      for (const item of this.#redo) if (item.lane === lane) this.#dropped(item);
      this.#redo = this.#redo.filter((item) => item.lane !== lane);
      if (this.#current?.lane === lane) {
        const item = this.#current;
        item.partial = true;
        this.#current = undefined;
        this.#finishWalk(item);
      }
    }
    if (lane.inFlight === 0) this.#effects.push({ type: 'idle', lane: id });
  }

  #pump(nowMs: number): void {
    while (this.#phase === 'open') {
      if (
        this.#round.sent - this.#round.done >= this.#round.limit(this.#options) ||
        this.#inFlightBytes >= this.#options.maxInFlightBytes
      )
        return;
      const item = this.#current ?? this.#next();
      if (item === undefined) return;
      if (this.#round.sent === this.#round.done) {
        this.#lastProgressMs = nowMs;
        this.#round.wake(nowMs);
      }
      this.#current = item;
      if (!this.#walk(item)) continue;
      // A refusal has closed the lane and taken care of the item.
      if (this.#current !== item) continue;
      this.#current = undefined;
      this.#finishWalk(item);
    }
  }

  #next(): BatchItem | undefined {
    const again = this.#redo.shift();
    if (again !== undefined) return again;
    for (let lane = this.#lanes.next(); lane !== undefined; lane = this.#lanes.next()) {
      const item = lane.queue[0]!;
      if (item.kind === 'gap') {
        this.#beginGap(lane, item);
        continue;
      }
      lane.queue.shift();
      lane.inFlight++;
      this.#lanes.again(lane);
      this.#inFlightBytes += item.batch.packed.length;
      return item;
    }
    return undefined;
  }

  /** A gap is written to the ledger after everything before it is stored, and before the cursor passes (I1). */
  #beginGap(lane: SinkLaneState, item: GapItem): void {
    if (lane.inFlight > 0 || lane.gapPending !== undefined) return;
    lane.gapPending = item;
    const { epoch, after, upTo, reason } = item;
    this.#effects.push({ type: 'record-gap', lane: lane.id, epoch, after, upTo, reason });
  }

  #gapRecorded(id: string, epoch: number): void {
    const lane = this.lane(id);
    const item = lane.gapPending;
    if (item === undefined || item.epoch !== epoch) return;
    lane.gapPending = undefined;
    lane.queue.shift();
    lane.moveCursor(item.upTo);
    this.#effects.push(storedEffect(item, item.upTo));
    this.#lanes.again(lane);
  }

  /** Appends what the window allows of an item; true when its end is reached. */
  #walk(item: BatchItem): boolean {
    const { view, batch } = item;
    const limit = this.#round.limit(this.#options);
    try {
      while (this.#round.sent - this.#round.done < limit) {
        if (!view.next()) return true;
        if (view.sequence > batch.lastSequence || view.sequence < batch.firstSequence) {
          this.#refuse(item.lane, { reason: 'bad-frame', detail: `record ${view.sequence} outside its batch` });
          return true;
        }
        const failure = this.#round.append(item, view);
        if (failure !== undefined) {
          this.#refuse(item.lane, failure);
          return true;
        }
      }
    } catch (error) {
      this.#refuse(item.lane, failureFrom(error));
      return true;
    }
    return false;
  }

  #finishWalk(item: BatchItem): void {
    item.endAt = this.#round.sent;
    this.#flight.push(item);
    this.#completeFlight();
  }

  #stored(count: number, sinkSequence: number, nowMs: number): void {
    if (this.#phase !== 'open' || count <= this.#round.done) return;
    if (count > this.#round.sent) {
      this.#unsure({ reason: 'sink-blocked', detail: 'the sink answered more than was sent' }, false);
      return;
    }
    if (sinkSequence !== this.#round.base + count) {
      // Others write here too: in id mode that is allowed, and the numbers simply go on behind theirs.
      this.#round.base = sinkSequence - count;
      this.#foreignAtMs = nowMs;
    }
    this.#round.answered(count, nowMs);
    this.#storedUpTo = Math.max(this.#storedUpTo, sinkSequence);
    this.#lastProgressMs = nowMs;
    this.#failures = 0;
    this.#report(undefined);
    this.#completeFlight();
  }

  #completeFlight(): void {
    let complete = 0;
    for (const item of this.#flight) {
      if (item.endAt > this.#round.done) break;
      complete++;
      this.#complete(item);
    }
    if (complete > 0) this.#flight.splice(0, complete);
  }

  #complete(item: BatchItem): void {
    const { lane, batch, epoch } = item;
    this.#dropped(item);
    if (item.last !== undefined) lane.last = item.last;
    const position = item.partial
      ? item.last?.position
      : { incarnation: batch.incarnation, sequence: batch.lastSequence };
    if (position !== undefined) lane.moveCursor(position);
    // In id mode the place of a record is known only from its own answer, which is the newest one at this moment or none.
    if (this.#round.mode === 'chain') this.#completeUpTo = this.#round.base + item.endAt;
    else if (item.endAt === this.#round.done) this.#completeUpTo = this.#storedUpTo;
    lane.accounted = this.#completeUpTo;
    if (position !== undefined && lane.session?.epoch === epoch) this.#effects.push(storedEffect(item, position));
    this.#released(lane);
  }

  /** An item that counts as in flight no longer. */
  #dropped(item: BatchItem): void {
    this.#inFlightBytes -= item.batch.packed.length;
    item.lane.inFlight--;
  }

  /** Nothing more of the lane in flight: a gap may take its turn, a closed lane is idle. */
  #released(lane: SinkLaneState): void {
    if (lane.inFlight > 0) return;
    if (lane.session === undefined) this.#effects.push({ type: 'idle', lane: lane.id });
    else this.#lanes.again(lane);
  }

  #refuse(lane: SinkLaneState, failure: Failure): void {
    const epoch = lane.session?.epoch;
    if (epoch === undefined) return;
    this.#effects.push({ type: 'refused', lane: lane.id, epoch, failure });
    this.#close(lane.id, epoch);
  }

  #unsure(failure: Failure, chainBroken: boolean): void {
    if (this.#phase !== 'open') return;
    const suspect = this.#round.careful ? (this.#current ?? this.#flight[0]) : undefined;
    this.#failures++;
    this.#chainBroken = chainBroken && !this.#round.probing;
    this.#read(chainBroken && this.#failures < 20 ? 0 : retryDelayMs(this.#failures));
    if (chainBroken) return;
    if (suspect !== undefined && poison.has(failure.reason)) {
      this.#refuse(suspect.lane, failure);
      return;
    }
    this.#round.careful = true;
    this.#report(failure);
  }

  /** Everything in flight goes back to be walked again, in its old order, after the tail has been read. */
  #read(delayMs: number): void {
    const partial = this.#current === undefined ? [] : [this.#current];
    this.#redo = [...this.#flight, ...partial, ...this.#redo];
    this.#flight = [];
    this.#current = undefined;
    this.#phase = 'reading';
    this.#reading = new TailReading(this.#completeUpTo);
    this.#effects.push({ type: 'read', after: this.#completeUpTo, delayMs });
  }

  /** Knowledge is complete up to `lastSequence`: rewind what was in flight to what is stored, and go on. */
  #resume(lastSequence: number, nowMs: number): void {
    if (lastSequence > this.#storedUpTo) this.#failures = 0;
    if (this.#reading.foreign && this.#chainBroken) {
      this.#foreignAtMs = nowMs;
      this.#setMode('id');
    }
    this.#chainBroken = false;
    for (const item of this.#redo) this.#round.rewind(item);
    const orphans = this.#redo.filter((item) => item.lane.session?.epoch !== item.epoch);
    this.#redo = this.#redo.filter((item) => !orphans.includes(item));
    this.#storedUpTo = this.#completeUpTo = lastSequence;
    this.#lastProgressMs = nowMs;
    this.#phase = 'open';
    for (const lane of this.#lanes.values()) {
      lane.tip = lane.last?.position;
      lane.accounted = lastSequence;
    }
    for (const item of orphans) {
      this.#dropped(item);
      this.#released(item.lane);
    }
    this.#round.begin(lastSequence, nowMs);
    // With nothing to send again there is nothing left that could prove the sink well: the reading did.
    if (!this.#round.careful || this.#redo.length === 0) this.#report(undefined);
  }

  #setMode(mode: AppendMode): void {
    if (mode === this.#round.mode) return;
    this.#round.mode = mode;
    this.#effects.push({ type: 'mode', mode });
  }

  #report(failure: Failure | undefined): void {
    if (failure?.reason === this.#failure?.reason) return;
    this.#failure = failure;
    this.#effects.push({ type: 'health', failure });
  }
}
