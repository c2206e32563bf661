import { collisions, type Declared, declaredLanes, type Scope } from './check-lanes.ts';
import { cycles, strangers } from './check-ways.ts';
import { flow } from './explain.ts';
import { granted, grantsFor, sinkRights } from './grants.ts';
import { groupOf, isMeant } from './groups.ts';
import { sizeText } from './leaves.ts';
import { nearest } from './nearest.ts';
import type { LanePlan, LinkPlan, Plan } from './plan.ts';
import { fileOf, problemAt } from './positions.ts';
import { inReadingOrder, type Problem, quote } from './problem.ts';
import { patternOf } from './subjects.ts';

/** What can be known of one file alone beyond its shape: links that get into each other's way. */
export function checkPlan(plan: Plan): Problem[] {
  const declared = declaredLanes([plan]);
  return [...starts(plan), ...odds(declared, 'within'), ...strangers(declared, [plan])];
}

/** Links at odds with each other. Two that are for one flow also form a circle: that follows from the one mistake. */
function odds(declared: readonly Declared[], scope: Scope): Problem[] {
  const found = collisions(declared, scope);
  return found.some(({ severity }) => severity === 'error') ? found : [...found, ...cycles(declared, scope)];
}

/** A sequence that would mean another record in each of several streams. */
function starts(plan: Plan): Problem[] {
  return plan.links.flatMap(({ name, from, start }) => {
    const isGroup = from.clusters.some((cluster) => plan.groups.some((group) => group.name === cluster));
    if (start?.at !== 'sequence' || (from.clusters.length === 1 && !isGroup)) return [];
    const message = `the link ${quote(name)} starts at sequence ${start.sequence} in the stream of every source, where the numbers mean different records`;
    const fix = 'give a time, or a link of its own to each source';
    return [problemAt(plan, ['links', name, 'start'], { severity: 'warning', message, fix }, 'value')];
  });
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
    const message = `${fileOf(other)} is the cluster ${quote(plan.cluster)}, too`;
    problems.push(problemAt(plan, ['cluster'], { message, fix: 'give one of them another name' }, 'value'));
  }
  const plans = [...clusters.values()];
  for (const plan of plans) {
    for (const other of plans) if (other !== plan) problems.push(...peering(plan, other, clusters));
    problems.push(...servedElsewhere(plan, plans));
  }
  const declared = declaredLanes(plans);
  problems.push(
    ...members(plans),
    ...consent(declared, clusters),
    ...odds(declared, 'across'),
    ...strangers(declared, plans),
    ...unusedGrants(declared, plans),
  );
  return inReadingOrder(problems);
}

/** How `plan` sees `other`: by its name, as a member of a group, or not at all. */
function viewOf(plan: Plan, other: string) {
  const peer = plan.peers.find(({ cluster }) => cluster === other);
  if (peer !== undefined)
    return { key: other, dials: peer.dial.length > 0, serves: peer.nats !== undefined, isGroup: false };
  const group = groupOf(plan, other);
  return group && { key: group.name, dials: false, serves: false, isGroup: true };
}

