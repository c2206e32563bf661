import type { SinkStore } from '../brokers/store.ts';
import type { IntentGroup } from '../dedupe/intent-group.ts';

/** So many groups are kept at most. One is written over once nobody needs it. */
const slots = 256;
/** So many of the places are left for what a reading of the sink brings out. */
const spare = 8;
/** While fewer than so many are taken, groups follow each other at once; then after so many ms. */
const paces = [
  { taken: 64, everyMs: 0 },
  { taken: 192, everyMs: 8 },
  { taken: slots, everyMs: 50 },
] as const;

export interface IntentRingOptions {
  readonly store: Pick<SinkStore, 'intents' | 'saveIntent'>;
  readonly stream: string;
  readonly laneUpTo: (lane: string) => number;
  readonly originsUpTo: () => number;
}

/** What has to be in checkpoints and in what is kept by origin before a group may be written over. */
interface Kept {
  readonly base: number;
  readonly end: number;
  /** By lane: the sink sequence of its last record. */
  readonly lanes: ReadonlyMap<string, number>;
}

/**
 * The groups of a sink as they are kept in the KV bucket: one entry for each, each of them written by compare-and-set over one that is
 * not needed any more. Two daemons that write one sink so see each other's groups, in one order.
 */
export class IntentRing {
  readonly #options: IntentRingOptions;
  #replicas = 1;
  /** By number of the group, ascending. */
  readonly #kept = new Map<number, Kept>();
  readonly #revisions = new Map<number, number>();
  #next = 1;
  #taken = 0;
  #writtenMs = Number.NEGATIVE_INFINITY;

  constructor(options: IntentRingOptions) {
    this.#options = options;
  }

  get isEmpty(): boolean {
    return this.#kept.size === 0;
  }

  /** What stands in the sink up to here is told without any group. */
  get floor(): number {
    let floor = Number.POSITIVE_INFINITY;
    for (const { base } of this.#kept.values()) floor = Math.min(floor, base);
    return Number.isFinite(floor) ? floor : 0;
  }

  /** There is a place for one more group of new records. */
  get hasRoom(): boolean {
    const over = this.#kept.get(this.#next - slots + spare);
    return over === undefined || this.#isCovered(over);
  }

  /** In how many ms the next group may be written: what is taken is given back about once a second. */
  waitMs(nowMs: number): number {
    const pace = paces.find(({ taken }) => this.#taken < taken) ?? paces[paces.length - 1]!;
    return Math.max(0, this.#writtenMs + pace.everyMs - nowMs);
  }

  /** Reads what is kept; gives the groups that were not known here, in order. Throws FailureError. */
  async load(replicas: number): Promise<IntentGroup[]> {
    const { store, stream } = this.#options;
    this.#replicas = replicas;
    const news: IntentGroup[] = [];
    for (const { slot, revision, group } of await store.intents(stream, replicas)) {
      this.#revisions.set(slot, revision);
      if (group === undefined || this.#kept.has(group.number) || group.number < this.#next - slots) continue;
      news.push(group);
    }
    news.sort((a, b) => a.number - b.number);
    for (const group of news) this.#keep(group);
    return news;
  }

  /** Writes the next group. Throws FailureError; `superseded` if somebody else wrote one. */
  async write(make: (number: number) => IntentGroup): Promise<void> {
    const { store, stream } = this.#options;
    const number = this.#next++;
    this.#taken++;
    this.#writtenMs = performance.now();
    const slot = number % slots;
    const group = make(number);
    const revision = await store.saveIntent(stream, slot, group, this.#revisions.get(slot) ?? 0, this.#replicas);
    this.#revisions.set(slot, revision);
    this.#keep(group);
  }

  #keep(group: IntentGroup): void {
    const { number, base, records } = group;
    const lanes = new Map<string, number>();
    for (const [i, record] of records.entries()) if (record !== undefined) lanes.set(record.lane, base + 1 + i);
    this.#kept.set(number, { base, end: base + records.length, lanes });
    this.#kept.delete(number - slots);
    this.#next = Math.max(this.#next, number + 1);
  }

  /** Sink sequence up to which nothing is needed any more of what stands where; `known`: it is certain what stands there. */
  release(known: number): number {
    let upTo = known;
    this.#taken = 0;
    for (const one of this.#kept.values()) {
      if (this.#isCovered(one)) continue;
      this.#taken++;
      upTo = Math.min(upTo, one.base);
    }
    return upTo;
  }

  #isCovered({ end, lanes }: Kept): boolean {
    const { laneUpTo, originsUpTo } = this.#options;
    if (originsUpTo() < end) return false;
    for (const [lane, last] of lanes) if (laneUpTo(lane) < last) return false;
    return true;
  }
}
