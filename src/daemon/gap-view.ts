import type { KeptGap, LedgerPlace, Store } from '../brokers/store.ts';
import type { Logger } from '../lib/logger.ts';
import type { GapStatus } from '../ops/status.ts';
import { failureFrom } from '../wire/reasons.ts';

/** How often the ledger is looked at: whether it changed takes one question. */
const lookMs = 5_000;
/** The same until it was read once. */
const firstMs = 500;

export interface GapViewOptions {
  readonly cluster: string;
  readonly store: Pick<Store, 'gaps'>;
  readonly log: Logger;
  /** Lanes end at this cluster: only these have gaps here. */
  readonly isWanted: () => boolean;
  /** The servers can be asked at this moment. */
  readonly isReachable: () => boolean;
}

/**
 * What a cluster's ledger holds that nobody acknowledged, as far as it was read last: other daemons and people write it, too. Some 300
 * bytes of memory for each such gap.
 */
export class GapView {
  readonly #options: GapViewOptions;
  readonly #open = new Map<string, KeptGap>();
  #place: LedgerPlace | undefined;
  #timer: NodeJS.Timeout | undefined;
  #looking: Promise<void> | undefined;
  #failed = false;
  #stopped = false;

  constructor(options: GapViewOptions) {
    this.#options = options;
  }

  start(): void {
    const again = (): void => {
      if (this.#stopped) return;
      this.#timer = setTimeout(() => void this.look().then(again), this.#place === undefined ? firstMs : lookMs);
      this.#timer.unref();
    };
    again();
  }

  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#timer);
  }

  /** Reads what changed. Never throws. */
  look(): Promise<void> {
    this.#looking ??= this.#look().finally(() => {
      this.#looking = undefined;
    });
    return this.#looking;
  }

  async #look(): Promise<void> {
    const { store, log, isWanted, isReachable } = this.#options;
    if (!isWanted() || !isReachable()) return;
    try {
      const { place, whole, gaps, removed } = await store.gaps(this.#place);
      if (whole) this.#open.clear();
      for (const gap of gaps) {
        if (gap.acknowledged === undefined) this.#open.set(gap.key, gap);
        else this.#open.delete(gap.key);
      }
      for (const key of removed) this.#open.delete(key);
      this.#place = place;
      this.#failed = false;
    } catch (error) {
      if (!this.#failed) log.warn('ledger-unreadable', { ...failureFrom(error) });
      this.#failed = true;
    }
  }

  /** What waits to be acknowledged, by lane; undefined while that is not known. */
  status(): GapStatus[] | undefined {
    if (!this.#options.isWanted()) return [];
    if (this.#place === undefined) return undefined;
    const lanes = new Map<string, KeptGap[]>();
    for (const gap of this.#open.values()) {
      const others = lanes.get(gap.lane);
      if (others === undefined) lanes.set(gap.lane, [gap]);
      else others.push(gap);
    }
    return [...lanes].map(([lane, gaps]) => {
      const oldest = gaps.reduce((a, b) => (b.at < a.at ? b : a));
      const records = gaps.reduce<number | undefined>((sum, gap) => add(sum, recordsIn(gap)), 0);
      return {
        cluster: this.#options.cluster,
        lane,
        link: lane.split('/')[0] ?? lane,
        gaps: gaps.length,
        ...(records === undefined ? {} : { records }),
        sinceMs: Date.parse(oldest.at),
        reason: oldest.reason,
      };
    });
  }
}

/** Positions that a gap takes in; undefined where the source began to count anew in it. */
export function recordsIn({ after, upTo }: Pick<KeptGap, 'after' | 'upTo'>): number | undefined {
  return after.incarnation === upTo.incarnation ? upTo.sequence - after.sequence : undefined;
}

function add(a: number | undefined, b: number | undefined): number | undefined {
  return a === undefined || b === undefined ? undefined : a + b;
}
