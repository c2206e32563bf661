import type { Source, SourceEvents } from '../../src/brokers/broker.ts';
import { type BatchBuilder, decodeBatch, type InBatch } from '../../src/wire/batch.ts';
import type { Opening } from '../../src/wire/frame.ts';
import { formatPosition, type Position, payloadDigest, samePosition, type Witness } from '../../src/wire/position.ts';
import type { Failure, Reason } from '../../src/wire/reasons.ts';
import { RecordView } from '../../src/wire/record-view.ts';
import { until } from './until.ts';

export interface ProbedRecord {
  readonly position: Position;
  readonly seconds: number;
  readonly nanos: number;
  readonly subject: string;
  readonly headers: Buffer;
  readonly payload: Buffer;
  readonly identity: string;
}

export interface ProbedGap {
  readonly after: Position;
  readonly upTo: Position;
  readonly reason: Reason;
  /** Records that had come before it. */
  readonly at: number;
}

export interface ProbeOptions {
  /** Bytes allowed at a time; a new allowance follows when one is used up. Default: plenty. */
  readonly pulse?: () => number;
  /** Keep payloads; otherwise only the last record has one. Default true. */
  readonly keepPayloads?: boolean;
  /** Tell the source at once that a batch is safe; otherwise by `settle`. Default true. */
  readonly settles?: boolean;
  /** Bytes the source has read ahead or asked for, sampled at every event. */
  readonly ahead?: () => number;
}

/** The owner of a Source that notes everything, and every rule of Source that is broken. */
export class SourceProbe implements SourceEvents {
  readonly records: ProbedRecord[] = [];
  readonly gaps: ProbedGap[] = [];
  readonly failures: Failure[] = [];
  readonly faults: string[] = [];
  /** With records. */
  batches = 0;
  /** Up to where batches without a record led. */
  readonly empty: Position[] = [];
  /** Records that were left out. */
  filtered = 0;
  largestBatchBytes = 0;
  newest = 0;
  openedAt: Position | undefined;
  peakAheadBytes = 0;
  readonly source: Source;
  readonly #options: ProbeOptions;
  #position: Position | undefined;
  #allowance = 0;
  #inside = false;
  #unsettled = false;
  #closed = false;

  constructor(source: Source, options: ProbeOptions = {}) {
    this.source = source;
    this.#options = options;
  }

  open(opening: Partial<Pick<Opening, 'cursor' | 'witnesses' | 'start'>> = {}): this {
    this.#call(() => this.source.open({ witnesses: [], ...opening }, this));
    return this;
  }

  /** One allowance by hand. */
  pull(bytes: number): void {
    this.#allowance = bytes;
    this.#call(() => this.source.pull(bytes));
  }

  /** Everything that came is safe. */
  settle(): void {
    this.#unsettled = false;
    const position = this.#position!;
    this.#call(() => this.source.settle(position));
  }

  close(): void {
    this.#closed = true;
    this.#call(() => this.source.close());
  }

  get position(): Position | undefined {
    return this.#position;
  }

  /** The last record's witness, as a sink would keep it. */
  witness(index = this.records.length - 1): Witness {
    const { position, seconds, nanos, payload } = this.records[index]!;
    return { position, seconds, nanos, digest: payloadDigest(payload) };
  }

  async untilRecords(count: number): Promise<void> {
    await until(() => this.records.length >= count || this.failures.length > 0, {
      what: () => `${count} records; there are ${this.records.length}`,
      deadlineMs: 30_000,
    });
    if (this.records.length < count)
      throw new Error(`failed after ${this.records.length} of ${count}: ${JSON.stringify(this.failures)}`);
  }

  async untilFailed(): Promise<Failure> {
    return until(() => this.failures[0], { what: () => `a failure; there are ${this.records.length} records` });
  }

