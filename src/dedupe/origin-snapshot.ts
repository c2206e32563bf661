import { IntervalSet } from './interval-set.ts';
import { OriginSpace } from './origin-space.ts';
import { RecordTimes } from './record-times.ts';

/** A record of ours that stands in a sink stream: the proof that the stream is still the one that was spoken of. */
export interface OriginMark {
  readonly sinkSequence: number;
  readonly lane: string;
  readonly incarnation: string;
  readonly sequence: number;
}

/**
 * What a sink stream holds by origin, as of a sequence of it: complete up to there, and nothing in it that is not stored. No record that
 * it speaks of stands behind the mark; absent only if nothing is held.
 */
export interface OriginSnapshot {
  readonly upTo: number;
  readonly mark: OriginMark | undefined;
  readonly spaces: ReadonlyMap<string, OriginSpace>;
}

/** Numbers that are coded or decoded at a stretch: well below a millisecond. */
const stretch = 8192;

/**
 * Spaces in a compact form, piece by piece, so that other work can go on in between: per space its name, its intervals (where each
 * starts, counted from the end of the one before it, and how many numbers follow its first), and its marks of time as differences.
 */
export function* encodeSpaces(spaces: OriginSnapshot['spaces']): Generator<Buffer> {
  let piece = new Writer();
  for (const [name, { set, times }] of spaces) {
    piece.text(name);
    piece.number(set.intervals);
    let before = 0;
    for (const bound of set.bounds()) {
      piece.number(bound - before);
      before = bound;
      if (piece.count < stretch) continue;
      yield piece.take();
      piece = new Writer();
    }
    piece.number(times.size);
    let [beforeSequence, beforeTime] = [0, 0];
    for (const [sequence, time] of times.marks()) {
      piece.number(sequence - beforeSequence);
      // Zigzag: clocks are set back now and then.
      const step = time - beforeTime;
      piece.number(step < 0 ? -2 * step - 1 : 2 * step);
      [beforeSequence, beforeTime] = [sequence, time];
    }
    piece.number(times.latest);
    if (piece.count < stretch) continue;
    yield piece.take();
    piece = new Writer();
  }
  if (piece.count > 0) yield piece.take();
}

/** What `encodeSpaces` gave, piece by piece too; returns undefined for anything else. */
export function* decodeSpaces(bytes: Buffer): Generator<undefined, Map<string, OriginSpace> | undefined> {
  const reader = new Reader(bytes);
  const spaces = new Map<string, OriginSpace>();
  let sinceYield = 0;
  while (reader.ok && !reader.atEnd) {
    const name = reader.text();
    const intervals = reader.number();
    const set = new IntervalSet();
    let at = 0;
    for (let i = 0; i < intervals && reader.ok; i++) {
      const [gap, more] = [reader.number(), reader.number()];
      // Intervals that touch would be one.
      if (gap < (i === 0 ? 1 : 2) || !Number.isSafeInteger(at + gap + more)) return undefined;
      set.addRange(at + gap, at + gap + more);
      at += gap + more;
      if (++sinceYield % stretch === 0) yield;
    }
    const marks: [number, number][] = [];
    let [sequence, time] = [0, 0];
    const count = reader.number();
    for (let i = 0; i < count && reader.ok; i++) {
      const step = reader.number();
      if (step < 1) return undefined;
      sequence += step;
      const zigzag = reader.number();
      time += zigzag % 2 === 1 ? -(zigzag + 1) / 2 : zigzag / 2;
      if (!Number.isSafeInteger(sequence) || !Number.isSafeInteger(time) || time < 1) return undefined;
      marks.push([sequence, time]);
    }
    spaces.set(name, new OriginSpace(set, new RecordTimes(marks, reader.number())));
  }
  return reader.ok ? spaces : undefined;
}

/** Spaces as a text. */
export type SpacesJson = string;

/** All of it at once. */
export function spacesToJson(spaces: OriginSnapshot['spaces']): SpacesJson {
  return Buffer.concat([...encodeSpaces(spaces)]).toString('base64');
}

/** What `spacesToJson` gave; undefined for anything else. */
export function spacesFromJson(json: unknown): Map<string, OriginSpace> | undefined {
  if (typeof json !== 'string') return undefined;
  const decoding = decodeSpaces(Buffer.from(json, 'base64'));
  for (;;) {
    const { done, value } = decoding.next();
    if (done === true) return value;
  }
}

/** Writes numbers of 7 bits a byte, lowest first, the last byte below 128. */
class Writer {
  #buffer = Buffer.allocUnsafe(1024);
  #at = 0;
  count = 0;

  number(value: number): void {
    this.#room(8);
    this.count++;
    let rest = value;
    for (; rest > 127; rest = Math.floor(rest / 128)) this.#buffer[this.#at++] = (rest % 128) | 128;
    this.#buffer[this.#at++] = rest;
  }

  text(text: string): void {
    const bytes = Buffer.from(text);
    this.number(bytes.length);
    this.#room(bytes.length);
    this.#at += bytes.copy(this.#buffer, this.#at);
  }

  take(): Buffer {
    return this.#buffer.subarray(0, this.#at);
  }

  #room(bytes: number): void {
    if (this.#at + bytes <= this.#buffer.length) return;
    const larger = Buffer.allocUnsafe(2 * this.#buffer.length + bytes);
    this.#buffer.copy(larger, 0, 0, this.#at);
    this.#buffer = larger;
  }
}

/** Reads what Writer wrote; once something does not fit, `ok` is false for good. */
class Reader {
  readonly #buffer: Buffer;
  #at = 0;
  ok = true;

  constructor(buffer: Buffer) {
    this.#buffer = buffer;
  }

  get atEnd(): boolean {
    return this.#at === this.#buffer.length;
  }

  number(): number {
    let value = 0;
    for (let scale = 1; this.#at < this.#buffer.length && value <= Number.MAX_SAFE_INTEGER; scale *= 128) {
      const byte = this.#buffer[this.#at++]!;
      value += (byte & 127) * scale;
      if (byte < 128 && value <= Number.MAX_SAFE_INTEGER) return value;
    }
    this.ok = false;
    return 0;
  }

  text(): string {
    const length = this.number();
    const end = this.#at + length;
    if (end > this.#buffer.length) {
      this.ok = false;
      return '';
    }
    const text = this.#buffer.toString('utf8', this.#at, end);
    this.#at = end;
    return text;
  }
}
