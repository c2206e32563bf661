import { groupOf } from './groups.ts';
import { lanesOf, linkBetween, linkDifference } from './lanes.ts';
import type { LanePlan, LinkPlan, Plan } from './plan.ts';
import { fileOf, problemAt } from './positions.ts';
import { type Path, type Problem, quote } from './problem.ts';
import { patternsOverlap } from './subjects.ts';

/** A lane together with the file that declares it. */
export interface Declared {
  readonly plan: Plan;
  readonly lane: LanePlan;
  /** The link, between the two ends of the lane. */
  readonly link: LinkPlan;
}

/**
 * Every lane that these files declare. Members of a group are those with a file among them; a group without any stands for itself
 * under its own name.
 */
export function declaredLanes(plans: readonly Plan[]): Declared[] {
  return plans.flatMap((plan) => {
    const others = othersOf(plan, plans);
    return plan.links.flatMap((whole) =>
      others.flatMap((other) => {
        const link = linkBetween(whole, plan, plan.cluster, other);
        return link === undefined ? [] : lanesOf(link, plan.cluster).map((lane): Declared => ({ plan, lane, link }));
      }),
    );
  });
}

function othersOf(plan: Plan, plans: readonly Plan[]): string[] {
  const named = plan.peers.map(({ cluster }) => cluster);
  const known = plans.map(({ cluster }) => cluster).filter((cluster) => cluster !== plan.cluster);
  const members = plan.groups.flatMap((group) => {
    const found = known.filter((cluster) => groupOf(plan, cluster)?.name === group.name);
    return found.length === 0 ? [group.name] : found;
  });
  return [...named, ...members];
}

/** Within one file, or across several: then only what no file shows alone. */
export type Scope = 'within' | 'across';

/** Lanes that get into each other's way: one id, one flow, one former name, one stream to be made in two ways. */
export function collisions(declared: readonly Declared[], scope: Scope): Problem[] {
  return new Collisions(scope).of(declared);
}

class Collisions {
  readonly #scope: Scope;
  readonly #problems: Problem[] = [];
  /** Of two links that are at odds in many lanes, the first tells enough. */
  readonly #told = new Set<string>();

  constructor(scope: Scope) {
    this.#scope = scope;
  }

  of(declared: readonly Declared[]): Problem[] {
    const ids = new Map<string, Declared>();
    const pairs = new Map<string, Declared>();
    const flows = new Map<string, Declared>();
    const former = new Map<string, Declared>();
    const made = new Map<string, Declared[]>();
    const read = new Map<string, Declared[]>();
    for (const one of declared) if (!ids.has(one.lane.id)) ids.set(one.lane.id, one);
    for (const one of declared) {
      const { lane } = one;
      // Both ends may declare a link, as those of `replicate` do, if they declare it alike.
      const between = JSON.stringify([lane.link, [lane.from, lane.to].sort()]);
      const declaredBefore = pairs.get(between);
      if (declaredBefore === undefined) pairs.set(between, one);
      else if (declaredBefore.plan !== one.plan) this.#conflict(one, declaredBefore);
      if (ids.get(lane.id) !== one) continue;
      const flow = JSON.stringify([lane.from, lane.sourceStream, lane.to, lane.sinkStream]);
      const sameFlow = flows.get(flow);
      if (sameFlow === undefined) flows.set(flow, one);
      else this.#sameFlow(one, sameFlow);
      const source = JSON.stringify([lane.from, lane.sourceStream]);
      const readers = read.get(source) ?? [];
      for (const other of readers) this.#drained(one, other);
      read.set(source, [...readers, one]);
      this.#renamed(one, ids, former);
      if (lane.create === undefined) continue;
      const before = made.get(lane.to) ?? [];
      for (const other of before) this.#creation(one, other);
      made.set(lane.to, [...before, one]);
    }
    return this.#problems;
  }

  #tell(what: string, one: Declared, other: Declared, within: Path, fault: Omit<Problem, 'file'>): void {
    const key = JSON.stringify([what, ...[one, other].map(({ plan, lane }) => [plan.file, lane.link]).sort()]);
    if (this.#told.has(key) || (this.#scope === 'across' && one.plan === other.plan)) return;
    this.#told.add(key);
    this.#problems.push(problemAt(one.plan, ['links', one.lane.link, ...within], fault));
  }

