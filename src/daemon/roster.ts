import type { RosterEntry, Store } from '../brokers/store.ts';
import type { Logger } from '../lib/logger.ts';
import { pause } from '../lib/pause.ts';
import { failureFrom } from '../wire/reasons.ts';
import { WriteBehind } from './write-behind.ts';

const retryMs = 1000;
/** How often the time of last contact of those that are connected is written down. */
const refreshMs = 5 * 60_000;

/**
 * The members of groups that ever called, kept in the own cluster (I8), so that a device that is offline is shown as
 * such after a restart too. Forgotten only on demand.
 */
export class Roster {
  readonly #store: Pick<Store, 'roster' | 'saveRoster'>;
  readonly #log: Logger;
  readonly #signal: AbortSignal;
  readonly #entries = new Map<string, RosterEntry>();
  readonly #writes: WriteBehind;
  /** Members that were seen before it was known what was kept. */
  #early: Set<string> | undefined = new Set();

  constructor(store: Pick<Store, 'roster' | 'saveRoster'>, log: Logger, signal: AbortSignal) {
    this.#store = store;
    this.#log = log;
    this.#signal = signal;
    const write = async (cluster: string): Promise<void> => store.saveRoster(this.#entries.get(cluster)!);
    this.#writes = new WriteBehind({ write, failed: 'roster-not-saved', log, signal });
  }

  /** Everybody who ever called, as far as it is known by now. */
  get clusters(): Iterable<string> {
    return this.#entries.keys();
  }

  /** When a member was last known to be there, Unix ms; undefined if it never was. */
  lastSeenMs(cluster: string): number | undefined {
    return this.#entries.get(cluster)?.lastSeenMs;
  }

  /** True once it is known who ever called. */
  get isRead(): boolean {
    return this.#early === undefined;
  }

  /** Reads what was kept, as soon as the store answers. False if that was given up. */
  async load(): Promise<boolean> {
    while (!this.#signal.aborted) {
      try {
        for (const entry of await this.#store.roster()) this.#merge(entry);
        for (const cluster of this.#early ?? []) this.#writes.mark(cluster);
        this.#early = undefined;
        return true;
      } catch (error) {
        this.#log.debug('roster-not-read', { ...failureFrom(error) });
        await pause(retryMs, this.#signal);
      }
    }
    return false;
  }

  #merge(kept: RosterEntry): void {
    const seen = this.#entries.get(kept.cluster);
    this.#entries.set(kept.cluster, seen === undefined ? kept : { ...seen, firstSeenMs: kept.firstSeenMs });
  }

  /** A member is there, or was until now. `change`: it has just come or gone, so that the moment is written down. */
  seen(cluster: string, group: string, node: string | undefined, change: boolean): void {
    const nowMs = Date.now();
    const known = this.#entries.get(cluster);
    if (!change && known !== undefined && nowMs - known.lastSeenMs < refreshMs) return;
    const entry = {
      cluster,
      group,
      firstSeenMs: known?.firstSeenMs ?? nowMs,
      lastSeenMs: nowMs,
      node: node ?? known?.node,
    };
    this.#entries.set(cluster, entry);
    // What was kept has to be known first, or the time of first contact would be lost.
    if (this.#early === undefined) this.#writes.mark(cluster);
    else this.#early.add(cluster);
  }

  /** What was kept may be lost: all that is known is written again. */
  keepAgain(): void {
    if (this.#early === undefined) for (const cluster of this.#entries.keys()) this.#writes.mark(cluster);
  }

  /** Waits, no longer than so, until everything is written that can be. */
  settle(deadlineMs: number): Promise<void> {
    return this.#writes.settle(deadlineMs);
  }
}
