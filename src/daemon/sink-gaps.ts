import type { LedgerEntry, SinkStore } from '../brokers/store.ts';
import type { Logger } from '../lib/logger.ts';
import { pause } from '../lib/pause.ts';
import { formatPosition } from '../wire/position.ts';
import { failureFrom } from '../wire/reasons.ts';
import type { SinkSessionEvents } from './sink-session.ts';

const retryMs = 1000;
/** What may pass is waited for so many times; then the lane says what it waits for. */
const mostTries = 10;

export interface GapContext {
  readonly store: Pick<SinkStore, 'recordGap'>;
  readonly log: Logger;
  readonly replicas: number;
  /** That told of it. `parks`: by the link's policy the lane passes only what is acknowledged. */
  readonly session: { readonly parks: boolean; readonly events: Pick<SinkSessionEvents, 'parked'> };
  /** It goes on. */
  readonly isOpen: () => boolean;
  readonly signal: AbortSignal;
}

/**
 * Enters a gap into the ledger, and tries until it is there; of a lane that parks at gaps, until it is acknowledged there. False if the
 * session is over before.
 */
export async function enterGap(gap: Omit<LedgerEntry, 'at'>, context: GapContext): Promise<boolean> {
  const { store, log, replicas, session, isOpen, signal } = context;
  const { lane, after, upTo, reason } = gap;
  const entry = { ...gap, at: new Date().toISOString() };
  log.warn('gap', { lane, reason, after: formatPosition(after), upTo: formatPosition(upTo) });
  let parked = false;
  let failures = 0;
  for (; isOpen() && !signal.aborted; await pause(retryMs, signal)) {
    try {
      const acknowledged = await store.recordGap(entry, replicas);
      failures = 0;
      if (!isOpen()) break;
      if (acknowledged || !session.parks) {
        session.events.parked(undefined);
        return true;
      }
      if (!parked) session.events.parked({ reason, detail: parkedDetail(gap) });
      parked = true;
    } catch (error) {
      const failure = failureFrom(error);
      log.warn('ledger-failed', { lane, ...failure });
      failures++;
      if (failures < mostTries) continue;
      session.events.parked({ ...failure, detail: `a gap cannot be entered into the ledger: ${failure.detail}` });
      parked = false;
    }
  }
  return false;
}

function parkedDetail({ lane, after, upTo }: Pick<LedgerEntry, 'lane' | 'after' | 'upTo'>): string {
  const range = `what lies behind ${formatPosition(after)}, up to ${formatPosition(upTo)}, is lost`;
  return `${range}; the lane waits for: causeway gaps ack ${lane}`;
}