/** How `plan` sees `other`, against how that one's own file sees `plan`. */
function peering(plan: Plan, other: Plan, clusters: ReadonlyMap<string, Plan>): Problem[] {
  const view = viewOf(plan, other.cluster);
  if (view === undefined) return [];
  const at = ['peers', view.key];
  if (view.serves) {
    const message = `this daemon serves ${quote(other.cluster)} itself ("nats"), and ${fileOf(other)} describes another one for it`;
    return [problemAt(plan, at, { message, fix: 'give "dial" instead of "nats", or do without that file' })];
  }
  const back = viewOf(other, plan.cluster);
  if (back === undefined) {
    // A name that has a file of its own is meant as it is.
    const others = other.peers.map(({ cluster }) => cluster).filter((cluster) => !clusters.has(cluster));
    const meant = nearest(plan.cluster, others);
    const message = `${fileOf(other)} has no peer ${quote(plan.cluster)}`;
    const add = `add ${plan.cluster}: {} to the peers there`;
    const fix = meant === undefined ? add : `${add}, unless its peer ${quote(meant)} is meant to be this cluster`;
    return [problemAt(plan, at, { message, fix })];
  }
  // Everything below concerns both files alike: told once, at the lower name.
  if (plan.cluster > other.cluster) return [];
  const problems: Problem[] = [];
  if (plan.trustDomain !== other.trustDomain) {
    const message = `the trust domain ${quote(plan.trustDomain)} is not that of ${fileOf(other)}, ${quote(other.trustDomain)}`;
    problems.push(problemAt(plan, ['trustDomain'], { message, fix: 'peers need one trust domain' }, 'value'));
  }
  // If both could, the lower name dials.
  const [dialler, listener] = view.dials ? [plan, other] : [other, plan];
  if (!view.dials && !back.dials) {
    const message = `neither ${quote(plan.cluster)} nor ${quote(other.cluster)} dials the other`;
    const dial = 'add dial: ["HOST:PORT"]';
    const there = `to the peer ${back.key} in ${fileOf(other)}`;
    // Members of a group dial: nobody can dial a group.
    const fix = view.isGroup ? `${dial} ${there}` : back.isGroup ? `${dial} here` : `${dial} here, or ${there}`;
    problems.push(problemAt(plan, at, { message, fix }));
  } else if (listener.listen === undefined) {
    const rule = view.dials && back.dials ? ' (both have "dial", so the lower name dials)' : '';
    const message = `${quote(dialler.cluster)} dials ${quote(listener.cluster)}${rule}, which does not listen`;
    const fix = `add listen: HOST:PORT to ${fileOf(listener)}${rule === '' ? '' : ', or take out this "dial"'}`;
    problems.push(problemAt(dialler, ['peers', listener.cluster, 'dial'], { message, fix }));
  } else {
    problems.push(...otherPort(dialler, listener));
  }
  return problems;
}

const loopback: readonly string[] = ['127.0.0.1', '::1', 'localhost'];

/** An address at the very host at which the other one listens, with another port: whoever answers there is not the peer. */
function otherPort(dialler: Plan, listener: Plan): Problem[] {
  const { listen } = listener;
  const dial = dialler.peers.find(({ cluster }) => cluster === listener.cluster)?.dial ?? [];
  if (listen === undefined || 'path' in listen || listen.port === 0) return [];
  return dial.flatMap((address, index): Problem[] => {
    if ('path' in address || address.port === listen.port) return [];
    const isSame = address.host === listen.host || [address.host, listen.host].every((host) => loopback.includes(host));
    if (!isSame) return [];
    const message = `${quote(listener.cluster)} listens on port ${listen.port} of this host (${fileOf(listener)}), not on ${address.port}`;
    const fix = `dial port ${listen.port}, unless something forwards the other one to it`;
    const at = ['peers', listener.cluster, 'dial', index];
    return [problemAt(dialler, at, { severity: 'warning', message, fix }, 'value')];
  });
}

/** Peers for which no daemon answers, as that of another file serves them. */
function servedElsewhere(plan: Plan, plans: readonly Plan[]): Problem[] {
  return plan.peers.flatMap(({ cluster, nats }) => {
    if (nats !== undefined || plans.some((other) => other.cluster === cluster)) return [];
    const server = plans.find(({ peers }) => peers.some((peer) => peer.cluster === cluster && peer.nats !== undefined));
    if (server === undefined) return [];
    const message = `${fileOf(server)} serves ${quote(cluster)} itself ("nats"), so no daemon answers for it`;
    const fix = `have links with it in ${fileOf(server)} only, or run a daemon there and give "dial" instead of "nats"`;
    return [problemAt(plan, ['peers', cluster], { message, fix })];
  });
}

/** Replicate links whose members are not the same in all their files: some would never hear of each other. */
function members(plans: readonly Plan[]): Problem[] {
  return plans.flatMap((plan, index) =>
    plan.links.flatMap((link): Problem[] => {
      if (link.kind !== 'replicate') return [];
      const here = link.from.clusters;
      const other = plans.slice(0, index).find((before) => {
        const theirs = replicaOf(before, link.name)?.from.clusters;
        return theirs !== undefined && here.includes(before.cluster) && theirs.join() !== here.join();
      });
      const there = other && replicaOf(other, link.name)?.from.clusters;
      if (other === undefined || there === undefined) return [];
      const message = `the link ${quote(link.name)} has the members ${here.join(', ')} here, and ${there.join(', ')} in ${fileOf(other)}`;
      const fix = 'name the same members in the files of all of them';
      return [problemAt(plan, ['links', link.name, 'between'], { message, fix })];
    }),
  );
}

