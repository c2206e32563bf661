import type { TopologyDocument } from './document.ts';
import type { Plan } from './plan.ts';
import type { Fault, Path, Problem } from './problem.ts';

interface Origin {
  readonly shown: string;
  readonly document: TopologyDocument;
}

/** Beside the Plan and not in it: a Plan is what the file means, and stays the same when a comment moves its lines. */
const origins = new WeakMap<Plan, Origin>();

/** Notes where a Plan was read from, under the name that the user gave the file. */
export function rememberPositions(plan: Plan, shown: string, document: TopologyDocument): void {
  origins.set(plan, { shown, document });
}

/** The file of a Plan as the user named it. */
export function fileOf(plan: Plan): string {
  return origins.get(plan)?.shown ?? plan.file;
}

/** A problem of a Plan at a place in its file; without line and column if the Plan was not loaded from one. */
export function problemAt(
  plan: Plan,
  path: Path,
  fault: Fault & { readonly severity?: Problem['severity'] },
  on: 'key' | 'value' = 'key',
): Problem {
  const { severity = 'error', message, fix } = fault;
  const place = origins.get(plan)?.document.locate(path, on);
  return { severity, file: fileOf(plan), ...place, message, fix };
}
