import type { Declared, Scope } from './check-lanes.ts';
import { flow } from './explain.ts';
import { granted, grantsFor, sinkRights } from './grants.ts';
import { groupOf, nameMatches } from './groups.ts';
import type { LanePlan, Plan } from './plan.ts';
import { fileOf, problemAt } from './positions.ts';
import { type Problem, quote } from './problem.ts';

/** Where records come by over several lanes: round in a circle, or from clusters in whose name a peer may not speak. */

/** One of each lane: of two declarations that of the sink, which decides what it accepts. */
function distinct(declared: readonly Declared[]): Declared[] {
  const lanes = new Map<string, Declared>();
  for (const one of declared)
    if (!lanes.has(one.lane.id) || one.lane.declaredBy === one.lane.to) lanes.set(one.lane.id, one);
  return [...lanes.values()];
}

/** Ways on which a record would come back to a stream it has been in: one warning for all that the same links form. */
export function cycles(declared: readonly Declared[], scope: Scope): Problem[] {
  const problems: Problem[] = [];
  const ways = new Map<string, Declared[]>();
  const told = new Set<string>();
  for (const one of distinct(declared)) {
    const { plan, lane } = one;
    const source = sourceOf(lane);
    const back = wayBetween(ways, lane, source);
    ways.set(source, [...(ways.get(source) ?? []), one]);
    if (back === undefined) continue;
    const steps = [one, ...back];
    if (scope === 'across' && steps.every((step) => step.plan === plan)) continue;
    // Links of one name in several files are different links, but for those that stand in all of them.
    const names = steps.map((step) => (step.lane.kind === 'replicate' ? '' : `${step.plan.cluster}/`) + step.lane.link);
    const key = JSON.stringify([...new Set(names)].sort());
    if (told.has(key)) continue;
    told.add(key);
    const circle = [source, ...steps.map((step) => sinkOf(step.lane))].join(' -> ');
    const message = `links form a cycle: ${circle}; records that have been round are dropped`;
    const fix = 'take a link out if this is not meant';
    problems.push(problemAt(plan, ['links', lane.link], { severity: 'warning', message, fix }));
  }
  return problems;
}

/** The shortest way from the sink of a lane to a stream; empty if that is the sink itself. */
function wayBetween(
  ways: ReadonlyMap<string, readonly Declared[]>,
  lane: LanePlan,
  to: string,
): Declared[] | undefined {
  if (sinkOf(lane) === to) return [];
  const reached = new Set<string>();
  const open: { readonly at: LanePlan; readonly way: readonly Declared[] }[] = [{ at: lane, way: [] }];
  for (const { at, way } of open) {
    for (const step of ways.get(sinkOf(at)) ?? []) {
      if (!carriesOn(at, step.lane)) continue;
      const longer = [...way, step];
      if (sinkOf(step.lane) === to && carriesOn(step.lane, lane)) return longer;
      const key = stateAfter(step.lane);
      if (reached.has(key)) continue;
      reached.add(key);
      open.push({ at: step.lane, way: longer });
    }
  }
  return undefined;
}

/** What a replicate link brought in it does not carry on. */
function carriesOn(before: LanePlan, next: LanePlan): boolean {
  return before.kind !== 'replicate' || next.kind !== 'replicate' || before.link !== next.link;
}

/** Where a record is, and by which replicate link it came. */
function stateAfter(lane: LanePlan): string {
  return JSON.stringify([sinkOf(lane), lane.kind === 'replicate' ? lane.link : '']);
}

function sourceOf(lane: LanePlan): string {
  return `${lane.from}/${lane.sourceStream}`;
}

function sinkOf(lane: LanePlan): string {
  return `${lane.to}/${lane.sinkStream}`;
}

/** Records of third clusters that a lane would bring to a sink that does not take them from its peer. */
export function strangers(declared: readonly Declared[], plans: readonly Plan[]): Problem[] {
  const lanes = distinct(declared);
  const into = new Map<string, LanePlan[]>();
  for (const { lane } of lanes) into.set(sinkOf(lane), [...(into.get(sinkOf(lane)) ?? []), lane]);
  return lanes.flatMap(({ plan, lane }) => {
    const accepts = acceptedAt(lane, plan, plans);
    if (accepts === undefined) return [];
    const clusters = new Set([...originsOf(lane, into)].map((place) => nameOf(place, plans)));
    clusters.delete(nameOf(sourceOf(lane), plans));
    const refused = [...clusters].filter((origin) => !accepts.origin(origin)).sort();
    if (refused.length === 0) return [];
    const message = `${lane.id} brings records of ${refused.join(', ')}, in whose name ${quote(lane.from)} may not speak`;
    const speaker = plans.find(({ cluster }) => cluster === lane.from);
    const meant = new Set(refused.map((name) => (speaker && groupOf(speaker, name)?.match) ?? name));
    const fix = `add ${flow({ origins: [...meant] }).slice(2, -2)} to ${accepts.where}`;
    return [problemAt(plan, ['links', lane.link], { message, fix })];
  });
}

/** Whose records the sink of a lane takes, and where that is written; undefined if it is not known, or nothing is taken at all. */
function acceptedAt(lane: LanePlan, plan: Plan, plans: readonly Plan[]) {
  const served = plan.peers.some(({ cluster, nats }) => cluster === lane.to && nats !== undefined);
  if (lane.declaredBy === lane.to || served) {
    const origins = [lane.from, ...lane.origins];
    return { origin: (name: string) => origins.some((one) => nameMatches(one, name)), where: 'this link' };
  }
  const sink = plans.find(({ cluster }) => cluster === lane.to);
  if (sink === undefined) return undefined;
  const grants = grantsFor(sink, lane.from);
  if (granted(lane, grants, lane.to) !== undefined) return undefined;
  const { acceptsOrigin } = sinkRights(lane, grants);
  return { origin: acceptsOrigin, where: `the grant for ${lane.from} in ${fileOf(sink)}` };
}

/** The cluster of a place (cluster/stream); of a group without a file among these its pattern, which stands for the members. */
function nameOf(place: string, plans: readonly Plan[]): string {
  const name = place.slice(0, place.indexOf('/'));
  if (plans.some(({ cluster }) => cluster === name)) return name;
  return plans.flatMap(({ groups }) => groups).find((group) => group.name === name)?.match ?? name;
}

/** Streams (cluster/stream) whose records a lane carries, through however many hops: those that were not in its sink on the way. */
function originsOf(lane: LanePlan, into: ReadonlyMap<string, readonly LanePlan[]>): Set<string> {
  const found = new Set([sourceOf(lane)]);
  const seen = new Set<string>();
  const open = [lane];
  for (const next of open) {
    for (const before of into.get(sourceOf(next)) ?? []) {
      const source = sourceOf(before);
      if (source === sinkOf(lane) || !carriesOn(before, next)) continue;
      found.add(source);
      const key = JSON.stringify([source, before.kind === 'replicate' ? before.link : '']);
      if (seen.has(key)) continue;
      seen.add(key);
      open.push(before);
    }
  }
  return found;
}
