import type { RetentionLimits } from '../brokers/broker.ts';

/** What a lane has not carried yet, at a moment. */
export interface Backlog {
  /** Of that moment, Unix ms. */
  readonly atMs: number;
  readonly records: number;
  /** By the mean size of the stream's records. */
  readonly bytes: number;
  /** When the first of them was stored, Unix ms; undefined where nobody asked. */
  readonly oldestMs: number | undefined;
}

/** When the stream begins to delete what a lane has not carried, if everything goes on as it does. */
export interface RetentionEnd {
  /** 0: it does. */
  readonly seconds: number;
  /** The limit that it reaches first, as the server calls it. */
  readonly limit: 'max_age' | 'max_bytes' | 'max_msgs';
}

/**
 * Judges by how a backlog grew between two moments. Undefined if it does not grow towards a limit, or that is not known (I6): then
 * nothing is said, and not that there is time.
 */
export function retentionEnd(
  { maxAgeMs, maxBytes, maxMessages }: RetentionLimits,
  before: Backlog,
  now: Backlog,
): RetentionEnd | undefined {
  const ms = now.atMs - before.atMs;
  if (ms <= 0 || now.records <= 0) return undefined;
  const ends: RetentionEnd[] = [];
  const judge = (limit: RetentionEnd['limit'], most: number | undefined, was: number, is: number): void => {
    const perMs = (is - was) / ms;
    if (most !== undefined && perMs > 0) ends.push({ limit, seconds: Math.max(0, (most - is) / perMs / 1000) });
  };
  judge('max_msgs', maxMessages, before.records, now.records);
  judge('max_bytes', maxBytes, before.bytes, now.bytes);
  if (before.oldestMs !== undefined && now.oldestMs !== undefined)
    judge('max_age', maxAgeMs, before.atMs - before.oldestMs, now.atMs - now.oldestMs);
  return ends.toSorted((a, b) => a.seconds - b.seconds)[0];
}
