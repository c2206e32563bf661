import { NumberReader, NumberWriter } from '../lib/packed-numbers.ts';
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
  let piece = new NumberWriter();
  for (const [name, { set, times }] of spaces) {
    piece.text(name);
    piece.number(set.intervals);
    let before = 0;
    for (const bound of set.bounds()) {
      piece.number(bound - before);
      before = bound;
      if (piece.count < stretch) continue;
      yield piece.take();
      piece = new NumberWriter();
    }
    piece.number(times.size);
    let [beforeSequence, beforeTime] = [0, 0];
    for (const [sequence, time] of times.marks()) {
      piece.number(sequence - beforeSequence);
      // Clocks are set back now and then.
      piece.signed(time - beforeTime);
      [beforeSequence, beforeTime] = [sequence, time];
    }
    piece.number(times.latest);
    if (piece.count < stretch) continue;
    yield piece.take();
    piece = new NumberWriter();
  }
  if (piece.count > 0) yield piece.take();
}

/** What `encodeSpaces` gave, piece by piece too; returns undefined for anything else. */
export function* decodeSpaces(bytes: Buffer): Generator<undefined, Map<string, OriginSpace> | undefined> {
  const reader = new NumberReader(bytes);
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
      time += reader.signed();
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
