import { FailureError } from './reasons.ts';
import { ByteReader, varintSize, writeVarint } from './varint.ts';

/** Room kept free in front of the records for the frame's own header, in bytes. */
const headroom = 160;
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
  readonly count: number;
  readonly headSequence: number;
  readonly packed: Buffer;
  /** Size of the whole frame, in bytes. */
  readonly wireBytes: number;
}

/**
 * Records in wire layout, built in place: the frame that crosses the wire is this very buffer. Nothing is allocated per
 * record; a source appends and flushes when the batch is full or nothing more is there to read.
 */
export class BatchBuilder {
  readonly incarnation: string;
  /** First and last position this batch accounts for. */
  firstSequence: number;
  lastSequence: number;
  /** Newest sequence of the source when the batch was built. */
  headSequence = 0;
  count = 0;
  /** When the source stored the first record, Unix seconds. */
  firstSeconds = 0;
  #buffer: Buffer;
  #end = headroom;

  /** `afterSequence` is the position the batch follows; `targetBytes` the size of the records at which it is full. */
  constructor(incarnation: string, afterSequence: number, targetBytes: number) {
    if (incarnation.length > maxIncarnationBytes) throw new RangeError('incarnation label too long');
    this.incarnation = incarnation;
    this.firstSequence = afterSequence + 1;
    this.lastSequence = afterSequence;
    this.#buffer = Buffer.allocUnsafeSlow(headroom + targetBytes);
  }

  /** Size of the records so far, in bytes. */
  get rawBytes(): number {
    return this.#end - headroom;
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
    const needed = fieldSize(body);
    if (this.#end + needed > this.#buffer.length) {
      if (this.count > 0) return false;
      const larger = Buffer.allocUnsafeSlow(headroom + needed);
      this.#buffer.copy(larger, 0, 0, this.#end);
      this.#buffer = larger;
    }
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
    if (this.count === 0) this.firstSeconds = seconds;
    this.count++;
    this.lastSequence = sequence;
    return true;
  }

  /** The finished frame, header written in front of the records. The builder must not be appended to afterwards. */
  frame(epoch: number, frame: number, stripe: number): Buffer {
    const raw = this.rawBytes;
    const incarnation = this.incarnation.length;
    const bodySize =
      1 +
      varintSize(epoch) +
      1 +
      varintSize(frame) +
      (stripe === 0 ? 0 : 1 + varintSize(stripe)) +
      1 +
      varintSize(incarnation) +
      incarnation +
      1 +
      varintSize(this.firstSequence) +
      1 +
      varintSize(this.lastSequence) +
      1 +
      varintSize(this.count) +
      1 +
      varintSize(raw) +
      9 +
      1 +
      varintSize(raw);
    const total = bodySize + raw;
    const start = headroom - bodySize - varintSize(total) - 1;
    const buffer = this.#buffer;
    let at = start;
    buffer[at++] = 0x1a;
    at = writeVarint(buffer, at, total);
    buffer[at++] = 0x08;
    at = writeVarint(buffer, at, epoch);
    buffer[at++] = 0x10;
    at = writeVarint(buffer, at, frame);
    if (stripe !== 0) {
      buffer[at++] = 0x18;
      at = writeVarint(buffer, at, stripe);
    }
    buffer[at++] = 0x22;
    at = writeVarint(buffer, at, incarnation);
    at += buffer.write(this.incarnation, at, 'latin1');
    buffer[at++] = 0x28;
    at = writeVarint(buffer, at, this.firstSequence);
    buffer[at++] = 0x30;
    at = writeVarint(buffer, at, this.lastSequence);
    buffer[at++] = 0x38;
    at = writeVarint(buffer, at, this.count);
    buffer[at++] = 0x48;
    at = writeVarint(buffer, at, raw);
    buffer[at++] = 0x51;
    at = buffer.writeUInt32LE(this.headSequence % 0x100000000, at);
    at = buffer.writeUInt32LE(Math.floor(this.headSequence / 0x100000000), at);
    buffer[at++] = 0x7a;
    writeVarint(buffer, at, raw);
    return buffer.subarray(start, this.#end);
  }
}

function fieldSize(length: number): number {
  return 1 + varintSize(length) + length;
}

function writeBytes(buffer: Buffer, offset: number, tag: number, bytes: Uint8Array): number {
  buffer[offset] = tag;
  const at = writeVarint(buffer, offset + 1, bytes.length);
  buffer.set(bytes, at);
  return at + bytes.length;
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
  let rawBytes = -1;
  let headSequence = 0;
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
      case 0x40:
        if (reader.varint() !== 0) throw new FailureError('bad-frame', 'unknown compression');
        break;
      case 0x48:
        rawBytes = reader.varint();
        break;
      case 0x51:
        headSequence = reader.fixed64();
        break;
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
    headSequence,
    packed,
    wireBytes: frame.length,
  };
}
