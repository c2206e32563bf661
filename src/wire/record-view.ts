import { FailureError } from './reasons.ts';
import { ByteReader } from './varint.ts';

/**
 * Walks a RecordList in place: after `next()` returned true, the fields describe the current record by offsets into
 * `buffer`. One view serves a whole batch; it allocates nothing per record.
 */
export class RecordView {
  readonly buffer: Buffer;
  readonly #reader: ByteReader;
  sequence = 0;
  seconds = 0;
  nanos = 0;
  subjectStart = 0;
  subjectEnd = 0;
  headersStart = 0;
  headersEnd = 0;
  payloadStart = 0;
  payloadEnd = 0;
  /** identity and path of the origin; both empty when the record was first seen at the lane's own source. */
  identityStart = 0;
  identityEnd = 0;
  pathStart = 0;
  pathEnd = 0;
  /** Offset of the record behind the current one. */
  get nextAt(): number {
    return this.#reader.at;
  }

  constructor(packed: Buffer) {
    this.buffer = packed;
    this.#reader = new ByteReader(packed);
  }

  /** Goes to a record whose offset was taken from `nextAt` earlier. */
  seek(offset: number): void {
    this.#reader.at = offset;
  }

  /** Moves to the next record; false at the end. Throws FailureError `bad-frame` for anything that is not a record. */
  next(): boolean {
    const reader = this.#reader;
    if (reader.at >= reader.end) return false;
    if (reader.varint() !== 0x0a) throw new FailureError('bad-frame', 'not a record');
    const end = reader.length() + reader.at;
    this.sequence = 0;
    this.seconds = 0;
    this.nanos = 0;
    this.subjectStart = this.subjectEnd = 0;
    this.headersStart = this.headersEnd = 0;
    this.payloadStart = this.payloadEnd = 0;
    this.identityStart = this.identityEnd = 0;
    this.pathStart = this.pathEnd = 0;
    while (reader.at < end) {
      const tag = reader.varint();
      switch (tag) {
        case 0x08:
          this.sequence = reader.varint();
          break;
        case 0x15:
          this.seconds = reader.fixed32();
          break;
        case 0x1d:
          this.nanos = reader.fixed32();
          break;
        case 0x22: {
          const size = reader.length();
          this.subjectStart = reader.at;
          this.subjectEnd = reader.at += size;
          break;
        }
        case 0x2a: {
          const size = reader.length();
          this.headersStart = reader.at;
          this.headersEnd = reader.at += size;
          break;
        }
        case 0x32: {
          const size = reader.length();
          this.payloadStart = reader.at;
          this.payloadEnd = reader.at += size;
          break;
        }
        case 0x42:
          this.#origin(reader.length() + reader.at);
          break;
        default:
          reader.skip(tag & 7);
      }
    }
    if (reader.at !== end) throw new FailureError('bad-frame', 'a field runs past its record');
    if (this.sequence === 0 || this.subjectEnd === this.subjectStart)
      throw new FailureError('bad-frame', 'a record without sequence or subject');
    return true;
  }

  #origin(end: number): void {
    const reader = this.#reader;
    while (reader.at < end) {
      const tag = reader.varint();
      if (tag === 0x0a) {
        const size = reader.length();
        this.identityStart = reader.at;
        this.identityEnd = reader.at += size;
      } else if (tag === 0x12) {
        const size = reader.length();
        this.pathStart = reader.at;
        this.pathEnd = reader.at += size;
      } else {
        reader.skip(tag & 7);
      }
    }
    if (reader.at !== end) throw new FailureError('bad-frame', 'a field runs past its origin');
  }
}
