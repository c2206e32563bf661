import { headroom, writeBatchHeader } from './batch-header.ts';
import { compressions, inflate } from './compression.ts';
import { digestBytes, payloadDigest, type Witness } from './position.ts';
import { FailureError } from './reasons.ts';
import { RecordView } from './record-view.ts';
import { ByteReader, fieldSize, varintSize, writeBytes, writeVarint } from './varint.ts';

const empty = Buffer.alloc(0);

/** Longest incarnation label, in bytes of ASCII. */
export const maxIncarnationBytes = 32;

/** What the frame header says about a batch that arrived. `packed` is a RecordList, walked with RecordView. */
export interface InBatch {
  readonly epoch: number;
  readonly frame: number;
  readonly stripe: number;
  readonly incarnation: string;
  readonly firstSequence: number;
  readonly lastSequence: number;
  /** Records that it holds, and those that its sender left out because they began elsewhere. */
  readonly count: number;
  readonly filtered: number;
  readonly headSequence: number;
  /** Of the record at `lastSequence`, where that one was left out. */
  readonly seen: Witness | undefined;
  readonly packed: Buffer;
  /** Size of the whole frame, in bytes. */
  readonly wireBytes: number;
}

/** Records in wire layout that stand somewhere else already, to be taken over as they are. */
export interface PackedRecords {
  readonly buffer: Buffer;
  readonly start: number;
  readonly end: number;
  readonly count: number;
  /** When the source stored the first of them, Unix seconds. */
  readonly firstSeconds: number;
  /** The last of them. */
  readonly sequence: number;
  readonly seconds: number;
  readonly nanos: number;
}

/**
 * Records in wire layout, built in place: the frame that crosses the wire is this very buffer. Nothing is allocated per
 * record; a source appends and flushes when the batch is full or nothing more is there to read. Without records a batch says
 * how far its source has come (`pass`).
 */
export class BatchBuilder {
  readonly incarnation: string;
  /** First and last position this batch accounts for. */
  firstSequence: number;
  lastSequence: number;
  /** When the source stored the record at `lastSequence`; 0 while nothing is accounted for. */
  lastSeconds = 0;
  lastNanos = 0;
  /** Newest sequence of the source when the batch was built. */
  headSequence = 0;
  /** Records that it holds, and those that were left out and that it accounts for, because they began elsewhere. */
  count = 0;
  filtered = 0;
  /** Others that were left out and that it accounts for, though they began at this very source: the other end is not told how many. */
  sourced = 0;
  /** When the source stored the first record that is accounted for, Unix seconds. */
  firstSeconds = 0;
  /** Payload of the record at `lastSequence`, where that one was left out. */
  #passed: Uint8Array | undefined;
  /** How many were left out up to the record at an offset, wherever that number changed. */
  #leftOut: { readonly offset: number; readonly filtered: number }[] = [];
  readonly #targetBytes: number;
  #buffer: Buffer = empty;
  #start = headroom;
  #end = headroom;

  /** `afterSequence` is the position the batch follows; `targetBytes` the size of the records at which it is full. */
  constructor(incarnation: string, afterSequence: number, targetBytes: number) {
    if (incarnation.length > maxIncarnationBytes) throw new RangeError('incarnation label too long');
    this.incarnation = incarnation;
    this.firstSequence = afterSequence + 1;
    this.lastSequence = afterSequence;
    this.#targetBytes = targetBytes;
  }

  /** Size of the records so far, in bytes. */
  get rawBytes(): number {
    return this.#end - this.#start;
  }

  /** The records so far as a RecordList; stays valid as long as nothing is appended. */
  get packed(): Buffer {
    return this.#buffer.subarray(this.#start, this.#end);
  }

  /** Memory that it takes, in bytes. */
  get capacityBytes(): number {
    return this.#buffer.length;
  }

  /** Accounts for a record that is left out: the cursor passes it. Its payload is held until the frame is made, for the digest. */
  pass(
    sequence: number,
    seconds: number,
    nanos: number,
    payload: Uint8Array,
    why: 'elsewhere' | 'sourced' = 'elsewhere',
  ): void {
    if (why === 'sourced') this.sourced++;
    else this.filtered++;
    this.#reached(sequence, seconds, nanos, seconds);
    this.#passed = payload;
  }

