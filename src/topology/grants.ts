import type { Failure } from '../wire/reasons.ts';
import { isMeant, nameMatches, type Peers } from './groups.ts';
import { sizeText } from './leaves.ts';
import type { Grant, LanePlan } from './plan.ts';
import { patternOf, patternsOverlap, subjectMatches } from './subjects.ts';

/** The grants that hold for one peer, by its own name or by that of its group. */
export function grantsFor(plan: Peers & { readonly grants: readonly Grant[] }, peer: string): Grant[] {
  return plan.grants
    .filter(({ to }) => isMeant(plan, to, peer))
    .map((grant) => (grant.to === peer ? grant : { ...grant, to: peer }));
}

/**
 * Why the lane may not run at the cluster `self`, which gave the peer that declares it these grants; undefined if it may. Declaring
 * a link is consent at the declarer's own end only; at its other end it runs within the grants there. Nobody declares links
 * between others.
 */
export function granted(lane: LanePlan, grants: readonly Grant[], self: string): Failure | undefined {
  const { declaredBy, from, to, sourceStream, sinkStream } = lane;
  if (declaredBy !== from && declaredBy !== to) {
    return notGranted(`${declaredBy} is no end of ${lane.id}, which it declares`);
  }
  if (self !== from && self !== to) return notGranted(`${self} is no end of ${lane.id}`);
  if (declaredBy === self) return undefined;
  if (self === from) {
    const verb = lane.consume === true ? 'consume' : 'read';
    const found = grants.some(
      (grant) => grant.verb === verb && grant.to === declaredBy && grant.stream === sourceStream,
    );
    return found ? undefined : notGranted(`${self} does not let ${declaredBy} ${verb} ${sourceStream}`);
  }
  const fitting = appendGrants(lane, grants);
  if (fitting.length === 0) return notGranted(`${self} does not let ${declaredBy} append to ${sinkStream}`);
  const written = patternOf(lane.subject, from);
  const possible = fitting.some(
    ({ subjects }) => subjects?.some((pattern) => patternsOverlap(pattern, written)) ?? true,
  );
  return possible
    ? undefined
    : notGranted(`${self} lets ${declaredBy} append to ${sinkStream}, but not under ${lane.subject}`);
}

/** What the sink of a lane lets it do, as of the present grants. */
export interface SinkRights {
  /** Whether a mapped subject may be written. */
  allows(subject: string): boolean;
  /** Whether a record may come in that was first seen at this cluster. */
  acceptsOrigin(cluster: string): boolean;
  /** Why the sink stream may not be made with the lane's `create`; undefined if it may. */
  readonly mayNotCreate: Failure | undefined;
  /** Names these rights: equal text, equal rights. */
  readonly key: string;
}

/** For the sink of a lane: what the grants there, or the link itself if the sink's cluster declares it, allow. */
export function sinkRights(lane: LanePlan, grants: readonly Grant[]): SinkRights {
  const own = lane.declaredBy === lane.to;
  const fitting = own ? [] : appendGrants(lane, grants);
  const patterns = own || fitting.some(({ subjects }) => subjects === undefined) ? undefined : subjectsOf(fitting);
  const origins = [lane.from, ...(own ? lane.origins : fitting.flatMap((grant) => grant.origins ?? []))];
  return {
    allows: patterns === undefined ? () => true : (s) => patterns.some((pattern) => subjectMatches(pattern, s)),
    acceptsOrigin: (cluster) => origins.some((pattern) => nameMatches(pattern, cluster)),
    mayNotCreate: own ? undefined : creationFault(lane, fitting),
    key: JSON.stringify([own, patterns, origins, fitting.map((grant) => grant.create)]),
  };
}

function subjectsOf(grants: readonly Grant[]): string[] {
  return grants.flatMap(({ subjects }) => subjects ?? []);
}

function creationFault(lane: LanePlan, fitting: readonly Grant[]): Failure | undefined {
  const { create, declaredBy, sinkStream, to } = lane;
  if (create === undefined) return undefined;
  const limits = fitting.flatMap((grant) => (grant.create === undefined ? [] : [grant.create.maxBytes]));
  if (limits.length === 0) return notGranted(`${to} does not let ${declaredBy} create ${sinkStream}`);
  const most = Math.max(...limits);
  if (create.maxBytes <= most) return undefined;
  const [allowed, wanted] = [most, create.maxBytes].map(sizeText);
  return notGranted(`${to} lets ${declaredBy} create ${sinkStream} with ${allowed}, not with ${wanted}`);
}

function appendGrants(lane: LanePlan, grants: readonly Grant[]): Grant[] {
  return grants.filter(
    ({ verb, to, stream }) => verb === 'append' && to === lane.declaredBy && stream === lane.sinkStream,
  );
}

function notGranted(detail: string): Failure {
  return { reason: 'not-granted', detail };
}
