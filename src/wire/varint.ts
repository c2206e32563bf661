import { FailureError } from './reasons.ts';

/** Bytes that `value` (an integer from 0 to 2^53-1) takes as a protobuf varint. */
export function varintSize(value: number): number {
  if (value < 0x80) return 1;
  if (value < 0x4000) return 2;
  if (value < 0x200000) return 3;
  if (value < 0x10000000) return 4;
  let size = 5;
  for (let rest = Math.floor(value / 0x800000000); rest > 0; rest = Math.floor(rest / 128)) size++;
  return size;
}

/** Writes a varint and returns the offset behind it. */
export function writeVarint(buffer: Buffer, offset: number, value: number): number {
  let rest = value;
  let at = offset;
  while (rest > 0x7fffffff) {
    buffer[at++] = (rest % 128) | 0x80;
    rest = Math.floor(rest / 128);
  }
  while (rest > 0x7f) {
    buffer[at++] = (rest & 0x7f) | 0x80;
    rest >>>= 7;
  }
  buffer[at++] = rest;
  return at;
}

/** Size of a field of so many bytes, with its tag (below 16) and its length. */
export function fieldSize(length: number): number {
  return 1 + varintSize(length) + length;
}

/** Writes a field of bytes and returns the offset behind it. */
export function writeBytes(buffer: Buffer, offset: number, tag: number, bytes: Uint8Array): number {
  buffer[offset] = tag;
  const at = writeVarint(buffer, offset + 1, bytes.length);
  buffer.set(bytes, at);
  return at + bytes.length;
}

/**
 * A reading place in bytes that came from a peer: every read is checked against the end, and what does not fit is
 * the failure `bad-frame`.
 */
export class ByteReader {
  readonly buffer: Buffer;
  at: number;
  readonly end: number;

  constructor(buffer: Buffer, start = 0, end = buffer.length) {
    this.buffer = buffer;
    this.at = start;
    this.end = end;
  }

  varint(): number {
    const buffer = this.buffer;
    let value = 0;
    let scale = 1;
    for (let i = 0; i < 8; i++) {
      if (this.at >= this.end) throw new FailureError('bad-frame', 'a number runs past the end');
      const byte = buffer[this.at++]!;
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) {
        if (value > Number.MAX_SAFE_INTEGER) break;
        return value;
      }
      scale *= 128;
    }
    throw new FailureError('bad-frame', 'a number is too large');
  }

  fixed32(): number {
    if (this.at + 4 > this.end) throw new FailureError('bad-frame', 'a fixed32 runs past the end');
    const value = this.buffer.readUInt32LE(this.at);
    this.at += 4;
    return value;
  }

  /** A fixed64 as a number; larger than 2^53-1 is refused. */
  fixed64(): number {
    const low = this.fixed32();
    const high = this.fixed32();
    if (high > 0x1fffff) throw new FailureError('bad-frame', 'a number is too large');
    return high * 0x100000000 + low;
  }

  /** Length of a length-delimited field that lies wholly inside; the place is then at its first byte. */
  length(): number {
    const length = this.varint();
    if (length > this.end - this.at) throw new FailureError('bad-frame', 'a field runs past the end');
    return length;
  }

  /** Skips the value of a field that this version does not know. */
  skip(wireType: number): void {
    if (wireType === 0) this.varint();
    else if (wireType === 1) this.advance(8);
    else if (wireType === 2) this.advance(this.length());
    else if (wireType === 5) this.advance(4);
    else throw new FailureError('bad-frame', `wire type ${wireType}`);
  }

  advance(count: number): void {
    if (count > this.end - this.at) throw new FailureError('bad-frame', 'a field runs past the end');
    this.at += count;
  }
}

/** A uint64 of the wire as a number; larger than 2^53-1 is refused. */
export function toNumber(value: bigint): number {
  if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw new FailureError('bad-frame', 'a number is too large');
  return Number(value);
}
