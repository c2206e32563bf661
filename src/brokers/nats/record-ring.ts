import type { BatchBuilder, PackedRecords } from '../../wire/batch.ts';
import { RecordView } from '../../wire/record-view.ts';
import type { ExportRules, LeftOut } from '../broker.ts';
import { wasAt } from './export-rules.ts';
import type { RecordTime } from './source-proof.ts';

/** What a batch takes besides its records, in bytes, roughly. */
const overheadBytes = 256;
/** And for each record that came over another lane. */
const importBytes = 16;

/** A record that came over another lane: the lane, and the places (cluster/stream) it was at before; without a lane the broker copied it. */
export interface Import {
  readonly sequence: number;
  readonly lane: string | undefined;
  readonly places: readonly string[];
}

/** The records of a batch that came over other lanes or were copied, and what rules may ask of them. */
export class Imports {
  /** Sequences in order, and the lane that brought each of them. */
  readonly sequences: number[] = [];
  readonly lanes: (string | undefined)[] = [];
  /** All lanes and places, each once. */
  readonly #distinct = { lanes: new Set<string | undefined>(), places: new Set<string>() };

  add({ sequence, lane, places }: Import): void {
    this.sequences.push(sequence);
    this.lanes.push(lane);
    this.#distinct.lanes.add(lane);
    for (const place of places) this.#distinct.places.add(place);
  }

  /** Whether the rules leave out any of these records. */
  touchedBy(rules: ExportRules): boolean {
    if (this.#distinct.places.has(rules.sink)) return true;
    for (const lane of this.#distinct.lanes)
      if (lane === undefined ? !rules.sourced : rules.imported(lane)) return true;
    return false;
  }
}

interface Entry {
  /** Position that it follows, and its last. */
  readonly after: number;
  readonly records: PackedRecords;
  readonly imports: Imports | undefined;
  readonly bytes: number;
  /** Memory of this and of all earlier entries, in bytes. */
  readonly total: number;
}

/**
 * The last records of a stream, packed once for all lanes that read them: nothing is left out but for what the stream itself
 * does not hold. The oldest make room for new ones (I5).
 */
export class RecordRing {
  #maxBytes: number;
  readonly #entries: Entry[] = [];
  #bytes = 0;
  #total = 0;
  /** The record that the first entry follows on. */
  #base: { readonly sequence: number; readonly time: RecordTime };

  /** Begins empty, behind a record. `maxBytes` as for `resize`. */
  constructor(maxBytes: number, sequence: number, time: RecordTime) {
    this.#maxBytes = maxBytes;
    this.#base = { sequence, time };
  }

  /** Everything behind this position, up to `end`, is held. */
  get start(): number {
    return this.#base.sequence;
  }

  get end(): number {
    return this.#entries.at(-1)?.records.sequence ?? this.#base.sequence;
  }

  /** Memory that it takes, in bytes. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Takes over a batch that follows on `end`. */
  push(batch: BatchBuilder, imports: Imports | undefined): void {
    if (batch.firstSequence !== this.end + 1 || batch.count === 0)
      throw new RangeError(`a batch from ${batch.firstSequence} with ${batch.count} records behind ${this.end}`);
    // Most batches of a quiet stream hold one record in a buffer made for many.
    const { packed } = batch;
    const buffer = 2 * packed.length > batch.capacityBytes ? packed : Buffer.from(packed);
    const capacity = buffer === packed ? batch.capacityBytes : packed.length;
    const bytes = capacity + overheadBytes + (imports?.sequences.length ?? 0) * importBytes;
    this.#total += bytes;
    this.#bytes += bytes;
    this.#entries.push({
      after: this.end,
      records: {
        buffer,
        start: 0,
        end: buffer.length,
        count: batch.count,
        firstSeconds: batch.firstSeconds,
        sequence: batch.lastSequence,
        seconds: batch.lastSeconds,
        nanos: batch.lastNanos,
      },
      imports,
      bytes,
      total: this.#total,
    });
    this.resize(this.#maxBytes);
  }

  /** Sets the memory that it may take, but for one batch. */
  resize(maxBytes: number): void {
    this.#maxBytes = maxBytes;
    while (this.#bytes > maxBytes && this.#entries.length > 1) {
      const gone = this.#entries.shift()!;
      const { sequence, seconds, nanos } = gone.records;
      this.#base = { sequence, time: { seconds, nanos } };
      this.#bytes -= gone.bytes;
    }
  }

  /** Whether the record at `sequence` is the one of this time: who stood there can go on here. */
  holds(sequence: number, time: RecordTime): boolean {
    if (sequence < this.start || sequence > this.end) return false;
    if (sequence === this.start) return same(this.#base.time, time);
    const { records } = this.#entries[this.#after(sequence - 1)]!;
    if (sequence === records.sequence) return same(records, time);
    const view = new RecordView(records.buffer);
    while (view.next()) if (view.sequence === sequence) return same(view, time);
    return false;
  }

  /** Memory of the batches that hold what follows on a position, in bytes. */
  bytesAfter(sequence: number): number {
    const entry = this.#entries[this.#after(sequence)];
    return entry === undefined ? 0 : this.#total - entry.total + entry.bytes;
  }

  /**
   * Adds what follows on the builder's last position, until it is full or the end is reached; what the rules leave out is
   * passed. The position must not lie before `start`.
   */
  fill(builder: BatchBuilder, rules: ExportRules | undefined): void {
    if (builder.lastSequence < this.start) throw new RangeError(`${builder.lastSequence} lies before ${this.start}`);
    for (let i = this.#after(builder.lastSequence); i < this.#entries.length; i++) {
      const entry = this.#entries[i]!;
      const touched = rules !== undefined && entry.imports?.touchedBy(rules) === true;
      const whole = entry.after === builder.lastSequence && !touched;
      if (whole ? !builder.copy(entry.records) : !pick(entry, builder, rules)) return;
    }
  }

  /** Index of the first entry that reaches beyond a position. */
  #after(sequence: number): number {
    let low = 0;
    let high = this.#entries.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#entries[middle]!.records.sequence > sequence) high = middle;
      else low = middle + 1;
    }
    return low;
  }
}

