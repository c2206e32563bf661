import { createHash } from 'node:crypto';
import type { Failure } from '../wire/reasons.ts';
import { explainIssues } from './explain.ts';
import type { Grant, LanePlan, LinkPlan } from './plan.ts';
import { wireLink } from './schema.ts';
import { patternOf, patternsOverlap, subjectMatches } from './subjects.ts';

/** The lanes that a link compiles to: one per source cluster. */
export function lanesOf(link: LinkPlan, declaredBy: string): LanePlan[] {
  const hash = linkHash(link);
  return link.from.clusters.map((from) => ({
    id: `${link.name}/${from}/${link.to.cluster}`,
    link: link.name,
    from,
    to: link.to.cluster,
    sourceStream: link.from.stream,
    sinkStream: link.to.stream,
    subject: link.to.subject,
    declaredBy,
    linkHash: hash,
  }));
}

/** The canonical JSON of a declaration: equal links give equal text. */
export function linkToJson(link: LinkPlan): string {
  const { name, kind, from, to } = link;
  return JSON.stringify({
    from: { clusters: from.clusters.toSorted(), stream: from.stream },
    kind,
    name,
    to: { cluster: to.cluster, stream: to.stream, subject: to.subject },
  });
}

/** A thousand source clusters with the longest names fit in. */
const maxLinkJson = 64 * 1024;

export type ParsedLink =
  | { readonly ok: true; readonly link: LinkPlan }
  | { readonly ok: false; readonly failure: Failure };

/**
 * Reads a declaration that another cluster sent. `bad-frame`: no JSON of ours; `link-conflict`: a link that this daemon
 * does not understand. Whether it may run here is for `granted` to say.
 */
export function linkFromJson(text: string): ParsedLink {
  if (text.length > maxLinkJson) return refused('bad-frame', `a link of more than ${maxLinkJson} characters`);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    // What was sent is not repeated: it is not known to be text at all.
    return refused('bad-frame', 'a link that is not JSON');
  }
  const parsed = wireLink.safeParse(value);
  if (!parsed.success) {
    const [fault] = explainIssues(wireLink, value, parsed.error.issues);
    // An unknown key is the other side's text, and the message quotes as much of it as is good.
    const path = fault?.on === 'key' ? fault.path.slice(0, -1) : fault?.path;
    return refused('link-conflict', `at ${path?.join('.') || 'its top'}: ${fault?.message}`);
  }
  const { name, kind, from, to } = parsed.data;
  const clusters = from.clusters.toSorted();
  if (new Set(clusters).size < clusters.length)
    return refused('link-conflict', 'a source cluster stands twice in the link');
  if (clusters.includes(to.cluster)) return refused('link-conflict', 'the link begins and ends at one cluster');
  return { ok: true, link: { name, kind, from: { clusters, stream: from.stream }, to } };
}

function refused(reason: 'bad-frame' | 'link-conflict', detail: string): ParsedLink {
  return { ok: false, failure: { reason, detail } };
}

/** Names a declaration: SHA-256 of its canonical JSON, 128 bits in hex. */
export function linkHash(link: LinkPlan): string {
  return createHash('sha256').update(linkToJson(link)).digest('hex').slice(0, 32);
}

/**
 * Why the lane may not run at the cluster `self`, whose grants these are; undefined if it may. Declaring a link is consent at the
 * declarer's own end only; at its other end it runs within the grants there. Nobody declares links between others.
 */
export function granted(lane: LanePlan, grants: readonly Grant[], self: string): Failure | undefined {
  const { declaredBy, from, to, sourceStream, sinkStream } = lane;
  if (declaredBy !== from && declaredBy !== to) {
    return notGranted(`${declaredBy} is no end of ${lane.id}, which it declares`);
  }
  if (self !== from && self !== to) return notGranted(`${self} is no end of ${lane.id}`);
  if (declaredBy === self) return undefined;
  if (self === from) {
    const found = grants.some(
      (grant) => grant.verb === 'read' && grant.to === declaredBy && grant.stream === sourceStream,
    );
    return found ? undefined : notGranted(`${self} does not let ${declaredBy} read ${sourceStream}`);
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

/**
 * For the sink of a lane: tells whether a mapped subject is within the grants. Undefined if every subject of the stream
 * is, as on a lane that the sink's own cluster declares.
 */
export function appendFilter(lane: LanePlan, grants: readonly Grant[]): ((subject: string) => boolean) | undefined {
  if (lane.declaredBy === lane.to) return undefined;
  const fitting = appendGrants(lane, grants);
  if (fitting.some(({ subjects }) => subjects === undefined)) return undefined;
  const patterns = fitting.flatMap(({ subjects }) => subjects ?? []);
  return (subject) => patterns.some((pattern) => subjectMatches(pattern, subject));
}

function appendGrants(lane: LanePlan, grants: readonly Grant[]): Grant[] {
  return grants.filter(
    ({ verb, to, stream }) => verb === 'append' && to === lane.declaredBy && stream === lane.sinkStream,
  );
}

function notGranted(detail: string): Failure {
  return { reason: 'not-granted', detail };
}