  opened(at: Position): void {
    this.#note();
    if (this.openedAt !== undefined) this.#fault('opened twice');
    this.openedAt = at;
    this.#position = at;
    // As a session does: the first allowance comes out of this very event.
    if (this.#options.pulse !== undefined || this.#allowance === 0) this.#next();
  }

  batch(builder: BatchBuilder): void {
    this.#note();
    if (this.#position === undefined) {
      this.#fault('a batch before opened');
      return;
    }
    if (builder.count === 0) {
      if (this.#unsettled) this.#fault('a second batch without records before the first is settled');
      this.#unsettled = true;
      this.filtered += builder.filtered;
      this.#onEmpty(decodeBatch(builder.frame(1, 1, 0)));
      if (this.#options.settles !== false) this.settle();
      return;
    }
    if (this.#allowance <= 0) this.#fault(`a batch of ${builder.rawBytes} bytes without allowance`);
    this.#allowance -= builder.rawBytes;
    this.largestBatchBytes = Math.max(this.largestBatchBytes, builder.rawBytes);
    const batch = decodeBatch(builder.frame(1, ++this.batches, 0));
    this.#follows(batch);
    const view = new RecordView(batch.packed);
    let last = batch.firstSequence - 1;
    let count = 0;
    while (view.next()) {
      if (view.sequence <= last || view.sequence > batch.lastSequence)
        this.#fault(`record ${view.sequence} after ${last} in a batch up to ${batch.lastSequence}`);
      last = view.sequence;
      count++;
      this.#keep(view, batch.incarnation);
    }
    if (last < batch.lastSequence) this.#proves(batch);
    if (count !== batch.count) this.#fault(`a batch of ${batch.count} records holds ${count}`);
    this.filtered += builder.filtered;
    if (batch.headSequence < batch.lastSequence) this.#fault(`head ${batch.headSequence} of a batch up to ${last}`);
    this.#position = { incarnation: batch.incarnation, sequence: batch.lastSequence };
    if (this.#options.settles !== false) this.settle();
    if (this.#allowance <= 0) this.#next();
  }

  #onEmpty(batch: InBatch): void {
    this.#follows(batch);
    // One that only tells where the lane begins passes nothing.
    if (batch.lastSequence >= batch.firstSequence) this.#proves(batch);
    if (batch.packed.length > 0) this.#fault('records in a batch that counts none');
    this.#position = { incarnation: batch.incarnation, sequence: batch.lastSequence };
    this.empty.push(this.#position);
  }

  /** The sink would stand on a record that it never gets. */
  #proves({ lastSequence, seen }: InBatch): void {
    if (seen?.position.sequence !== lastSequence) this.#fault(`nothing proves ${lastSequence}, which was left out`);
  }

  #follows({ incarnation, firstSequence }: InBatch): void {
    const before = { incarnation, sequence: firstSequence - 1 };
    if (!samePosition(before, this.#position))
      this.#fault(`a batch after ${formatPosition(before)} follows on ${formatPosition(this.#position!)}`);
  }

  gap(after: Position, upTo: Position, reason: Reason): void {
    this.#note();
    if (!samePosition(after, this.#position))
      this.#fault(`a gap after ${formatPosition(after)} at ${formatPosition(this.#position!)}`);
    if (after.incarnation === upTo.incarnation && upTo.sequence <= after.sequence)
      this.#fault(`a gap from ${after.sequence} back to ${upTo.sequence}`);
    this.gaps.push({ after, upTo, reason, at: this.records.length });
    this.#position = upTo;
  }

  head(sequence: number): void {
    this.#note();
    if (this.openedAt === undefined) this.#fault('a head before opened');
    this.newest = Math.max(this.newest, sequence);
  }

  failed(failure: Failure): void {
    this.#note();
    this.failures.push(failure);
  }

  #keep(view: RecordView, incarnation: string): void {
    const { buffer } = view;
    const keep = this.#options.keepPayloads !== false;
    const previous = this.records.at(-1);
    if (!keep && previous !== undefined)
      this.records[this.records.length - 1] = { ...previous, payload: Buffer.alloc(0) };
    this.records.push({
      position: { incarnation, sequence: view.sequence },
      seconds: view.seconds,
      nanos: view.nanos,
      subject: buffer.toString('utf8', view.subjectStart, view.subjectEnd),
      headers: Buffer.from(buffer.subarray(view.headersStart, view.headersEnd)),
      payload: Buffer.from(buffer.subarray(view.payloadStart, view.payloadEnd)),
      identity: buffer.toString('utf8', view.identityStart, view.identityEnd),
    });
  }

  #next(): void {
    const { pulse } = this.#options;
    if (pulse === undefined) this.pull(1 << 30);
    // Between two pulses the source reads ahead, as far as it may.
    else setImmediate(() => !this.#closed && this.pull(pulse()));
  }

  #call(method: () => void): void {
    this.#inside = true;
    method();
    this.#inside = false;
  }

  #note(): void {
    if (this.#inside) this.#fault('an event from inside a method');
    if (this.#closed) this.#fault('an event after close');
    if (this.failures.length > 0) this.#fault('an event after failed');
    this.peakAheadBytes = Math.max(this.peakAheadBytes, this.#options.ahead?.() ?? 0);
  }

  #fault(text: string): void {
    this.faults.push(text);
  }
}
