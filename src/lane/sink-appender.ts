import type { SinkLog } from '../brokers/broker.ts';
import type { OriginIndex } from '../dedupe/origin-index.ts';
import { payloadDigest } from '../wire/position.ts';
import type { Failure } from '../wire/reasons.ts';
import type { RecordView } from '../wire/record-view.ts';
import type { BatchItem } from './sink-lane-state.ts';
import type { AppendMode, SinkWriterOptions } from './sink-writer-events.ts';

/** Streams that a record may have been in before it is dropped. */
const maxHops = 8;
/** For so long the last sequence that the sink told is taken for its last, in ms. */
const freshMs = 10;

/** Appends the records of batches one by one, each only if the sink does not hold it (I3, I4), and takes back what came to nothing. */
export class SinkAppender {
  readonly #log: SinkLog;
  readonly #index: OriginIndex;
  /** cluster/stream of the sink. */
  readonly #place: string;
  mode: AppendMode = 'chain';
  /** After a failure other than a broken chain: one record at a time until one is stored. */
  careful = false;
  /** Last sequence of the sink when this round of appends began. */
  base = 0;
  /** Appends of this round, and how many of them are known to be stored: a prefix. */
  sent = 0;
  done = 0;
  #probing = false;
  /** When the sink last told its last sequence. */
  #freshAtMs = Number.NEGATIVE_INFINITY;

  constructor(log: SinkLog, index: OriginIndex, place: string) {
    this.#log = log;
    this.#index = index;
    this.#place = place;
  }

  /** How many records may be appended and not answered. */
  limit(options: SinkWriterOptions): number {
    if (this.careful || this.#probing) return 1;
    return this.mode === 'id' ? options.maxInFlightIdRecords : options.maxInFlightRecords;
  }

  /** True while one record alone shows whether the chain still fits: what it breaks costs no order. */
  get probing(): boolean {
    return this.#probing;
  }

  /** Begins a round on a sink whose last sequence is known. */
  begin(lastSequence: number, nowMs: number): void {
    this.base = lastSequence;
    this.sent = 0;
    this.done = 0;
    this.#fresh(nowMs);
    this.#log.restart();
  }

  /**
   * Nothing is in flight, and something is going to be appended. During a pause others may have written `n` records: of a
   * chain that does not know it the first `n` are refused and the others pass. So one record goes ahead alone.
   */
  wake(nowMs: number): void {
    this.#probing = this.mode === 'chain' && nowMs - this.#freshAtMs > freshMs;
  }

  /** The first `count` appends of this round are stored. */
  answered(count: number, nowMs: number): void {
    this.done = count;
    this.careful = false;
    this.#fresh(nowMs);
  }

  #fresh(nowMs: number): void {
    this.#probing = false;
    this.#freshAtMs = nowMs;
  }

  /** Appends the record the view stands on, unless the sink holds it. */
  append(item: BatchItem, view: RecordView): Failure | undefined {
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
    if (!this.#claim(item, view)) {
      item.duplicates.add(sequence);
      return undefined;
    }
    const expectLast = this.mode === 'chain' ? this.base + this.sent : undefined;
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
    this.sent++;
    item.appended++;
    item.walked = view.nextAt;
    lane.tip = { incarnation: batch.incarnation, sequence };
    item.last = {
      position: lane.tip,
      seconds: view.seconds,
      nanos: view.nanos,
      sinkSequence: this.base + this.sent,
      ...(view.nextAt === view.buffer.length ? { digest: digest(view) } : {}),
    };
    return undefined;
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

  /** Takes back what an item claimed to have appended and the sink does not hold. */
  rewind(item: BatchItem): void {
    const { lane, view, batch } = item;
    view.seek(0);
    while (view.nextAt < item.walked && view.next()) {
      if (!item.duplicates.has(view.sequence) && !lane.holds(batch.incarnation, view.sequence))
        this.#unclaim(item, view);
    }
    view.seek(0);
    item.duplicates.clear();
    item.loops = 0;
    item.appended = 0;
    item.last = undefined;
    item.walked = 0;
  }
}

function digest(view: RecordView): Buffer {
  return payloadDigest(view.buffer.subarray(view.payloadStart, view.payloadEnd));
}

function identity(view: RecordView): string {
  return view.buffer.toString('latin1', view.identityStart, view.identityEnd);
}
