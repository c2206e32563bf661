import type { SinkLog } from '../brokers/broker.ts';
import { maxHops, type Origin, type OriginIndex, originTime, splitIdentity } from '../dedupe/origin-index.ts';
import type { OriginSpace } from '../dedupe/origin-space.ts';
import { payloadDigest } from '../wire/position.ts';
import { type Failure, failureFrom } from '../wire/reasons.ts';
import { RecordView } from '../wire/record-view.ts';
import { AppendWindow } from './append-window.ts';
import type { NewestRecord } from './newest-record.ts';
import type { AppendedRecord, BatchItem } from './sink-lane-state.ts';
import type { AppendMode, SinkWriterOptions } from './sink-writer-events.ts';

/** For so long the last sequence that the sink told is taken for its last, in ms. */
const freshMs = 10;

/** Appends the records of batches one by one, each only if the sink does not hold it (I3, I4), and takes back what came to nothing. */
export class SinkAppender {
  readonly #log: SinkLog;
  readonly #index: OriginIndex;
  /** cluster/stream of the sink. */
  readonly #place: string;
  readonly #newest: NewestRecord;
  mode: AppendMode = 'chain';
  /** After a failure other than a broken chain: one record at a time until one is stored. */
  careful = false;
  /** Last sequence of the sink when this round of appends began. */
  base = 0;
  /** Appends of this round, and how many of them are known to be stored: a prefix. */
  sent = 0;
  done = 0;
  /** The appends of this round whose answers are awaited, oldest first. */
  readonly #unanswered: AppendedRecord[] = [];
  readonly #window = new AppendWindow();
  #probing = false;
  /** When the sink last told its last sequence. */
  #freshAtMs = Number.NEGATIVE_INFINITY;

  constructor(log: SinkLog, index: OriginIndex, place: string, newest: NewestRecord) {
    this.#log = log;
    this.#index = index;
    this.#place = place;
    this.#newest = newest;
  }