/** Adds the records of an entry one by one, each as it is packed; false when the builder is full. */
function pick({ records, imports }: Entry, builder: BatchBuilder, rules: ExportRules | undefined): boolean {
  const { buffer } = records;
  const view = new RecordView(buffer);
  let at = 0;
  for (let start = 0; view.next(); start = view.nextAt) {
    const { sequence, seconds, nanos } = view;
    const imported = imports?.sequences[at] === sequence;
    const lane = imported ? imports.lanes[at++] : undefined;
    if (sequence <= builder.lastSequence) continue;
    const leftOut = imported && rules !== undefined ? leavesOut(rules, lane, view) : undefined;
    if (leftOut !== undefined) {
      builder.pass(sequence, seconds, nanos, buffer.subarray(view.payloadStart, view.payloadEnd), leftOut);
      continue;
    }
    const record = { buffer, start, end: view.nextAt, count: 1, sequence, seconds, nanos, firstSeconds: seconds };
    if (!builder.copy(record)) return false;
  }
  return true;
}

function leavesOut(rules: ExportRules, lane: string | undefined, view: RecordView): LeftOut | undefined {
  if (lane === undefined) return rules.sourced ? undefined : 'sourced';
  if (rules.imported(lane)) return 'elsewhere';
  const { buffer, identityStart, identityEnd, pathStart, pathEnd } = view;
  const identity = buffer.toString('utf8', identityStart, identityEnd);
  return wasAt(rules.sink, identity, buffer.toString('utf8', pathStart, pathEnd)) ? 'elsewhere' : undefined;
}

function same(a: RecordTime, b: RecordTime): boolean {
  return a.seconds === b.seconds && a.nanos === b.nanos;
}
