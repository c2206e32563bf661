import type { SinkLane, SinkLog, TailRecord } from '../brokers/broker.ts';
import type { OriginIndex } from '../dedupe/origin-index.ts';
import type { OriginMark, OriginSnapshot } from '../dedupe/origin-snapshot.ts';
import type { Failure } from '../wire/reasons.ts';
import { retryDelayMs } from './backoff.ts';
import { NewestRecord } from './newest-record.ts';
import { concernsLane, isPoison, mayBePoison } from './poison.ts';
import { SinkAccount } from './sink-account.ts';
import { SinkAppender } from './sink-appender.ts';
import { SinkEntries } from './sink-entries.ts';
import { type BatchItem, batchItem, type SinkItem, type SinkLaneState } from './sink-lane-state.ts';
import { SinkLanes } from './sink-lanes.ts';
import {
  type AppendMode,
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
  readonly #account: SinkAccount;
  readonly #entries: SinkEntries;
  #failures = 0;
  #lastProgressMs = 0;
  #failure: Failure | undefined;
  #chainBroken = false;
  #reading = new TailReading(0);
  #foreignAtMs = 0;
  #shared: boolean;
  readonly #newest = new NewestRecord();

  constructor(log: SinkLog, index: OriginIndex, place: string, options: SinkWriterOptions = sinkWriterDefaults) {
    this.#round = new SinkAppender(log, index, place, this.#newest);
    this.#index = index;
    this.#options = options;
    this.#account = new SinkAccount({
      round: this.#round,
      lanes: this.#lanes,
      lateMs: options.lateMs,
      emit: (effect) => this.#effects.push(effect),
    });
    this.#entries = new SinkEntries(this.#lanes, (effect) => this.#effects.push(effect));
    this.#shared = options.shared;
  }

  /** What is known of a lane, whether it has a session or not. */
  lane(id: string): SinkLaneState {
    return this.#lanes.get(id);
  }

  /** Newest sink sequence that is accounted for, for checkpoints. */
  get storedUpTo(): number {
    return this.#account.storedUpTo;
  }
  get failure(): Failure | undefined {
    return this.#failure;
  }
  /** Sink sequence up to which everything is accounted for. */
  get completeUpTo(): number {
    return this.#account.completeUpTo;
  }
  /** What the sink holds by origin. */
  origins(): OriginSnapshot {
    const upTo = this.#account.completeUpTo;
    return { upTo, mark: this.mark, spaces: this.#round.held(this.#account.flight.begun()) };
  }
  /** The newest record of ours that is known to be in the sink: while it is, so is all that cursors and origins speak of. */
  get mark(): OriginMark | undefined {
    return this.#newest.mark;
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
    this.#newest.saw(record);
    this.#reading.tell(record, this.lane(record.lane), this.#round.mode === 'id');
    this.#index.add(record.origin);
  }

  step(event: SinkWriterEvent, nowMs: number): readonly SinkWriterEffect[] {
    this.#effects = [];
    switch (event.type) {
      case 'start':
        if (this.#phase !== 'down') break;
        this.#account.begin(event.accounted, event.last ?? event.accounted);
        if (event.mark !== undefined) this.#newest.recall(event.mark);
        this.#read(0);
        break;
      case 'tail':
        if (this.#phase === 'reading') this.#resume(event.lastSequence, nowMs);
        break;
      case 'read-failed':
        if (this.#phase === 'reading') {
          this.#report(event.failure);
          this.#read(retryDelayMs(++this.#failures));
        }
        break;
      case 'open':
        this.#open(event.lane, event.epoch);
        break;
      case 'close':
        this.#close(event.lane, event.epoch, nowMs);
        break;
      case 'batch':
        this.#accept(event.lane, event.epoch, (lane) => batchItem(lane, lane.session!, event.batch));
        break;
      case 'gap':
        this.#accept(event.lane, event.epoch, (lane) => ({ ...event, kind: 'gap', lane }));
        break;
      case 'gap-recorded':
        this.#entries.entered(event.lane, event.epoch, event.seen);
        break;
      case 'quarantined':
        this.#entries.entered(event.lane, event.epoch);
        break;
      case 'quarantine-failed': {
        const lane = this.lane(event.lane);
        if (lane.entering?.epoch === event.epoch) this.#refuse(lane, event.failure, nowMs);
        break;
      }
      case 'held':
        this.#newest.saw(event.record);
        break;
      case 'stored':
        this.#stored(event.count, event.sinkSequence, nowMs);
        break;
      case 'unsure':
        this.#unsure(event.failure, event.chainBroken, nowMs);
        break;
      case 'shared':
        this.#shared = event.shared;
        // What is in flight in a chain is taken back first.
        if (event.shared && this.#round.mode === 'chain' && this.#phase === 'open') this.#read(0);
        break;
      case 'reread':
        if (!this.#shared && this.#round.sent === this.#round.done && !this.#account.late.expected)
          this.#setMode('chain');
        if (this.#phase === 'open') this.#read(0);
        break;
      case 'tick':
        this.#tick(nowMs);
        break;
    }
    this.#pump(nowMs);
    // With nothing under way there is nothing left that could prove the sink well: the reading did.
    if (this.#phase === 'open' && this.#round.sent === this.#round.done) this.#report(undefined);
    this.#round.paused(nowMs);
    return this.#effects;
  }

  #tick(nowMs: number): void {
    if (this.#phase !== 'open') return;
    const late = this.#account.late.isDue(this.#account.storedUpTo - this.#account.completeUpTo, nowMs);
    if (late && this.#round.mode === 'id') {
      this.#read(0);
    } else if (this.#round.sent > this.#round.done) {
      if (nowMs - this.#lastProgressMs > this.#options.answerTimeoutMs)
        this.#unsure({ reason: 'sink-blocked', detail: 'no answer from the sink in time' }, false, nowMs);
    } else if (this.#round.mode === 'id' && !this.#shared && nowMs - this.#foreignAtMs > this.#options.idModeMs) {
      // Nothing of ours is in flight; the chain starts from what a fresh read finds.
      this.#setMode('chain');
      this.#read(0);
    }
  }

  #accept(id: string, epoch: number, make: (lane: SinkLaneState) => SinkItem): void {
    const lane = this.lane(id);
    if (lane.session?.epoch === epoch) this.#lanes.push(make(lane));
  }

  #open(lane: SinkLane, epoch: number): void {
    const state = this.lane(lane.id);
    state.session = { lane, epoch };
    // It is going to send what may have come since.
    if (this.#phase === 'open' && this.#round.mode === 'id' && this.#account.late.expectedOf(state)) this.#read(0);
  }

  #close(id: string, epoch: number, nowMs: number): void {
    const lane = this.lane(id);
    if (lane.session?.epoch !== epoch) return;
    lane.session = undefined;
    this.#lanes.clear(lane);
    if (this.#phase === 'open') this.#account.close(lane, nowMs);
    if (lane.inFlight === 0) this.#effects.push({ type: 'idle', lane: id });
  }

  #pump(nowMs: number): void {
    while (this.#phase === 'open') {
      if (this.#round.sent - this.#round.done >= this.#round.limit(this.#options)) return;
      const item = this.#account.flight.current ?? this.#next(nowMs);
      if (item === undefined) return;
      if (this.#round.sent === this.#round.done) {
        this.#lastProgressMs = nowMs;
        this.#round.wake(nowMs);
      }
      this.#account.flight.current = item;
      const end = this.#round.walk(item, this.#options);
      if (end === false) continue;
      if (end !== true) this.#fail(item, end, nowMs);
      // Of an item that failed has been taken care.
      if (this.#account.flight.current !== item) continue;
      this.#account.flight.current = undefined;
      this.#account.walked(item, nowMs);
    }
  }

  #next(nowMs: number): BatchItem | undefined {
    const again = this.#account.flight.nextAgain();
    if (again !== undefined) return again;
    // What was begun goes on at any size: nothing else makes room.
    if (this.#account.flight.bytes >= this.#options.maxInFlightBytes) return undefined;
    for (let lane = this.#lanes.next(); lane !== undefined; lane = this.#lanes.next()) {
      const item = lane.queue[0]!;
      if (item.kind !== 'batch') {
        if (!this.#entries.mayBegin(lane)) continue;
        if (item.kind === 'gap' || isPoison(item, nowMs, this.#options.subjectPatienceMs)) this.#entries.begin(item);
        else this.#refuse(lane, item.failure, nowMs);
        continue;
      }
      lane.queue.shift();
      this.#account.flight.add(item);
      this.#lanes.again(lane);
      return item;
    }
    return undefined;
  }

  #stored(count: number, sinkSequence: number, nowMs: number): void {
    if (this.#phase !== 'open' || count <= this.#round.done) return;
    if (count > this.#round.sent) {
      this.#unsure({ reason: 'sink-blocked', detail: 'the sink answered more than was sent' }, false, nowMs);
      return;
    }
    if (sinkSequence !== 0 && sinkSequence <= this.#account.storedUpTo) {
      const detail = `the sink stored a record at ${sinkSequence}, and held more before`;
      this.#unsure({ reason: 'sink-blocked', detail }, false, nowMs, true);
      return;
    }
    // In id mode that is allowed, and the numbers simply go on behind theirs.
    if (this.#round.answered(count, sinkSequence, nowMs)) this.#foreignAtMs = nowMs;
    this.#lastProgressMs = nowMs;
    this.#failures = 0;
    this.#report(undefined);
    this.#account.stored(sinkSequence, nowMs);
  }

  /** A walk can go no further: because of the record that it stands on, or of the lane. */
  #fail(item: BatchItem, failure: Failure, nowMs: number): void {
    const { lane } = item;
    if (mayBePoison(failure)) this.#account.setApart(item, failure, nowMs);
    else this.#refuse(lane, failure, nowMs);
  }

  #refuse(lane: SinkLaneState, failure: Failure, nowMs: number): void {
    const epoch = lane.session?.epoch;
    if (epoch === undefined) return;
    this.#effects.push({ type: 'refused', lane: lane.id, epoch, failure });
    this.#close(lane.id, epoch, nowMs);
  }

  #unsure(failure: Failure, chainBroken: boolean, _nowMs: number, lost = false): void {
    if (this.#phase !== 'open') return;
    const suspect = concernsLane(failure) ? this.#round.suspect : undefined;
    this.#failures++;
    this.#chainBroken = chainBroken && !this.#round.probing;
    const atOnce = suspect !== undefined || (chainBroken && this.#failures < 20);
    this.#read(atOnce ? 0 : retryDelayMs(this.#failures), lost);
    if (chainBroken) return;
    if (suspect !== undefined) {
      this.lane(suspect.lane).refused(suspect.position, failure);
      return;
    }
    this.#round.beCareful();
    // Of what may be the fault of a record its next try, alone, will tell.
    if (!concernsLane(failure)) this.#report(failure);
  }

  /** Everything in flight goes back to be walked again, in its old order, after the tail has been read. */
  #read(delayMs: number, lost = false): void {
    for (const item of this.#account.flight.begun()) this.#round.release(item);
    this.#account.flight.interrupt();
    this.#phase = 'reading';
    this.#reading = new TailReading(this.#account.completeUpTo);
    this.#effects.push({ type: 'read', after: this.#account.completeUpTo, delayMs, lost });
  }

  /** Knowledge is complete up to `lastSequence`: rewind what was in flight to what is stored, and go on. */
  #resume(lastSequence: number, nowMs: number): void {
    if (lastSequence > this.#account.storedUpTo) this.#failures = 0;
    if (this.#reading.foreign && this.#chainBroken) this.#foreignAtMs = nowMs;
    if (this.#shared || (this.#reading.foreign && this.#chainBroken)) this.#setMode('id');
    this.#chainBroken = false;
    this.#account.resume(lastSequence, nowMs);
    this.#lastProgressMs = nowMs;
    this.#phase = 'open';
    this.#round.begin(lastSequence, nowMs);
    if (!this.#round.careful) this.#report(undefined);
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
