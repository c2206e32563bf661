import { createHash } from 'node:crypto';
import type { Acknowledgement, KeptGap, Store } from '../brokers/store.ts';
import { type AdminArgs, type AdminContext, AdminError, type AdminVerb } from '../ops/admin-verb.ts';
import { formatPosition } from '../wire/position.ts';
import { FailureError, type Reason } from '../wire/reasons.ts';
import { type GapView, recordsIn } from './gap-view.ts';
import { chooseLanes } from './lane-choice.ts';

/** A cluster that the daemon works for, as far as the ledger of its gaps is concerned. */
export interface GapEnd {
  readonly cluster: string;
  readonly store: Pick<Store, 'gaps' | 'acknowledgeGap'>;
  readonly gaps: Pick<GapView, 'look'>;
}

/** A gap as `gaps list` and `gaps ack` tell it, one `item` each. */
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
  /** When it was found, ISO 8601. */
  readonly at: string;
  readonly acknowledged?: Acknowledgement;
}

/** `gaps list` and `gaps ack`, over the ledgers of the daemon's clusters. */
export function gapVerbs(ends: () => readonly GapEnd[]): readonly AdminVerb[] {
  return [
    {
      name: 'gaps list',
      changes: false,
      async run(args, { item }) {
        const chosen = chooseLanes(args.text('lanes'));
        const open = args.flag('open');
        args.done();
        let count = 0;
        for (const { end, gap } of await gapsOf(ends())) {
          if (!chosen(gap.lane) || (open && gap.acknowledged !== undefined)) continue;
          count++;
          await item(gapItem(end, gap));
        }
        return { count };
      },
    },
    { name: 'gaps ack', changes: true, run: (args, context) => acknowledge(args, context, ends()) },
  ];
}

/** Acknowledges what was chosen. What somebody else acknowledged meanwhile is left as it is. */
async function acknowledge(
  args: AdminArgs,
  { dryRun, item }: AdminContext,
  ends: readonly GapEnd[],
): Promise<{ count: number }> {
  const [lanes, ids, all] = [args.text('lanes'), args.texts('ids'), args.flag('all')];
  const [by, note] = [args.text('by') ?? 'unknown', args.text('note')];
  args.done();
  const ways = [lanes !== undefined, ids.length > 0, all].filter((given) => given).length;
  if (ways !== 1) throw new AdminError('say which gaps: those of lanes, some by their ids, or all');
  const chosen = chooseLanes(lanes);
  const found = (await gapsOf(ends)).filter(({ end, gap }) =>
    ids.length > 0 ? ids.includes(idOf(end, gap)) : chosen(gap.lane),
  );
  const unknown = ids.find((id) => !found.some(({ end, gap }) => idOf(end, gap) === id));
  if (unknown !== undefined) throw new AdminError(`there is no gap ${unknown}`);
  let count = 0;
  for (const { end, gap } of found) {
    if (gap.acknowledged !== undefined) continue;
    const acknowledged = { at: new Date().toISOString(), by, ...(note === undefined ? {} : { note }) };
    if (!dryRun && !(await wrote(end, gap, acknowledged))) continue;
    count++;
    await item(gapItem(end, { ...gap, acknowledged }));
  }
  if (!dryRun) await Promise.all(ends.map(({ gaps }) => gaps.look()));
  return { count };
}

/** False if it has grown, or is acknowledged, since it was read: then it is not what was chosen. */
async function wrote({ store }: GapEnd, gap: KeptGap, acknowledged: Acknowledgement): Promise<boolean> {
  try {
    await store.acknowledgeGap(gap, acknowledged);
    return true;
  } catch (error) {
    if (error instanceof FailureError && error.failure.reason === 'superseded') return false;
    throw error;
  }
}

/** Every gap of every ledger, oldest first in each. */
async function gapsOf(ends: readonly GapEnd[]): Promise<{ readonly end: GapEnd; readonly gap: KeptGap }[]> {
  const found: { readonly end: GapEnd; readonly gap: KeptGap }[] = [];
  for (const end of ends) {
    const { gaps } = await end.store.gaps();
    for (const gap of gaps.toSorted((a, b) => (a.at < b.at ? -1 : 1))) found.push({ end, gap });
  }
  return found;
}

function idOf({ cluster }: GapEnd, { key }: KeptGap): string {
  return createHash('sha256').update(`${cluster} ${key}`).digest('hex').slice(0, 10);
}

function gapItem(end: GapEnd, gap: KeptGap): GapItem {
  const { lane, after, upTo, reason, at, acknowledged } = gap;
  const records = recordsIn(gap);
  return {
    id: idOf(end, gap),
    cluster: end.cluster,
    lane,
    reason,
    after: formatPosition(after),
    upTo: formatPosition(upTo),
    ...(records === undefined ? {} : { records }),
    at,
    ...(acknowledged === undefined ? {} : { acknowledged }),
  };
}
