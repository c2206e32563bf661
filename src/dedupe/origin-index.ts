import { LRUCache } from 'lru-cache';
import { OriginSpace } from './origin-space.ts';

/** Identities remembered by text, for records that came through another cluster. */
const recentIdentities = 100_000;

/** Streams that a record may have been in before it is dropped. */
export const maxHops = 8;

/** Where and when a record was first stored. */
export interface Origin {
  /** cluster/stream/incarnation */
  readonly space: string;
  readonly sequence: number;
  /** In µs since 1970; 0 if it is not known. */
  readonly time: number;
}

/**
 * Which records a sink stream holds, by origin: a record that arrives over a second path is recognised and stored once
 * (I4). "Holds" means this very record (I3): the numbers are kept per sequence space (cluster/stream/incarnation) as
 * sets, not as a high mark. Two lanes may have proven the same stream by different labels; a record is the same if sequence and time are,
 * so the sets of one stream are asked in turn. The identities of relayed records are remembered only to save the work of taking them
 * apart; one that is forgotten is still in its set.
 */
export class OriginIndex {
  #spaces: Map<string, OriginSpace> = new Map();
  /** By cluster/stream. */
  #places: Map<string, OriginSpace[]> = new Map();
  readonly #recent = new LRUCache<string, true>({ maxSize: recentIdentities, sizeCalculation: () => 1 });

  /** One sequence space. */
  space(name: string): OriginSpace {
    return this.#spaces.get(name) ?? this.#enter(name, new OriginSpace());
  }

  #enter(name: string, space: OriginSpace): OriginSpace {
    this.#spaces.set(name, space);
    const place = placeOf(name);
    const siblings = this.#places.get(place);
    if (siblings === undefined) this.#places.set(place, [space]);
    else siblings.push(space);
    return space;
  }

  /** Takes note of a record; false if this very record is held already. */
  add({ space: name, sequence, time }: Origin): boolean {
    const own = this.space(name);
    if (own.holds(sequence, time)) return false;
    const siblings = this.#places.get(placeOf(name))!;
    let [space, free] = [own, name];
    if (siblings.length > 1) {
      for (const other of siblings) if (other !== own && other.holdsUnlabelled(sequence, time)) return false;
      // What used numbers of this label again is kept apart, and with it all that is new since.
      for (let next = this.#spaces.get(`${free}'`); next !== undefined; next = this.#spaces.get(`${free}'`)) {
        space = next;
        free += "'";
      }
    }
    while (space.has(sequence)) {
      free += "'";
      space = this.space(free);
    }
    space.add(sequence, time);
    return true;
  }

  /** Forgets a record whose append did not come to pass. */
  delete({ space: name, sequence, time }: Origin): void {
    const other = this.#spaces.get(`${name}'`);
    if (other !== undefined && time > 0 && other.times.fits(sequence, time) && other.has(sequence))
      this.delete({ space: `${name}'`, sequence, time });
    else this.#spaces.get(name)?.set.delete(sequence);
  }

  /** Positions of a space that no record began at: they need no place of their own between those that are held. */
  addEmpty(name: string, first: number, last: number): void {
    this.space(name).set.addRange(first, last);
  }

  /** Takes note of a relayed record; false if this very record is held already. */
  addRelayed(identity: string): boolean {
    if (this.#recent.has(identity)) return false;
    const origin = splitIdentity(identity);
    if (origin === undefined) return true;
    const added = this.add(origin);
    // Noted by somebody else, it may only be under way: whoever noted it takes it back, and would not find this note.
    if (added) this.#recent.set(identity, true);
    return added;
  }

  /** Forgets a relayed record whose append did not come to pass. */
  deleteRelayed(identity: string): void {
    this.#recent.delete(identity);
    const origin = splitIdentity(identity);
    if (origin !== undefined) this.delete(origin);
  }

  /** What is held, as it is now; the copy is the caller's. */
  copy(): OriginIndex {
    const copy = new OriginIndex();
    copy.restore(this.#spaces);
    return copy;
  }

  /** What is held, by space. */
  get spaces(): ReadonlyMap<string, OriginSpace> {
    return this.#spaces;
  }

  /** Forgets everything and begins with these spaces. */
  restore(spaces: ReadonlyMap<string, OriginSpace>): void {
    this.#spaces = new Map();
    this.#places = new Map();
    for (const [name, space] of spaces) this.#enter(name, space.copy());
    this.#recent.clear();
  }

  /** Sequence spaces known, intervals kept, identities remembered: for status and metrics. */
  get size(): { readonly spaces: number; readonly intervals: number; readonly recent: number } {
    let intervals = 0;
    for (const { set } of this.#spaces.values()) intervals += set.intervals;
    return { spaces: this.#spaces.size, intervals, recent: this.#recent.size };
  }
}

function placeOf(space: string): string {
  return space.slice(0, space.lastIndexOf('/'));
}

/** Takes `cluster/stream/incarnation/sequence/time` apart; undefined if it is not of that form. */
export function splitIdentity(identity: string): Origin | undefined {
  const match = /^([^/]+\/[^/]+\/[^/]+)\/(\d{1,16})\/(\d+)$/.exec(identity);
  if (match === null) return undefined;
  return { space: match[1]!, sequence: Number(match[2]), time: Number(match[3]!.slice(0, -3)) };
}

/** A record's time as Origin has it. */
export function originTime(seconds: number, nanos: number): number {
  return seconds * 1e6 + Math.floor(nanos / 1000);
}
