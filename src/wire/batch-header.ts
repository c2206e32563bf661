import type { BatchBuilder } from './batch.ts';
import { compressions } from './compression.ts';
import { fieldSize, varintSize, writeBytes, writeVarint } from './varint.ts';

/** Room that a batch needs in front of its records for the header of its frame, in bytes. */
export const headroom = 160;

export interface BatchHeader {
  readonly batch: Pick<
    BatchBuilder,
    | 'incarnation'
    | 'firstSequence'
    | 'lastSequence'
    | 'lastSeconds'
    | 'lastNanos'
    | 'headSequence'
    | 'count'
    | 'filtered'
  >;
  readonly epoch: number;
  readonly frame: number;
  readonly stripe: number;
  /** Of the payload of the last record, if that one was left out. */
  readonly digest: Buffer | undefined;
  /** Size of the records. */
  readonly rawBytes: number;
  /** The same as they stand in the frame, if they are compressed. */
  readonly deflatedBytes?: number;
}

/** Writes all of a batch frame that goes in front of its records, which begin at `recordsAt`. Returns where the frame begins. */
export function writeBatchHeader(buffer: Buffer, recordsAt: number, header: BatchHeader): number {
  const { batch, epoch, frame, stripe, digest, rawBytes, deflatedBytes } = header;
  const { incarnation, firstSequence, lastSequence, headSequence, count, filtered } = batch;
  const packedBytes = deflatedBytes ?? rawBytes;
  const bodySize =
    1 +
    varintSize(epoch) +
    1 +
    varintSize(frame) +
    (stripe === 0 ? 0 : 1 + varintSize(stripe)) +
    1 +
    varintSize(incarnation.length) +
    incarnation.length +
    1 +
    varintSize(firstSequence) +
    1 +
    varintSize(lastSequence) +
    1 +
    varintSize(count) +
    (deflatedBytes === undefined ? 0 : 2) +
    1 +
    varintSize(rawBytes) +
    9 +
    (digest === undefined ? 0 : 5 + 5 + fieldSize(digest.length)) +
    (filtered === 0 ? 0 : 1 + varintSize(filtered)) +
    1 +
    varintSize(packedBytes);
  const total = bodySize + packedBytes;
  const start = recordsAt - bodySize - varintSize(total) - 1;
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
  at = writeVarint(buffer, at, incarnation.length);
  at += buffer.write(incarnation, at, 'latin1');
  buffer[at++] = 0x28;
  at = writeVarint(buffer, at, firstSequence);
  buffer[at++] = 0x30;
  at = writeVarint(buffer, at, lastSequence);
  buffer[at++] = 0x38;
  at = writeVarint(buffer, at, count);
  if (deflatedBytes !== undefined) {
    buffer[at++] = 0x40;
    buffer[at++] = compressions.deflate;
  }
  buffer[at++] = 0x48;
  at = writeVarint(buffer, at, rawBytes);
  buffer[at++] = 0x51;
  at = buffer.writeUInt32LE(headSequence % 0x100000000, at);
  at = buffer.writeUInt32LE(Math.floor(headSequence / 0x100000000), at);
  if (digest !== undefined) {
    buffer[at++] = 0x5d;
    at = buffer.writeUInt32LE(batch.lastSeconds, at);
    buffer[at++] = 0x65;
    at = buffer.writeUInt32LE(batch.lastNanos, at);
    at = writeBytes(buffer, at, 0x6a, digest);
  }
  if (filtered > 0) {
    buffer[at++] = 0x70;
    at = writeVarint(buffer, at, filtered);
  }
  buffer[at++] = 0x7a;
  writeVarint(buffer, at, packedBytes);
  return start;
}
