import { createHash } from 'node:crypto';
import { FailureError } from '../wire/reasons.ts';
import type { Span, VerifyGroup } from '../wire/verify.ts';

/** Groups that one end holds at a time (I5); some 25 MiB. */
export const maxGroups = 250_000;
const maxKnownPlaces = 10_000;

/** Names for places (cluster/stream) that are short on the line: the first 48 bits of SHA-256. */
export class PlaceIds {
  readonly #known = new Map<string, number>();

  of(place: string): number {
    let id = this.#known.get(place);
    if (id === undefined) {
      if (this.#known.size >= maxKnownPlaces) this.#known.clear();
      id = createHash('sha256').update(place).digest().readUIntBE(0, 6);
      this.#known.set(place, id);
    }
    return id;
  }
}

/** The group of a record by where it was first seen: 2^level sequences that follow each other at one place. */
export function groupOf(place: number, sequence: number, level: number): number {
  return place + Math.floor(sequence / 2 ** level);
}

interface Sum {
  count: number;
  readonly words: Uint32Array;
  first: number;
  last: number;
}

/** Digests of groups, in whatever order their records come: two ends that hold the same records have the same. */
export class Groups {
  readonly #sums = new Map<number, Sum>();

  add(id: number, digest: Buffer, at: number): void {
    let sum = this.#sums.get(id);
    if (sum === undefined) {
      if (this.#sums.size >= maxGroups)
        throw new FailureError(
          'not-verifiable',
          'its records come from too many places; compare less of them at a time',
        );
      sum = { count: 0, words: new Uint32Array(4), first: at, last: at };
      this.#sums.set(id, sum);
    }
    sum.count++;
    for (let i = 0; i < 4; i++) sum.words[i] = sum.words[i]! + digest.readUInt32LE(4 * i);
    sum.first = Math.min(sum.first, at);
    sum.last = Math.max(sum.last, at);
  }

  list(): VerifyGroup[] {
    return [...this.#sums].map(([id, { count, words, first, last }]) => {
      const digest = Buffer.alloc(16);
      for (let i = 0; i < 4; i++) digest.writeUInt32LE(words[i]!, 4 * i);
      return { id, count, digest, first, last };
    });
  }
}

/** True if a sequence lies in one of the spans. */
export function isWithin(spans: readonly Span[], sequence: number): boolean {
  for (const { from, upTo } of spans) if (sequence >= from && sequence <= upTo) return true;
  return false;
}

/** The same sequences, and some more where there would be more than `most` spans; in ascending order, none touching the next. */
export function merged(spans: readonly Span[], most: number): Span[] {
  const sorted = spans.toSorted((a, b) => a.from - b.from);
  const joined: { from: number; upTo: number }[] = [];
  for (const { from, upTo } of sorted) {
    const last = joined.at(-1);
    if (last !== undefined && from <= last.upTo + 1) last.upTo = Math.max(last.upTo, upTo);
    else joined.push({ from, upTo });
  }
  while (joined.length > most) {
    let narrowest = 1;
    const gap = (i: number) => joined[i]!.from - joined[i - 1]!.upTo;
    for (let i = 2; i < joined.length; i++) if (gap(i) < gap(narrowest)) narrowest = i;
    joined[narrowest - 1]!.upTo = joined[narrowest]!.upTo;
    joined.splice(narrowest, 1);
  }
  return joined;
}