  /** Appends records that are packed already. As `append`: false, with nothing changed, if they no longer fit. */
  copy(records: PackedRecords): boolean {
    const { buffer, start, end, count, sequence, seconds, nanos, firstSeconds } = records;
    if (!this.#room(end - start)) return false;
    this.#end += buffer.copy(this.#buffer, this.#end, start, end);
    this.count += count;
    this.#reached(sequence, seconds, nanos, firstSeconds);
    return true;
  }

  /**
   * Appends a record and moves `lastSequence` to it. Returns false, with nothing changed, if the batch already holds
   * records and this one no longer fits; a record larger than the target travels alone.
   */
  append(
    sequence: number,
    seconds: number,
    nanos: number,
    subject: Uint8Array,
    headers: Uint8Array,
    payload: Uint8Array,
    identity: Uint8Array = empty,
    path: Uint8Array = empty,
  ): boolean {
    const origin =
      identity.length === 0 ? 0 : fieldSize(identity.length) + (path.length === 0 ? 0 : fieldSize(path.length));
    const body =
      1 +
      varintSize(sequence) +
      5 +
      5 +
      fieldSize(subject.length) +
      (headers.length === 0 ? 0 : fieldSize(headers.length)) +
      fieldSize(payload.length) +
      (origin === 0 ? 0 : fieldSize(origin));
    if (!this.#room(fieldSize(body))) return false;
    const buffer = this.#buffer;
    let at = this.#end;
    buffer[at++] = 0x0a;
    at = writeVarint(buffer, at, body);
    buffer[at++] = 0x08;
    at = writeVarint(buffer, at, sequence);
    buffer[at++] = 0x15;
    at = buffer.writeUInt32LE(seconds, at);
    buffer[at++] = 0x1d;
    at = buffer.writeUInt32LE(nanos, at);
    at = writeBytes(buffer, at, 0x22, subject);
    if (headers.length > 0) at = writeBytes(buffer, at, 0x2a, headers);
    at = writeBytes(buffer, at, 0x32, payload);
    if (origin > 0) {
      buffer[at++] = 0x42;
      at = writeVarint(buffer, at, origin);
      at = writeBytes(buffer, at, 0x0a, identity);
      if (path.length > 0) at = writeBytes(buffer, at, 0x12, path);
    }
    this.#end = at;
    this.count++;
    this.#reached(sequence, seconds, nanos, seconds);
    return true;
  }

  /**
   * Cuts off the first records, as many as `bytes` hold and one at least. Undefined, with nothing changed, if there is nothing to
   * cut. The rest stays where it is and must not be appended to any more.
   */
  cut(bytes: number): BatchBuilder | undefined {
    if (this.rawBytes <= bytes) return undefined;
    const view = new RecordView(this.packed);
    const last = { sequence: 0, seconds: 0, nanos: 0, count: 0, end: 0 };
    while (view.next() && (last.count === 0 || view.nextAt <= bytes)) {
      const { sequence, seconds, nanos, nextAt: end } = view;
      Object.assign(last, { sequence, seconds, nanos, count: last.count + 1, end });
    }
    if (last.count === this.count) return undefined;
    const piece = new BatchBuilder(this.incarnation, this.firstSequence - 1, last.end);
    const { firstSeconds, headSequence } = this;
    piece.copy({ ...last, buffer: this.#buffer, start: this.#start, end: this.#start + last.end, firstSeconds });
    piece.headSequence = headSequence;
    this.#start += last.end;
    piece.filtered = this.#leftOut.findLast(({ offset }) => offset < this.#start)?.filtered ?? 0;
    this.#leftOut = this.#leftOut.map(({ offset, filtered }) => ({ offset, filtered: filtered - piece.filtered }));
    this.filtered -= piece.filtered;
    this.count -= piece.count;
    this.firstSequence = piece.lastSequence + 1;
    this.firstSeconds = view.seconds;
    return piece;
  }

  /** Makes room for more records; false if it holds some already and these no longer fit. */
  #room(bytes: number): boolean {
    if (this.#end + bytes > this.#buffer.length) {
      if (this.count > 0) return false;
      this.#buffer = Buffer.allocUnsafeSlow(headroom + Math.max(this.#targetBytes, bytes));
    }
    const { filtered } = this;
    if (filtered > 0 && filtered > (this.#leftOut.at(-1)?.filtered ?? 0))
      this.#leftOut.push({ offset: this.#end, filtered });
    return true;
  }

  #reached(sequence: number, seconds: number, nanos: number, firstSeconds: number): void {
    if (this.lastSequence < this.firstSequence) this.firstSeconds = firstSeconds;
    this.lastSequence = sequence;
    this.lastSeconds = seconds;
    this.lastNanos = nanos;
    this.#passed = undefined;
  }

  /**
   * The finished frame, header written in front of the records. The builder must not be appended to afterwards. `deflated`: the
   * records, compressed by `deflate`, to be sent in their place.
   */
  frame(epoch: number, frame: number, stripe: number, deflated?: Buffer): Buffer {
    const rawBytes = this.rawBytes;
    const digest = this.#passed === undefined ? undefined : payloadDigest(this.#passed);
    const header = { batch: this, epoch, frame, stripe, digest, rawBytes };
    if (deflated !== undefined) {
      const buffer = Buffer.allocUnsafe(headroom + deflated.length);
      deflated.copy(buffer, headroom);
      return buffer.subarray(writeBatchHeader(buffer, headroom, { ...header, deflatedBytes: deflated.length }));
    }
    if (this.#buffer.length === 0) this.#buffer = Buffer.allocUnsafe(headroom);
    return this.#buffer.subarray(writeBatchHeader(this.#buffer, this.#start, header), this.#end);
  }
}

/** True if a frame carries a Batch: its first byte is the tag of that field. */
export function isBatchFrame(frame: Buffer): boolean {
  return frame[0] === 0x1a;
}

/** Reads the header of a batch frame; the records stay where they are. Throws FailureError `bad-frame`. */
export function decodeBatch(frame: Buffer): InBatch {
  const outer = new ByteReader(frame);
  outer.advance(1);
  const length = outer.length();
  if (outer.at + length !== frame.length) throw new FailureError('bad-frame', 'bytes behind the batch');
  const reader = new ByteReader(frame, outer.at);
  let epoch = 0;
  let number = 0;
  let stripe = 0;
  let incarnation = '';
  let firstSequence = 0;
  let lastSequence = 0;
  let count = 0;
  let filtered = 0;
  let compression: number = compressions.none;
  let rawBytes = -1;
  let headSequence = 0;
  let seconds = 0;
  let nanos = 0;
  let digest: Buffer | undefined;
  let packed: Buffer = empty;
  while (reader.at < reader.end) {
    const tag = reader.varint();
    switch (tag) {
      case 0x08:
        epoch = reader.varint();
        break;
      case 0x10:
        number = reader.varint();
        break;
      case 0x18:
        stripe = reader.varint();
        break;
      case 0x22: {
        const size = reader.length();
        if (size > maxIncarnationBytes) throw new FailureError('bad-frame', 'incarnation label too long');
        incarnation = frame.toString('latin1', reader.at, reader.at + size);
        reader.advance(size);
        break;
      }
      case 0x28:
        firstSequence = reader.varint();
        break;
      case 0x30:
        lastSequence = reader.varint();
        break;
      case 0x38:
        count = reader.varint();
        break;
      case 0x70:
        filtered = reader.varint();
        break;
      case 0x40:
        compression = reader.varint();
        break;
      case 0x48:
        rawBytes = reader.varint();
        break;
      case 0x51:
        headSequence = reader.fixed64();
        break;
      case 0x5d:
        seconds = reader.fixed32();
        break;
      case 0x65:
        nanos = reader.fixed32();
        break;
      case 0x6a: {
        const size = reader.length();
        if (size !== digestBytes) throw new FailureError('bad-frame', 'not a digest');
        // A copy: it outlives the frame.
        digest = Buffer.from(frame.subarray(reader.at, reader.at + size));
        reader.advance(size);
        break;
      }
      case 0x7a: {
        const size = reader.length();
        packed = frame.subarray(reader.at, reader.at + size);
        reader.advance(size);
        break;
      }
      default:
        reader.skip(tag & 7);
    }
  }
  if (compression === compressions.deflate) packed = inflate(packed, rawBytes);
  else if (compression !== compressions.none) throw new FailureError('bad-frame', 'unknown compression');
  if (rawBytes >= 0 && rawBytes !== packed.length) throw new FailureError('bad-frame', 'declared size differs');
  if (!/^[\w-]+$/.test(incarnation)) throw new FailureError('bad-frame', 'not an incarnation label');
  if (lastSequence < firstSequence - 1) throw new FailureError('bad-frame', 'positions run backwards');
  return {
    epoch,
    frame: number,
    stripe,
    incarnation,
    firstSequence,
    lastSequence,
    count,
    filtered,
    headSequence,
    seen: digest && { position: { incarnation, sequence: lastSequence }, seconds, nanos, digest },
    packed,
    wireBytes: frame.length,
  };
}