  #conflict(one: Declared, other: Declared): void {
    const places = [fileOf(one.plan), fileOf(other.plan)] as const;
    const difference = linkDifference(one.link, other.link, places);
    if (difference === undefined) return;
    const { link, kind } = one.lane;
    const message = `the link ${quote(link)} is declared otherwise in ${fileOf(other.plan)}: ${difference}`;
    const rename = 'keep one of the two declarations, or rename one link';
    const fix = kind === 'replicate' ? 'declare it alike in both' : rename;
    this.#tell('conflict', one, other, [], { severity: 'error', message, fix });
  }

  #sameFlow(one: Declared, other: Declared): void {
    const { from, to, sourceStream, sinkStream, link } = one.lane;
    const message = `the links ${quote(other.lane.link)}${whereOf(one, other)} and ${quote(link)} both carry ${from}/${sourceStream} into ${to}/${sinkStream}, where their records collide`;
    const fix = 'keep one of them, or give one another sink stream';
    this.#tell('flow', one, other, [], { severity: 'error', message, fix });
  }

  /** A record of a stream that is drained is for one lane. */
  #drained(one: Declared, other: Declared): void {
    if (one.lane.consume === undefined && other.lane.consume === undefined) return;
    const [drains, reads] = one.lane.consume === undefined ? [other, one] : [one, other];
    const { from, sourceStream } = one.lane;
    const also = reads.lane.consume === undefined ? 'reads' : 'drains';
    const message = `the link ${quote(drains.lane.link)}${whereOf(one, drains)} drains ${from}/${sourceStream}, which ${quote(reads.lane.link)}${whereOf(one, reads)} ${also} too`;
    const fix = 'keep one of them, and let links to elsewhere begin at the sink of that one';
    this.#tell('drained', one, other, ['from'], { severity: 'error', message, fix });
  }

  /** A former name that is still in use, or that two links claim. */
  #renamed(one: Declared, ids: ReadonlyMap<string, Declared>, former: Map<string, Declared>): void {
    const { id, link, previously } = one.lane;
    const old = one.link.previously;
    if (previously === undefined || old === undefined) return;
    const named = `the link ${quote(link)}`;
    const still = ids.get(previously);
    if (previously === id) {
      const message = `${named} cannot have been ${quote(old)} before: that is its name`;
      const fix = 'write the name that it had before, or take "previously" out';
      this.#tell('itself', one, one, ['previously'], { severity: 'error', message, fix });
    } else if (still !== undefined) {
      const message = `${named} was previously ${quote(old)}, which is still declared${whereOf(one, still)}`;
      const fix = 'take the old link out, or "previously" if the two are different links';
      this.#tell('still', one, still, ['previously'], { severity: 'error', message, fix });
    }
    const claimed = former.get(previously);
    if (claimed === undefined) former.set(previously, one);
    else {
      const message = `the links ${quote(link)} and ${quote(claimed.lane.link)}${whereOf(one, claimed)} were both previously ${quote(old)}`;
      const fix = 'only one can go on where that one stood: take "previously" out of the other';
      this.#tell('claimed', one, claimed, ['previously'], { severity: 'error', message, fix });
    }
  }

  /** Streams of one cluster that are to be made: one in two ways, or two with the same subjects. */
  #creation(one: Declared, other: Declared): void {
    const { lane } = one;
    const [mine, theirs] = [lane.create!, other.lane.create!];
    const link = `the link ${quote(other.lane.link)}${whereOf(one, other)}`;
    if (lane.sinkStream === other.lane.sinkStream) {
      if (JSON.stringify(mine) === JSON.stringify(theirs)) return;
      const message = `${link} would make ${lane.to}/${lane.sinkStream} in another way; whichever lane comes first makes it`;
      this.#tell('made', one, other, ['to', 'create'], {
        severity: 'warning',
        message,
        fix: 'write the same "create" at both, with all "subjects"',
      });
      return;
    }
    const shared = mine.subjects.find((subject) => theirs.subjects.some((their) => patternsOverlap(subject, their)));
    if (shared === undefined) return;
    const message = `${lane.to}/${lane.sinkStream} cannot be made with ${quote(shared)}: ${link} makes ${other.lane.sinkStream} with subjects that overlap`;
    const fix = 'a subject belongs to one stream of an account: narrow the subjects of one';
    this.#tell('subjects', one, other, ['to', 'create'], { severity: 'error', message, fix });
  }
}

function whereOf(one: Declared, other: Declared): string {
  return other.plan === one.plan ? '' : ` in ${fileOf(other.plan)}`;
}
