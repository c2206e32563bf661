import { flow } from './explain.ts';
import { granted, lanesOf } from './lanes.ts';
import { nearest } from './nearest.ts';
import type { LanePlan, PeerPlan, Plan } from './plan.ts';
import { fileOf, problemAt } from './positions.ts';
import { inReadingOrder, type Problem, quote } from './problem.ts';

/** A lane together with the file that declares it. */
interface Declared {
  readonly plan: Plan;
  readonly lane: LanePlan;
}

/** What can be known of one file alone beyond its shape: links that get into each other's way. */
export function checkPlan(plan: Plan): Problem[] {
  const declared = declaredLanes([plan]);
  return [...collisions(declared), ...cycles(declared)];
}

/**
 * What can be known only from several files together; what `checkPlan` says about each of them is not repeated. What
 * depends on a file that is not among them is not judged.
 */
export function checkGraph(files: readonly Plan[]): Problem[] {
  const clusters = new Map<string, Plan>();
  const problems: Problem[] = [];
  for (const plan of files) {
    const other = clusters.get(plan.cluster);
    if (other === undefined) {
      clusters.set(plan.cluster, plan);
      continue;
    }
    const message = `the cluster ${quote(plan.cluster)} is also described by ${fileOf(other)}`;
    problems.push(problemAt(plan, ['cluster'], { message, fix: 'give one of them another name' }, 'value'));
  }
  const plans = [...clusters.values()];
  for (const plan of plans) {
    for (const peer of plan.peers) {
      const other = clusters.get(peer.cluster);
      if (other !== undefined) problems.push(...peering(plan, peer, other, clusters));
    }
  }
  const declared = declaredLanes(plans);
  problems.push(...consent(declared, clusters), ...collisions(declared, 'across'), ...cycles(declared, 'across'));
  return inReadingOrder(problems);
}

function declaredLanes(plans: readonly Plan[]): Declared[] {
  return plans.flatMap((plan) =>
    plan.links.flatMap((link) => lanesOf(link, plan.cluster).map((lane): Declared => ({ plan, lane }))),
  );
}

/** How `plan` sees `peer`, against how the peer's own file sees `plan`. */
function peering(plan: Plan, peer: PeerPlan, other: Plan, clusters: ReadonlyMap<string, Plan>): Problem[] {
  const back = other.peers.find(({ cluster }) => cluster === plan.cluster);
  if (back === undefined) {
    // A name that has a file of its own is meant as it is.
    const others = other.peers.map(({ cluster }) => cluster).filter((cluster) => !clusters.has(cluster));
    const meant = nearest(plan.cluster, others);
    const message = `${fileOf(other)} has no peer ${quote(plan.cluster)}`;
    const add = `add ${plan.cluster}: {} to the peers there`;
    const fix = meant === undefined ? add : `${add}, unless its peer ${quote(meant)} is meant to be this cluster`;
    return [problemAt(plan, ['peers', peer.cluster], { message, fix })];
  }
  // Everything below concerns both files alike: told once, at the lower name.
  if (plan.cluster > peer.cluster) return [];
  const problems: Problem[] = [];
  if (plan.trustDomain !== other.trustDomain) {
    const message = `the trust domain ${quote(plan.trustDomain)} is not that of ${fileOf(other)}, ${quote(other.trustDomain)}`;
    problems.push(problemAt(plan, ['trustDomain'], { message, fix: 'peers need one trust domain' }, 'value'));
  }
  const weDial = peer.dial.length > 0;
  const theyDial = back.dial.length > 0;
  // If both could, the lower name dials.
  const [dialler, listener] = weDial ? [plan, other] : [other, plan];
  if (!weDial && !theyDial) {
    const message = `neither ${quote(plan.cluster)} nor ${quote(other.cluster)} dials the other`;
    const fix = `add dial: ["HOST:PORT"] here, or to the peer ${plan.cluster} in ${fileOf(other)}`;
    problems.push(problemAt(plan, ['peers', peer.cluster], { message, fix }));
  } else if (listener.listen === undefined) {
    const rule = theyDial && weDial ? ' (both have "dial", so the lower name dials)' : '';
    const message = `${quote(dialler.cluster)} dials ${quote(listener.cluster)}${rule}, which does not listen`;
    const fix = `add listen: HOST:PORT to ${fileOf(listener)}${rule === '' ? '' : ', or take out this "dial"'}`;
    problems.push(problemAt(dialler, ['peers', listener.cluster, 'dial'], { message, fix }));
  }
  return problems;
}

