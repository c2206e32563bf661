import type { SinkLog, TailRecord } from '../brokers/broker.ts';
import type { OriginIndex } from '../dedupe/origin-index.ts';
import { payloadDigest } from '../wire/position.ts';
import { type Failure, failureFrom, type Reason } from '../wire/reasons.ts';
import type { RecordView } from '../wire/record-view.ts';
import { type BatchItem, batchItem, type GapItem, type SinkItem, SinkLaneState } from './sink-lane-state.ts';
import {
  type AppendMode,
  type SinkWriterEffect,
  type SinkWriterEvent,
  type SinkWriterOptions,
  sinkWriterDefaults,
} from './sink-writer-events.ts';

/** Reasons that end a session instead of being retried: the record itself cannot be stored. */
const poison: ReadonlySet<Reason> = new Set(['record-refused', 'sink-subject', 'frame-too-large']);

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
  readonly #log: SinkLog;
  readonly #index: OriginIndex;
  readonly #options: SinkWriterOptions;
  readonly #lanes = new Map<string, SinkLaneState>();
  #phase: 'down' | 'reading' | 'open' = 'down';
  #mode: AppendMode = 'chain';
  #effects: SinkWriterEffect[] = [];
  /** Last sequence of the sink when this round of appends began. */
  #base = 0;
  /** Appends of this round, and how many of them are known to be stored: a prefix. */
  #sent = 0;
  #done = 0;
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
  /** Lanes with something to append, served in turn. */
  readonly #turn: SinkLaneState[] = [];
  /** After a failure other than a broken chain: one record at a time until one is stored. */
  #careful = false;
  #failures = 0;
  #lastProgressMs = 0;
  #failure: Failure | undefined;
  #chainBroken = false;
  /** Highest sink sequence seen in this re-read, the highest that was missing, and whether a foreign one was there. */
  #seen = 0;
  #missing = 0;
  #foreign = false;
  #foreignAtMs = 0;

  constructor(log: SinkLog, index: OriginIndex, options: SinkWriterOptions = sinkWriterDefaults) {
    this.#log = log;
    this.#index = index;
    this.#options = options;
  }

  /** What is known of a lane, whether it has a session or not. */
  lane(id: string): SinkLaneState {
    let lane = this.#lanes.get(id);
    if (lane === undefined) {
      lane = new SinkLaneState(id);
      this.#lanes.set(id, lane);
    }
    return lane;
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
    return this.#mode;
  }

  /** A sequence that the sink holds, in ascending order; `record` if it is one of ours, written where it stands. */
  observe(sinkSequence: number, record: TailRecord | undefined): void {
    if (sinkSequence !== this.#seen + 1) this.#missing = sinkSequence - 1;
    this.#seen = sinkSequence;
    if (record === undefined) {
      this.#foreign = true;
      return;
    }
    const lane = this.lane(record.lane);
    lane.observe(record, this.#missing <= Math.max(lane.accounted, lane.last?.sinkSequence ?? 0));
    this.#index.space(record.origin.space).add(record.origin.sequence);
  }

  step(event: SinkWriterEvent, nowMs: number): readonly SinkWriterEffect[] {
    this.#effects = [];
    switch (event.type) {
      case 'start':
        if (this.#phase === 'down') {
          this.#storedUpTo = event.accounted;
          this.#completeUpTo = event.accounted;
          this.#read(0);
        }
        break;
      case 'tail':
        if (this.#phase === 'reading') this.#resume(event.lastSequence, nowMs);
        break;
      case 'read-failed':
        if (this.#phase === 'reading') {
          this.#report(event.failure);
          this.#failures++;
          this.#read(this.#delayMs());
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
    if (this.#sent > this.#done) {
      if (nowMs - this.#lastProgressMs > this.#options.answerTimeoutMs)
        this.#unsure({ reason: 'sink-blocked', detail: 'no answer from the sink in time' }, false);
    } else if (this.#mode === 'id' && nowMs - this.#foreignAtMs > this.#options.idModeMs) {
      // Nothing of ours is in flight; the chain starts from what a fresh read finds.
      this.#setMode('chain');
      this.#read(0);
    }
  }

  #accept(id: string, epoch: number, make: (lane: SinkLaneState) => SinkItem): void {
    const lane = this.lane(id);
    if (lane.session?.epoch !== epoch) return;
    lane.queue.push(make(lane));
    if (lane.queue.length === 1) this.#turn.push(lane);
  }

  #close(id: string, epoch: number): void {
    const lane = this.lane(id);
    if (lane.session?.epoch !== epoch) return;
    lane.session = undefined;
    lane.queue.length = 0;
    lane.gapPending = undefined;
    remove(this.#turn, lane);
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
      if (this.#sent - this.#done >= this.#limit() || this.#inFlightBytes >= this.#options.maxInFlightBytes) return;
      const item = this.#current ?? this.#next();
      if (item === undefined) return;
      if (this.#sent === this.#done) this.#lastProgressMs = nowMs;
      this.#current = item;
      if (!this.#walk(item)) continue;
      // A refusal has closed the lane and taken care of the item.
      if (this.#current !== item) continue;
      this.#current = undefined;
      this.#finishWalk(item);
    }
  }

  #limit(): number {
    if (this.#careful) return 1;
    return this.#mode === 'id' ? this.#options.maxInFlightIdRecords : this.#options.maxInFlightRecords;
  }

  #next(): BatchItem | undefined {
    const again = this.#redo.shift();
    if (again !== undefined) return again;
    for (let lane = this.#turn.shift(); lane !== undefined; lane = this.#turn.shift()) {
      const item = lane.queue[0]!;
      if (item.kind === 'gap') {
        this.#beginGap(lane, item);
        continue;
      }
      lane.queue.shift();
      lane.inFlight++;
      if (lane.queue.length > 0) this.#turn.push(lane);
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
    this.#effects.push({ type: 'stored', lane: id, epoch, position: item.upTo, bytes: 0, records: 0, duplicates: 0 });
    if (lane.queue.length > 0) this.#turn.push(lane);
  }

  /** Appends what the window allows of an item; true when its end is reached. */
  #walk(item: BatchItem): boolean {
    const { view, batch } = item;
    const limit = this.#limit();
    try {
      while (this.#sent - this.#done < limit) {
        if (!view.next()) return true;
        if (view.sequence > batch.lastSequence || view.sequence < batch.firstSequence) {
          this.#refuse(item.lane, { reason: 'bad-frame', detail: `record ${view.sequence} outside its batch` });
          return true;
        }
        const failure = this.#append(item, view);
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

  /** Appends the record the view stands on, unless the sink holds it. */
  #append(item: BatchItem, view: RecordView): Failure | undefined {
    const { lane, batch } = item;
    const { sequence } = view;
    if (lane.holds(batch.incarnation, sequence)) {
      this.#witness(item, sequence);
      return undefined;
    }
    if (!this.#claim(item, view)) {
      item.duplicates.add(sequence);
      return undefined;
    }
    const expectLast = this.#mode === 'chain' ? this.#base + this.#sent : undefined;
    const failure = this.#log.append(
      view,
      lane.session!.lane,
      batch.incarnation,
      lane.previousFor(batch.incarnation),
      expectLast,
    );
    if (failure !== undefined) {
      this.#unclaim(item, view);
      return failure;
    }
    this.#sent++;
    item.appended++;
    item.walked = view.nextAt;
    lane.tip = { incarnation: batch.incarnation, sequence };
    item.last = {
      position: lane.tip,
      seconds: view.seconds,
      nanos: view.nanos,
      sinkSequence: this.#base + this.#sent,
      ...(view.nextAt === view.buffer.length ? { digest: digest(view) } : {}),
    };
    return undefined;
  }

  /** Notes that the sink will hold this record; false if it does already. */
  #claim(item: BatchItem, view: RecordView): boolean {
    if (view.identityEnd > view.identityStart) return this.#index.addRelayed(identity(view));
    return this.#index.space(item.space).add(view.sequence);
  }

  #unclaim(item: BatchItem, view: RecordView): void {
    if (view.identityEnd > view.identityStart) this.#index.deleteRelayed(identity(view));
    else this.#index.space(item.space).delete(view.sequence);
  }

  /** The digest of a record that a headers-only scan found, taken from the copy that was to be sent again. */
  #witness(item: BatchItem, sequence: number): void {
    const last = item.lane.last;
    if (last === undefined || last.digest !== undefined) return;
    if (last.position.sequence !== sequence || last.position.incarnation !== item.batch.incarnation) return;
    last.digest = digest(item.view);
  }

  #finishWalk(item: BatchItem): void {
    item.endAt = this.#sent;
    this.#flight.push(item);
    this.#completeFlight();
  }

  #stored(count: number, sinkSequence: number, nowMs: number): void {
    if (this.#phase !== 'open' || count <= this.#done) return;
    if (count > this.#sent) {
      this.#unsure({ reason: 'sink-blocked', detail: 'the sink answered more than was sent' }, false);
      return;
    }
    if (sinkSequence !== this.#base + count) {
      // Others write here too: in id mode that is allowed, and the numbers simply go on behind theirs.
      this.#base = sinkSequence - count;
      this.#foreignAtMs = nowMs;
    }
    this.#done = count;
    this.#storedUpTo = Math.max(this.#storedUpTo, sinkSequence);
    this.#lastProgressMs = nowMs;
    this.#careful = false;
    this.#failures = 0;
    this.#report(undefined);
    this.#completeFlight();
  }

  #completeFlight(): void {
    let complete = 0;
    for (const item of this.#flight) {
      if (item.endAt > this.#done) break;
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
    if (this.#mode === 'chain') this.#completeUpTo = this.#base + item.endAt;
    else if (item.endAt === this.#done) this.#completeUpTo = this.#storedUpTo;
    lane.accounted = this.#completeUpTo;
    if (position !== undefined && lane.session?.epoch === epoch) {
      const { appended: records, duplicates } = item;
      const bytes = batch.packed.length;
      this.#effects.push({
        type: 'stored',
        lane: lane.id,
        epoch,
        position,
        bytes,
        records,
        duplicates: duplicates.size,
      });
    }
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
    else if (lane.queue[0]?.kind === 'gap' && !this.#turn.includes(lane)) this.#turn.push(lane);
  }

  #refuse(lane: SinkLaneState, failure: Failure): void {
    const epoch = lane.session?.epoch;
    if (epoch === undefined) return;
    this.#effects.push({ type: 'refused', lane: lane.id, epoch, failure });
    this.#close(lane.id, epoch);
  }

  #unsure(failure: Failure, chainBroken: boolean): void {
    if (this.#phase !== 'open') return;
    const suspect = this.#careful ? (this.#current ?? this.#flight[0]) : undefined;
    this.#failures++;
    this.#chainBroken = chainBroken;
    this.#read(chainBroken && this.#failures < 20 ? 0 : this.#delayMs());
    if (chainBroken) return;
    if (suspect !== undefined && poison.has(failure.reason)) {
      this.#refuse(suspect.lane, failure);
      return;
    }
    this.#careful = true;
    this.#report(failure);
  }

  /** Doubling from 50 ms to 2 s. */
  #delayMs(): number {
    return Math.min(2000, 25 * 2 ** Math.min(this.#failures, 7));
  }

  /** Everything in flight goes back to be walked again, in its old order, after the tail has been read. */
  #read(delayMs: number): void {
    const partial = this.#current === undefined ? [] : [this.#current];
    this.#redo = [...this.#flight, ...partial, ...this.#redo];
    this.#flight = [];
    this.#current = undefined;
    this.#phase = 'reading';
    this.#seen = this.#completeUpTo;
    this.#missing = 0;
    this.#foreign = false;
    this.#effects.push({ type: 'read', after: this.#completeUpTo, delayMs });
  }

  /** Knowledge is complete up to `lastSequence`: rewind what was in flight to what is stored, and go on. */
  #resume(lastSequence: number, nowMs: number): void {
    if (lastSequence > this.#storedUpTo) this.#failures = 0;
    if (this.#foreign && this.#chainBroken) {
      this.#foreignAtMs = nowMs;
      this.#setMode('id');
    }
    this.#chainBroken = false;
    for (const item of this.#redo) this.#rewind(item);
    const orphans = this.#redo.filter((item) => item.lane.session?.epoch !== item.epoch);
    this.#redo = this.#redo.filter((item) => item.lane.session?.epoch === item.epoch);
    this.#storedUpTo = lastSequence;
    this.#completeUpTo = lastSequence;
    this.#base = lastSequence;
    this.#sent = 0;
    this.#done = 0;
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
    this.#log.restart();
    if (!this.#careful) this.#report(undefined);
  }

  /** Takes back what an item claimed to have appended and the sink does not hold. */
  #rewind(item: BatchItem): void {
    const { lane, view, batch } = item;
    view.seek(0);
    while (view.nextAt < item.walked && view.next()) {
      if (!item.duplicates.has(view.sequence) && !lane.holds(batch.incarnation, view.sequence))
        this.#unclaim(item, view);
    }
    view.seek(0);
    item.duplicates.clear();
    item.appended = 0;
    item.last = undefined;
    item.walked = 0;
  }

  #setMode(mode: AppendMode): void {
    if (mode === this.#mode) return;
    this.#mode = mode;
    this.#effects.push({ type: 'mode', mode });
  }

  #report(failure: Failure | undefined): void {
    if (failure?.reason === this.#failure?.reason && failure?.detail === this.#failure?.detail) return;
    this.#failure = failure;
    this.#effects.push(failure === undefined ? { type: 'health' } : { type: 'health', failure });
  }
}

function digest(view: RecordView): Buffer {
  return payloadDigest(view.buffer.subarray(view.payloadStart, view.payloadEnd));
}

function identity(view: RecordView): string {
  return view.buffer.toString('latin1', view.identityStart, view.identityEnd);
}

function remove<T>(list: T[], value: T): void {
  const at = list.indexOf(value);
  if (at >= 0) list.splice(at, 1);
}
