import type { KeptGap, LedgerEntry } from './store.ts';

/** What is to be done so that the ledger has a gap that was found: written, taken out, or looked at from another place on. */
export interface GapPlacing {
  /** The entry for it; undefined if one is there that covers it. */
  readonly enter: LedgerEntry | undefined;
  /** Entries that this one takes the place of. */
  readonly replace: readonly KeptGap[];
  /** The first part of it is acknowledged: only the rest, behind this place, is to be entered. */
  readonly rest: LedgerEntry | undefined;
  /** Nothing of it waits for anybody. */
  readonly acknowledged: boolean;
}

/**
 * A gap is met again whenever its lane opens before the cursor could pass: after a crash, or while it waits to be acknowledged. By then
 * the source may have lost more, or count under another incarnation. `known`: what the ledger has of this lane behind the same position.
 */
export function placeGap(gap: LedgerEntry, known: readonly KeptGap[]): GapPlacing {
  const alike = known.filter(({ upTo }) => upTo.incarnation === gap.upTo.incarnation);
  const covering = alike.find(({ upTo }) => upTo.sequence >= gap.upTo.sequence);
  if (covering !== undefined) return placed({ acknowledged: covering.acknowledged !== undefined });
  const settled = alike
    .filter(({ acknowledged }) => acknowledged !== undefined)
    .toSorted((a, b) => b.upTo.sequence - a.upTo.sequence)[0];
  if (settled !== undefined) return placed({ rest: { ...gap, after: settled.upTo } });
  // The label of the new incarnation is a random one: what is lost, and where it goes on, is the same.
  const others = known.filter(({ upTo }) => upTo.incarnation !== gap.upTo.incarnation);
  const same = others.find(({ upTo, reason, acknowledged }) => {
    return acknowledged !== undefined && upTo.sequence === gap.upTo.sequence && reason === gap.reason;
  });
  const open = known.filter(({ acknowledged }) => acknowledged === undefined);
  const first = open.map(({ at }) => at).toSorted()[0];
  const at = first === undefined || first > gap.at ? gap.at : first;
  if (same === undefined) return placed({ enter: { ...gap, at }, replace: open });
  const enter = { ...gap, at: same.at, ...(same.acknowledged && { acknowledged: same.acknowledged }) };
  return placed({ enter, replace: [...open, same], acknowledged: true });
}

function placed(part: Partial<GapPlacing>): GapPlacing {
  return { enter: undefined, replace: [], rest: undefined, acknowledged: false, ...part };
}
