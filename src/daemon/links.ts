import { granted, lanesOf, linkFromJson, linkHash, linkToJson } from '../topology/lanes.ts';
import type { Grant, LanePlan, LinkPlan, Plan } from '../topology/plan.ts';
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
  readonly lanes: readonly LocalLane[];
}

/** The lanes of a link that end at `self`. */
export function localLanes(link: LinkPlan, declaredBy: string, self: string): LocalLane[] {
  return lanesOf(link, declaredBy)
    .filter(({ from, to }) => from === self || to === self)
    .map((plan) =>
      plan.from === self ? { plan, role: 'sender', peer: plan.to } : { plan, role: 'receiver', peer: plan.from },
    );
}

/** The links of the own file that concern a peer, as they are declared to it. */
export function declarationFor(plan: Plan, peer: string): DeclaredLink[] {
  return plan.links
    .filter(({ from, to }) => to.cluster === peer || from.clusters.includes(peer))
    .map((link) => ({ name: link.name, hash: linkHash(link), body: linkToJson(link) }));
}

/** Judges a link that `peer` declares: what of it runs here, or why nothing does. */
export function judge(
  declared: DeclaredLink,
  peer: string,
  self: string,
  grants: readonly Grant[],
  own: readonly LinkPlan[],
): LearnedLink {
  const { name, hash } = declared;
  const refuse = (failure: Failure): LearnedLink => ({ name, hash, failure, lanes: [] });
  const parsed = linkFromJson(declared.body);
  if (!parsed.ok) return refuse(parsed.failure);
  if (parsed.link.name !== name || linkHash(parsed.link) !== hash)
    return refuse({ reason: 'bad-frame', detail: 'the declaration does not match its name and hash' });
  const lanes = localLanes(parsed.link, peer, self).filter((lane) => lane.peer === peer);
  if (lanes.length === 0) return refuse({ reason: 'link-conflict', detail: `${self} is no end of link ${name}` });
  const taken = own.find(
    (link) => link.name === name && lanesOf(link, self).some(({ id }) => lanes.some(({ plan }) => plan.id === id)),
  );
  if (taken !== undefined)
    return refuse({ reason: 'link-conflict', detail: `${self} declares a link ${name} between the same clusters` });
  for (const { plan } of lanes) {
    const failure = granted(plan, grants, self);
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