  /** How many records may be appended and not answered. */
  limit(options: SinkWriterOptions): number {
    if (this.careful || this.#probing) return 1;
    const most = this.mode === 'id' ? options.maxInFlightIdRecords : options.maxInFlightRecords;
    return Math.min(most, this.#window.records);
  }

  /** True while one record alone shows whether the chain still fits: what it breaks costs no order. */
  get probing(): boolean {
    return this.#probing;
  }

  /** The record that was appended alone and is not answered: if the sink refuses something, it is this. */
  get suspect(): AppendedRecord | undefined {
    return this.careful ? this.#unanswered[0] : undefined;
  }

  /** Begins a round on a sink whose last sequence is known. */
  begin(lastSequence: number, nowMs: number): void {
    this.base = lastSequence;
    this.sent = 0;
    this.done = 0;
    this.#unanswered.length = 0;
    this.#fresh(nowMs);
    this.#window.restart();
    this.#log.restart();
  }

  /**
   * Nothing is in flight, and something is going to be appended. During a pause others may have written `n` records: of a
   * chain that does not know it the first `n` are refused and the others pass. So one record goes ahead alone.
   */
  wake(nowMs: number): void {
    this.#probing = this.mode === 'chain' && nowMs - this.#freshAtMs > freshMs;
  }

  /**
   * The first `count` appends of this round are stored, the last of them at `sinkSequence` (0: the sink held it already). True if others
   * have written in between.
   */
  answered(count: number, sinkSequence: number, nowMs: number): boolean {
    const answered = this.#unanswered.splice(0, count - this.done).at(-1);
    if (answered !== undefined && sinkSequence !== 0) {
      answered.sinkSequence = sinkSequence;
      this.#newest.saw(answered);
    }
    const place = this.base + count;
    // What takes no place lets those behind it move up.
    this.base = sinkSequence === 0 ? this.base - 1 : sinkSequence - count;
    this.done = count;
    this.careful = false;
    this.#window.answered(count, nowMs);
    this.#fresh(nowMs);
    return sinkSequence !== 0 && sinkSequence !== place;
  }

  /** What the window allowed has been sent. */
  paused(nowMs: number): void {
    this.#window.sent(this.sent, this.done, nowMs);
  }

  /** Something failed, and it is not known what: one record at a time until one is stored, and then not so many at once. */
  beCareful(): void {
    this.careful = true;
    this.#window.unanswered(this.sent - this.done);
  }

  #fresh(nowMs: number): void {
    this.#probing = false;
    this.#freshAtMs = nowMs;
  }

  /** Appends what the window allows of an item; true when its end is reached, or why it can go no further. */
  walk(item: BatchItem, options: SinkWriterOptions): boolean | Failure {
    const { view, batch } = item;
    const limit = this.limit(options);
    try {
      while (this.sent - this.done < limit) {
        item.recordAt = view.nextAt;
        if (!view.next()) return true;
        if (view.sequence > batch.lastSequence || view.sequence < batch.firstSequence)
          return { reason: 'bad-frame', detail: `record ${view.sequence} outside its batch` };
        const failure = this.#append(item, view);
        if (failure !== undefined) return failure;
      }
    } catch (error) {
      return failureFrom(error);
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
    if (this.#loops(view)) {
      item.loops++;
      item.duplicates.add(sequence);
      return undefined;
    }
    const unwelcome = foreignOrigin(item, view);
    if (unwelcome !== undefined) return unwelcome;
    const doubt = lane.doubtOf(batch.incarnation, sequence);
    if (doubt?.failure !== undefined) return doubt.failure;
    if (!this.#claim(item, view)) {
      item.duplicates.add(sequence);
      // With nothing under way the sink has it.
      if (this.sent > this.done) lane.tip = { incarnation: batch.incarnation, sequence };
      return undefined;
    }
    const expectLast = this.mode === 'chain' ? this.base + this.sent : undefined;
    const failure = this.#log.append(
      view,
      lane.session!.lane,
      batch.incarnation,
      lane.previousFor(batch.incarnation),
      expectLast,
      doubt !== undefined,
    );
    if (failure !== undefined) {
      this.#unclaim(item, view);
      return failure;
    }
    this.sent++;
    item.appended++;
    item.walked = view.nextAt;
    item.sentUpTo = Math.max(item.sentUpTo, sequence);
    lane.tip = { incarnation: batch.incarnation, sequence };
    item.payloadStart = view.payloadStart;
    item.payloadEnd = view.payloadEnd;
    const { seconds, nanos } = view;
    // Between the records of others its answer tells where it is stored.
    const sinkSequence = expectLast === undefined ? 0 : expectLast + 1;
    item.last = { lane: lane.id, position: lane.tip, seconds, nanos, sinkSequence };
    this.#unanswered.push(item.last);
    return undefined;
  }

  /**
   * Once an item is stored, every record that its batch accounts for is held, or began elsewhere: one that is sent on says so, and what
   * a sender leaves out came from elsewhere too. So no number of it is left for a record to come, unless some were deleted at the source:
   * another lane may have carried those before, and they are not told from the rest.
   */
  stored({ batch, space, partial }: BatchItem): void {
    const { firstSequence: first, lastSequence: last } = batch;
    if (partial || last < first || batch.count + batch.filtered !== last - first + 1) return;
    this.#index.addEmpty(space, first, last);
  }

  /** I4: a record that was in this very stream before, or has come too far, is not taken in. */
  #loops(view: RecordView): boolean {
    if (view.identityEnd === view.identityStart) return false;
    if (identity(view).startsWith(`${this.#place}/`)) return true;
    if (view.pathEnd === view.pathStart) return false;
    const path = view.buffer.toString('utf8', view.pathStart, view.pathEnd).split(',');
    return path.length >= maxHops || path.includes(this.#place);
  }

  /** Notes that the sink will hold this record; false if it does already. */
  #claim(item: BatchItem, view: RecordView): boolean {
    if (view.identityEnd > view.identityStart) return this.#index.addRelayed(identity(view));
    return this.#index.add(ownOrigin(item, view));
  }

