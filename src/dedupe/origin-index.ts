import { LRUCache } from 'lru-cache';
import { IntervalSet } from './interval-set.ts';

/** Identities remembered by text, for records that came through another cluster. */
const recentIdentities = 100_000;

/**
 * Which records a sink stream holds, by origin: a record that arrives over a second path is recognised and stored once
 * (I4). "Holds" means this very record (I3): the numbers are kept per sequence space (cluster/stream/incarnation) as
 * sets, not as a high mark, and for relayed records the whole identity, record time included, is compared while it is remembered.
 */
export class OriginIndex {
  readonly #spaces = new Map<string, IntervalSet>();
  readonly #recent = new LRUCache<string, true>({ max: recentIdentities });

  /** The set of one sequence space, to be used for a whole batch. */
  space(name: string): IntervalSet {
    let set = this.#spaces.get(name);
    if (set === undefined) {
      set = new IntervalSet();
      this.#spaces.set(name, set);
    }
    return set;
  }

  /** Takes note of a relayed record; false if this very record is held already. */
  addRelayed(identity: string): boolean {
    if (this.#recent.has(identity)) return false;
    const parsed = splitIdentity(identity);
    if (parsed === undefined) return true;
    const added = this.space(parsed.space).add(parsed.sequence);
    this.#recent.set(identity, true);
    return added;
  }

  /** Forgets a relayed record whose append did not come to pass. */
  deleteRelayed(identity: string): void {
    this.#recent.delete(identity);
    const parsed = splitIdentity(identity);
    if (parsed !== undefined) this.space(parsed.space).delete(parsed.sequence);
  }

  /** Sequence spaces known, intervals kept, identities remembered: for status and metrics. */
  get size(): { readonly spaces: number; readonly intervals: number; readonly recent: number } {
    let intervals = 0;
    for (const set of this.#spaces.values()) intervals += set.intervals;
    return { spaces: this.#spaces.size, intervals, recent: this.#recent.size };
  }
}

/** Takes `cluster/stream/incarnation/sequence/time` apart; undefined if it is not of that form. */
export function splitIdentity(identity: string): { space: string; sequence: number } | undefined {
  const match = /^([^/]+\/[^/]+\/[^/]+)\/(\d{1,16})\/\d+$/.exec(identity);
  if (match === null) return undefined;
  return { space: match[1]!, sequence: Number(match[2]) };
}
