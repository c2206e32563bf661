import { createHash } from 'node:crypto';
import type { LedgerEntry, Store } from '../brokers/store.ts';
import type { AdminVerb } from '../ops/admin-verb.ts';
import { formatPosition } from '../wire/position.ts';
import type { Reason } from '../wire/reasons.ts';
import { chooseLanes } from './lane-choice.ts';

/** A cluster that the daemon works for, as far as the ledger of its gaps is concerned. */
export interface GapEnd {
  readonly cluster: string;
  readonly store: Pick<Store, 'gaps'>;
}

/** A gap as `gaps list` tells it, one `item` each. */
export interface GapItem {
  /** Names it to `gaps ack`. */
  readonly id: string;
  /** The cluster in whose ledger it is: that of the sink. */
  readonly cluster: string;
  readonly lane: string;
  readonly reason: Reason;
  /** Positions, `incarnation.sequence`: what lies behind `after`, up to and with `upTo`, will not arrive. */
  readonly after: string;
  readonly upTo: string;
  /** Positions that are lost; absent where the source began to count anew in between. */
  readonly records?: number;
  /** When it was entered, ISO 8601. */
  readonly at: string;
}

/** `gaps list`: what the ledgers of the daemon's clusters hold. */
export function gapVerbs(ends: () => readonly GapEnd[]): readonly AdminVerb[] {
  return [
    {
      name: 'gaps list',
      changes: false,
      async run(args, { item }) {
        const chosen = chooseLanes(args.text('lanes'));
        args.done();
        let count = 0;
        for (const { cluster, store } of ends()) {
          for (const entry of await store.gaps()) {
            if (!chosen(entry.lane)) continue;
            count++;
            await item(gapItem(cluster, entry));
          }
        }
        return { count };
      },
    },
  ];
}

function gapItem(cluster: string, { lane, after, upTo, reason, at }: LedgerEntry): GapItem {
  const range = { after: formatPosition(after), upTo: formatPosition(upTo) };
  const id = createHash('sha256').update(`${cluster} ${lane} ${range.after} ${range.upTo}`).digest('hex').slice(0, 10);
  const records = after.incarnation === upTo.incarnation ? { records: upTo.sequence - after.sequence } : {};
  return { id, cluster, lane, reason, ...range, ...records, at };
}