/** Links that the other end's grants do not allow. */
function consent(declared: readonly Declared[], clusters: ReadonlyMap<string, Plan>): Problem[] {
  return declared.flatMap(({ plan, lane }) => {
    const reads = lane.to === plan.cluster;
    const other = clusters.get(reads ? lane.from : lane.to);
    if (other === undefined) return [];
    const failure = granted(lane, other.grants, other.cluster);
    if (failure === undefined) return [];
    const entry = reads ? { read: { stream: lane.sourceStream } } : { append: { stream: lane.sinkStream } };
    const fix = `add to the grants in ${fileOf(other)}: - ${flow({ to: plan.cluster, ...entry })}`;
    return [problemAt(plan, ['links', lane.link], { message: `no grant for ${lane.id}: ${failure.detail}`, fix })];
  });
}

/** Lanes with one id, and lanes that would store the same records in one stream. */
function collisions(declared: readonly Declared[], scope: 'within' | 'across' = 'within'): Problem[] {
  const ids = new Map<string, Declared>();
  const flows = new Map<string, Declared>();
  const problems: Problem[] = [];
  for (const { plan, lane } of declared) {
    const sameId = ids.get(lane.id);
    const flowId = JSON.stringify([lane.from, lane.sourceStream, lane.to, lane.sinkStream]);
    const sameFlow = flows.get(flowId);
    if (sameId === undefined) ids.set(lane.id, { plan, lane });
    if (sameFlow === undefined) flows.set(flowId, { plan, lane });
    const at = (other: Plan, message: string, fix: string): void => {
      if (scope === 'across' && other === plan) return;
      problems.push(problemAt(plan, ['links', lane.link], { message, fix }));
    };
    if (sameId !== undefined) {
      at(
        sameId.plan,
        `the lane ${lane.id} is also declared in ${fileOf(sameId.plan)}`,
        'keep one of the two declarations, or rename one link',
      );
    } else if (sameFlow !== undefined) {
      const streams = `${lane.from}/${lane.sourceStream} into ${lane.to}/${lane.sinkStream}`;
      const where = sameFlow.plan === plan ? '' : ` in ${fileOf(sameFlow.plan)}`;
      at(
        sameFlow.plan,
        `the links ${quote(sameFlow.lane.link)}${where} and ${quote(lane.link)} both carry ${streams}, where their records collide`,
        'keep one of them, or give one another sink stream',
      );
    }
  }
  return problems;
}

/** Ways on which a record would come back to a stream it has been in: one warning for each first link that closes one. */
function cycles(declared: readonly Declared[], scope: 'within' | 'across' = 'within'): Problem[] {
  const problems: Problem[] = [];
  const ways = new Map<string, Declared[]>();
  for (const one of declared) {
    const { plan, lane } = one;
    const back = wayBetween(ways, sinkOf(lane), sourceOf(lane));
    const source = sourceOf(lane);
    ways.set(source, [...(ways.get(source) ?? []), one]);
    if (back === undefined) continue;
    if (scope === 'across' && back.every((other) => other.plan === plan)) continue;
    const circle = [source, ...[one, ...back].map((step) => sinkOf(step.lane))].join(' -> ');
    const message = `links form a cycle: ${circle}; records that have been round are dropped`;
    const fix = 'take a link out if this is not meant';
    problems.push(problemAt(plan, ['links', lane.link], { severity: 'warning', message, fix }));
  }
  return problems;
}

/** The shortest way along lanes from one stream to another; empty if they are the same. */
function wayBetween(ways: ReadonlyMap<string, readonly Declared[]>, from: string, to: string): Declared[] | undefined {
  if (from === to) return [];
  const reached = new Map<string, readonly Declared[]>([[from, []]]);
  for (const [stream, way] of reached) {
    for (const step of ways.get(stream) ?? []) {
      const next = sinkOf(step.lane);
      if (next === to) return [...way, step];
      if (!reached.has(next)) reached.set(next, [...way, step]);
    }
  }
  return undefined;
}

function sourceOf(lane: LanePlan): string {
  return `${lane.from}/${lane.sourceStream}`;
}

function sinkOf(lane: LanePlan): string {
  return `${lane.to}/${lane.sinkStream}`;
}