  #unclaim(item: BatchItem, view: RecordView): void {
    if (view.identityEnd > view.identityStart) this.#index.deleteRelayed(identity(view));
    else this.#index.delete(ownOrigin(item, view));
  }

  /** The digest of a record that a headers-only scan found, taken from the copy that was to be sent again. */
  #witness(item: BatchItem, sequence: number): void {
    const last = item.lane.last;
    if (last === undefined || last.digest !== undefined) return;
    if (last.position.sequence !== sequence || last.position.incarnation !== item.batch.incarnation) return;
    last.digest = digest(item.view);
  }

  /**
   * Takes back what an item claimed. Whether the sink holds it is for the reading that follows to say, be it by this lane or by
   * another that carries the same records.
   */
  release(item: BatchItem): void {
    eachClaim(item, (view) => this.#unclaim(item, view));
  }

  /** After the reading: makes an item ready to be walked again. */
  rewind(item: BatchItem): void {
    const { lane, batch } = item;
    // Stored and deleted since, the reading did not find it; it is held for all that.
    eachRecord(item, (view) => {
      if (!item.duplicates.has(view.sequence) && lane.holds(batch.incarnation, view.sequence)) this.#claim(item, view);
    });
    item.view.seek(0);
    item.duplicates.clear();
    item.loops = 0;
    item.appended = 0;
    item.last = undefined;
    item.walked = 0;
  }

  /** What the sink holds by origin, without what these items have claimed and may not be stored yet. */
  held(begun: readonly BatchItem[]): ReadonlyMap<string, OriginSpace> {
    const index = this.#index.copy();
    for (const item of begun) {
      eachClaim(item, (view) => {
        const relayed = view.identityEnd > view.identityStart;
        const origin = relayed ? splitIdentity(identity(view)) : ownOrigin(item, view);
        if (origin !== undefined) index.delete(origin);
      });
    }
    return index.spaces;
  }
}

/** Where a record began that was first seen at the lane's own source. */
function ownOrigin({ space }: BatchItem, { sequence, seconds, nanos }: RecordView): Origin {
  return { space, sequence, time: originTime(seconds, nanos) };
}

/** Every record that the present walk of an item has come past, up to the last one appended. */
function eachRecord(item: BatchItem, each: (view: RecordView) => void): void {
  const view = new RecordView(item.batch.packed);
  while (view.nextAt < item.walked && view.next()) each(view);
}

/** Those of them that it claimed. */
function eachClaim(item: BatchItem, each: (view: RecordView) => void): void {
  const { lane, batch, duplicates } = item;
  eachRecord(item, (view) => {
    if (!duplicates.has(view.sequence) && !lane.holds(batch.incarnation, view.sequence)) each(view);
  });
}

/** Nobody speaks in the name of a cluster that the own end did not agree to. An origin that cannot be read is the log's to refuse. */
function foreignOrigin(item: BatchItem, view: RecordView): Failure | undefined {
  if (view.identityEnd === view.identityStart) return undefined;
  const slash = view.buffer.indexOf(47, view.identityStart);
  if (slash < 0 || slash >= view.identityEnd) return undefined;
  const cluster = view.buffer.toString('utf8', view.identityStart, slash);
  if (cluster === item.spokenFor) return undefined;
  const { lane } = item.lane.session!;
  if (cluster !== lane.from && !lane.acceptsOrigin(cluster))
    return { reason: 'origin-refused', detail: `record ${view.sequence} of ${lane.from} was first seen at ${cluster}` };
  item.spokenFor = cluster;
  return undefined;
}

function digest(view: RecordView): Buffer {
  return payloadDigest(view.buffer.subarray(view.payloadStart, view.payloadEnd));
}

function identity(view: RecordView): string {
  return view.buffer.toString('latin1', view.identityStart, view.identityEnd);
}
