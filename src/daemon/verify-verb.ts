import { type AdminArgs, type AdminContext, AdminError, type AdminVerb } from '../ops/admin-verb.ts';
import type { Reason } from '../wire/reasons.ts';
import { type Failure, failureFrom } from '../wire/reasons.ts';
import type { VerifyLimit } from '../wire/verify.ts';
import { chooseLanes } from './lane-choice.ts';
import type { Verifier, VerifyRange } from './verifier.ts';
import type { Comparison, VerifyStep } from './verify-compare.ts';
import type { Difference } from './verify-records.ts';

/** A cluster that the daemon works for, as far as its lanes can be verified. */
export interface VerifyClusterEnd {
  readonly verifier: Pick<Verifier, 'lanes' | 'verify'>;
}

/** How far `verify` is. */
export interface VerifyProgress {
  readonly lane: string;
  readonly step: VerifyStep;
  readonly read: number;
  readonly total: number;
}

/** What came out for a lane: that it is equal or differs, or why it could not be found out. */
export type VerifyReport = { readonly lane: string } & (
  | ({ readonly verdict: 'equal' | 'different' } & Comparison)
  | { readonly verdict: 'unverified'; readonly reason: Reason; readonly detail: string }
);

/** An `item` of `verify`: a difference, as it is found, or what came out for a lane. */
export type VerifyItem =
  | { readonly difference: { readonly lane: string } & Difference }
  | { readonly report: VerifyReport };

/** The result of `verify`: how many lanes came out how. */
export interface VerifyResult {
  readonly equal: number;
  readonly different: number;
  readonly unverified: number;
}

const progressMs = 250;

/** `verify`: compares lanes end to end, one after the other. */
export function verifyVerbs(ends: () => readonly VerifyClusterEnd[]): readonly AdminVerb[] {
  return [
    {
      name: 'verify',
      changes: false,
      async run(args, context) {
        const text = args.text('lanes');
        if (text === undefined) throw new AdminError('say which lanes: LINK, LINK/PEER or LINK/FROM/TO');
        const chosen = chooseLanes(text);
        const range = rangeOf(args);
        args.done();
        // A lane between two clusters of this daemon ends at both.
        const lanes = new Map<string, VerifyClusterEnd>();
        for (const end of ends())
          for (const { plan } of end.verifier.lanes())
            if (chosen(plan.id) && !lanes.has(plan.id)) lanes.set(plan.id, end);
        if (lanes.size === 0) throw new AdminError(`no lane of ${text} begins or ends at this daemon`);
        const result = { equal: 0, different: 0, unverified: 0 };
        for (const [lane, { verifier }] of lanes) {
          const report = await verifyLane(lane, verifier, range, context);
          result[report.verdict]++;
          await context.item({ report } satisfies VerifyItem);
        }
        return result satisfies VerifyResult;
      },
    },
  ];
}

async function verifyLane(
  lane: string,
  verifier: VerifyClusterEnd['verifier'],
  range: VerifyRange,
  { signal, progress, item }: AdminContext,
): Promise<VerifyReport> {
  let toldMs = 0;
  const events = {
    progress: (step: VerifyStep, read: number, total: number): void => {
      const nowMs = performance.now();
      if (nowMs - toldMs < progressMs && read < total) return;
      toldMs = nowMs;
      progress({ lane, step, read, total } satisfies VerifyProgress);
    },
    difference: (difference: Difference) => item({ difference: { lane, ...difference } } satisfies VerifyItem),
  };
  try {
    const compared = await verifier.verify(lane, range, events, signal);
    const { missing, differing, extra, repeated } = compared;
    const verdict = missing + differing + extra + repeated === 0 ? 'equal' : 'different';
    return { lane, verdict, ...compared };
  } catch (error) {
    signal.throwIfAborted();
    const { reason, detail }: Failure = failureFrom(error);
    if (reason === 'internal') throw error;
    return { lane, verdict: 'unverified', reason, detail };
  }
}

function rangeOf(args: AdminArgs): VerifyRange {
  const since = limitOf(args, 'since');
  const until = limitOf(args, 'until');
  const samplePercent = args.count('samplePercent');
  if (samplePercent !== undefined && (samplePercent < 1 || samplePercent > 100))
    throw new AdminError('samplePercent is from 1 to 100');
  return {
    ...(since === undefined ? {} : { since }),
    ...(until === undefined ? {} : { until }),
    ...(samplePercent === undefined ? {} : { samplePercent }),
  };
}

function limitOf(args: AdminArgs, name: 'since' | 'until'): VerifyLimit | undefined {
  const sequence = args.count(`${name}Sequence`);
  const timeMs = args.count(`${name}TimeMs`);
  if (sequence !== undefined && timeMs !== undefined) throw new AdminError(`${name} is a sequence or a time, not both`);
  if (sequence !== undefined) return { sequence };
  return timeMs === undefined ? undefined : { timeMs };
}
