import { basename } from 'node:path';
import { granted, grantsFor } from '../topology/grants.ts';
import { lanesOf, linkBetween, linkDifference, linkFromJson, linkHash, linkToJson } from '../topology/lanes.ts';
import type { LanePlan, LinkPlan, Plan } from '../topology/plan.ts';
import type { DeclaredLink, LinkVerdict } from '../wire/control.ts';
import type { Failure } from '../wire/reasons.ts';

/** A lane of which this daemon is one end. */
export interface LocalLane {
  readonly plan: LanePlan;
  readonly role: 'sender' | 'receiver';
  readonly peer: string;
}

/** What this daemon made of a link that a peer declares. */
export interface LearnedLink {
  readonly name: string;
  readonly hash: string;
  readonly failure?: Failure;
  /** Lanes that run because the peer declares them; none if the own file declares the link alike. */
  readonly lanes: readonly LocalLane[];
}

/** The links of the own file that concern a peer, each no more than what it is between the two. */
export function linksWith(plan: Plan, peer: string): LinkPlan[] {
  return plan.links.flatMap((link) => linkBetween(link, plan, plan.cluster, peer) ?? []);
}

/** The lanes between this cluster and a peer that the own file declares. */
export function ownLanes(plan: Plan, peer: string): LocalLane[] {
  return linksWith(plan, peer).flatMap((link) => localLanes(link, plan.cluster, plan.cluster));
}

function localLanes(link: LinkPlan, declaredBy: string, self: string): LocalLane[] {
  return lanesOf(link, declaredBy)
    .filter(({ from, to }) => from === self || to === self)
    .map((plan) =>
      plan.from === self ? { plan, role: 'sender', peer: plan.to } : { plan, role: 'receiver', peer: plan.from },
    );
}

/** The links of the own file that concern a peer, as they are declared to it. */
export function declarationFor(plan: Plan, peer: string): DeclaredLink[] {
  return linksWith(plan, peer).map((link) => ({ name: link.name, hash: linkHash(link), body: linkToJson(link) }));
}

/** Judges a link that `peer` declares: what of it runs here, or why nothing does. `file`: the peer's file, as it calls it. */
export function judge(declared: DeclaredLink, peer: string, plan: Plan, file: string | undefined): LearnedLink {
  const { name, hash } = declared;
  const { cluster: self } = plan;
  const refuse = (failure: Failure): LearnedLink => ({ name, hash, failure, lanes: [] });
  const parsed = linkFromJson(declared.body);
  if (!parsed.ok) return refuse(parsed.failure);
  const { link } = parsed;
  if (link.name !== name || linkHash(link) !== hash)
    return refuse({ reason: 'bad-frame', detail: 'the declaration does not match its name and hash' });
  const lanes = localLanes(link, peer, self).filter((lane) => lane.peer === peer);
  if (lanes.length === 0) return refuse({ reason: 'link-conflict', detail: `${self} is no end of link ${name}` });
  const here = basename(plan.file);
  const there = file === undefined || file === '' ? `the file of ${peer}` : `${file} of ${peer}`;
  const own = linksWith(plan, peer).find((one) => one.name === name);
  if (own !== undefined) {
    const difference = linkDifference(own, link, [here, there]);
    if (difference === undefined) return { name, hash, lanes: [] };
    return refuse({ reason: 'link-conflict', detail: `${here} and ${there} disagree on link ${name}: ${difference}` });
  }
  if (link.kind === 'replicate') {
    const detail = `${there} declares the replicate link ${name} between ${self} and ${peer}, ${here} does not`;
    return refuse({ reason: 'link-conflict', detail });
  }
  const grants = grantsFor(plan, peer);
  for (const lane of lanes) {
    const failure = granted(lane.plan, grants, self);
    if (failure !== undefined) return refuse(failure);
  }
  return { name, hash, lanes };
}

/** The answer to a declared link. */
export function verdictOf({ name, hash, failure }: LearnedLink): LinkVerdict {
  return {
    link: name,
    hash,
    detail: failure?.detail ?? '',
    ...(failure === undefined ? {} : { reason: failure.reason }),
  };
}