function replicaOf(plan: Plan, name: string): LinkPlan | undefined {
  return plan.links.find((link) => link.name === name && link.kind === 'replicate');
}

/** Links that the other end's file does not allow, or does not have. */
function consent(declared: readonly Declared[], clusters: ReadonlyMap<string, Plan>): Problem[] {
  const omitted = new Set<string>();
  return declared.flatMap((one) => {
    const { plan, lane } = one;
    const reads = lane.to === plan.cluster;
    const other = clusters.get(reads ? lane.from : lane.to);
    if (other === undefined || viewOf(plan, other.cluster)?.serves) return [];
    // Where both declare the link, what they differ in is told of the pair.
    if (declared.some((two) => two.plan === other && isSamePair(two.lane, lane))) return [];
    const at = ['links', lane.link];
    if (lane.kind === 'replicate') {
      // However many members miss it, it is one omission.
      const omission = `${other.cluster}/${lane.link}`;
      if (omitted.has(omission) || replicaOf(other, lane.link) !== undefined) return [];
      omitted.add(omission);
      const message = `${fileOf(other)} does not declare the replicate link ${quote(lane.link)}, of which ${quote(other.cluster)} is a member`;
      return [problemAt(plan, at, { message, fix: 'declare it there alike' })];
    }
    const grants = grantsFor(other, plan.cluster);
    const failure = granted(lane, grants, other.cluster);
    if (failure !== undefined) {
      const fix = `add to the grants in ${fileOf(other)}: - ${flow(neededGrant(lane, plan, other))}`;
      return [problemAt(plan, at, { message: `no grant for ${lane.id}: ${failure.detail}`, fix })];
    }
    const mayNotCreate = reads ? undefined : sinkRights(lane, grants).mayNotCreate;
    if (mayNotCreate === undefined) return [];
    const message = `no grant for ${lane.id} to create its sink: ${mayNotCreate.detail}`;
    const fix = `add create: { maxBytes: ${sizeText(lane.create!.maxBytes)} } to the grant in ${fileOf(other)}, or ask for less here`;
    return [problemAt(plan, [...at, 'to', 'create'], { message, fix })];
  });
}

function isSamePair(a: LanePlan, b: LanePlan): boolean {
  return a.link === b.link && (a.id === b.id || (a.from === b.to && a.to === b.from));
}

function neededGrant(lane: LanePlan, plan: Plan, other: Plan): object {
  const to = viewOf(other, plan.cluster)?.key ?? plan.cluster;
  if (lane.to === plan.cluster)
    return { to, [lane.consume === true ? 'consume' : 'read']: { stream: lane.sourceStream } };
  const written = patternOf(lane.subject, lane.from);
  const subjects = written === '>' ? {} : { subjects: [written] };
  const create = lane.create === undefined ? {} : { create: { maxBytes: sizeText(lane.create.maxBytes) } };
  return { to, append: { stream: lane.sinkStream, ...subjects }, ...create };
}

/** Grants that no link of those they are for makes use of, as far as the files of these are there: what is left of a link that went. */
function unusedGrants(declared: readonly Declared[], plans: readonly Plan[]): Problem[] {
  return plans.flatMap((plan) =>
    plan.grants.flatMap((grant, index) => {
      const theirs = plans.filter((other) => other !== plan && isMeant(plan, grant.to, other.cluster));
      if (theirs.length === 0) return [];
      const used = declared.some(({ plan: declarer, lane }) => {
        if (!theirs.includes(declarer)) return false;
        if (grant.verb === 'append') return lane.to === plan.cluster && lane.sinkStream === grant.stream;
        const consumes = grant.verb === 'consume';
        return lane.from === plan.cluster && lane.sourceStream === grant.stream && (lane.consume ?? false) === consumes;
      });
      if (used) return [];
      const verb = { read: 'reads', consume: 'consumes', append: 'appends to' }[grant.verb];
      const message = `no link of ${theirs.map(fileOf).join(', ')} ${verb} ${grant.stream}`;
      const fix = 'take the grant out, or correct the stream';
      return [problemAt(plan, ['grants', index], { severity: 'warning', message, fix }, 'value')];
    }),
  );
}
