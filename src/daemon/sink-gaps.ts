import type { LedgerEntry, SinkStore } from '../brokers/store.ts';
import type { Logger } from '../lib/logger.ts';
import { pause } from '../lib/pause.ts';
import { formatPosition } from '../wire/position.ts';
import { failureFrom } from '../wire/reasons.ts';

const retryMs = 1000;

export interface GapContext {
  readonly store: Pick<SinkStore, 'recordGap'>;
  readonly log: Logger;
  readonly replicas: number;
  /** The session that told of it goes on. */
  readonly isOpen: () => boolean;
  readonly signal: AbortSignal;
}

/** Enters a gap into the ledger, and tries until it is there; false if its session is over before. */
export async function enterGap(gap: Omit<LedgerEntry, 'at'>, context: GapContext): Promise<boolean> {
  const { store, log, replicas, isOpen, signal } = context;
  const { lane, after, upTo, reason } = gap;
  log.warn('gap', { lane, reason, after: formatPosition(after), upTo: formatPosition(upTo) });
  while (isOpen()) {
    try {
      await store.recordGap({ ...gap, at: new Date().toISOString() }, replicas);
      return true;
    } catch (error) {
      log.warn('ledger-failed', { lane, ...failureFrom(error) });
      await pause(retryMs, signal);
    }
  }
  return false;
}
