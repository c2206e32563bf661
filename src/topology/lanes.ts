import { createHash } from 'node:crypto';
import type { Failure } from '../wire/reasons.ts';
import { explainIssues } from './explain.ts';
import { isMeant, type Peers } from './groups.ts';
import type { LanePlan, LinkPlan } from './plan.ts';
import { wireLink } from './schema-wire.ts';

/**
 * What a link of the file of `self` is between this cluster and one other: the same link with no more than these two in it, as both of
 * them see it. Undefined if no lane of it leads from the one to the other.
 */
export function linkBetween(link: LinkPlan, peers: Peers, self: string, other: string): LinkPlan | undefined {
  const of = (names: readonly string[]): string[] =>
    [self, other].filter((cluster) => names.some((name) => isMeant(peers, name, cluster))).sort();
  const from = of(link.from.clusters);
  const to = of(link.to.clusters);
  if (!from.some((one) => to.some((two) => one !== two))) return undefined;
  return { ...link, from: { ...link.from, clusters: from }, to: { ...link.to, clusters: to } };
}

/** The lanes that a link compiles to: from each source cluster to each sink cluster but itself. */
export function lanesOf(link: LinkPlan, declaredBy: string): LanePlan[] {
  const { name, kind, start, previously, sourced, gaps, origins } = link;
  const { create, subject } = link.to;
  const lanes = link.from.clusters.flatMap((from) =>
    link.to.clusters.filter((to) => to !== from).map((to): [string, string] => [from, to]),
  );
  return lanes.map(([from, to]) => ({
    id: `${name}/${from}/${to}`,
    link: name,
    kind,
    from,
    to,
    sourceStream: link.from.stream,
    ...(link.from.consume === undefined ? {} : { consume: link.from.consume }),
    sinkStream: link.to.stream,
    subject,
    ...(create === undefined ? {} : { create }),
    shared: kind === 'replicate' || link.to.shared === true,
    ...(start === undefined ? {} : { start }),
    ...(previously === undefined ? {} : { previously: `${previously}/${from}/${to}` }),
    ...(sourced === undefined ? {} : { sourced }),
    ...(gaps === undefined ? {} : { gaps }),
    origins,
    declaredBy,
    linkHash: linkHash(between(link, from, to)),
  }));
}

function between(link: LinkPlan, from: string, to: string): LinkPlan {
  const of = (names: readonly string[]): string[] => names.filter((name) => name === from || name === to);
  return {
    ...link,
    from: { ...link.from, clusters: of(link.from.clusters) },
    to: { ...link.to, clusters: of(link.to.clusters) },
  };
}

/**
 * The canonical JSON of a link between two clusters: equal declarations give equal text. `origins` is not in it: it is what the declarer
 * accepts at its own end.
 */
export function linkToJson(link: LinkPlan): string {
  const { name, kind, from, to, start, previously, sourced, gaps } = link;
  const { create, shared } = to;
  return JSON.stringify({
    from: {
      clusters: from.clusters.toSorted(),
      ...(from.consume === undefined ? {} : { consume: from.consume }),
      stream: from.stream,
    },
    ...(gaps === undefined ? {} : { gaps }),
    kind,
    name,
    ...(previously === undefined ? {} : { previously }),
    ...(sourced === undefined ? {} : { sourced }),
    ...(start === undefined ? {} : { start: startJson(start) }),
    to: {
      clusters: to.clusters.toSorted(),
      ...(create === undefined ? {} : { create: createJson(create) }),
      ...(shared === undefined ? {} : { shared }),
      stream: to.stream,
      subject: to.subject,
    },
  });
}

function startJson(start: NonNullable<LinkPlan['start']>): object {
  if (start.at === 'sequence') return { at: start.at, sequence: start.sequence };
  return start.at === 'time' ? { at: start.at, timeMs: start.timeMs } : { at: start.at };
}

function createJson({ maxAgeMs, maxBytes, replicas, subjects }: NonNullable<LinkPlan['to']['create']>): object {
  return { ...(maxAgeMs === undefined ? {} : { maxAgeMs }), maxBytes, replicas, subjects: subjects.toSorted() };
}

/** Far more than a link with the longest names and twenty subjects takes. */
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
  const { name, kind, from, to, start, previously, sourced, gaps } = parsed.data;
  const { create, shared, ...sink } = to;
  const { consume, ...source } = from;
  const link: LinkPlan = {
    name,
    kind,
    from: {
      ...source,
      clusters: from.clusters.toSorted(),
      ...(consume === undefined ? {} : { consume }),
    },
    to: {
      ...sink,
      clusters: to.clusters.toSorted(),
      ...(create === undefined ? {} : { create: defined(create) }),
      ...(shared === undefined ? {} : { shared }),
    },
    ...(start === undefined ? {} : { start }),
    ...(previously === undefined ? {} : { previously }),
    ...(sourced === undefined || sourced === (kind !== 'replicate') ? {} : { sourced }),
    ...(gaps === undefined ? {} : { gaps }),
    origins: [],
  };
  const fault = shapeFault(link);
  return fault === undefined ? { ok: true, link } : refused('link-conflict', fault);
}

/** The same without keys that hold nothing. */
function defined<T extends object>(value: T): { [K in keyof T]: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(value).filter(([, inner]) => inner !== undefined)) as {
    [K in keyof T]: Exclude<T[K], undefined>;
  };
}

function shapeFault({ kind, from, to, start }: LinkPlan): string | undefined {
  if (from.consume === true && kind !== 'fan-in') return 'only a fan-in link consumes';
  if (from.consume === true && start !== undefined && start.at !== 'all')
    return 'a stream that is drained is carried from its first record on';
  for (const { clusters } of [from, to])
    if (new Set(clusters).size < clusters.length) return 'a cluster stands twice in the link';
  if (kind === 'replicate') {
    const alike = from.clusters.length === 2 && from.clusters.every((name, i) => name === to.clusters[i]);
    return alike && from.stream === to.stream ? undefined : 'its two ends are not alike';
  }
  if (from.clusters.length > 1 || to.clusters.length > 1) return 'it names more clusters than these two';
  return from.clusters[0] === to.clusters[0] ? 'the link begins and ends at one cluster' : undefined;
}

function refused(reason: 'bad-frame' | 'link-conflict', detail: string): ParsedLink {
  return { ok: false, failure: { reason, detail } };
}

/** Names a declaration: SHA-256 of its canonical JSON, 128 bits in hex. */
export function linkHash(link: LinkPlan): string {
  return createHash('sha256').update(linkToJson(link)).digest('hex').slice(0, 32);
}

/** In what two declarations of one link differ, in words; undefined if they are alike. `places`: where the one stands and where the other. */
export function linkDifference(one: LinkPlan, other: LinkPlan, places: readonly [string, string]): string | undefined {
  if (linkHash(one) === linkHash(other)) return undefined;
  const parts = (link: LinkPlan): Record<string, string> => ({
    kind: link.kind,
    'source clusters': link.from.clusters.join(', '),
    'source stream': link.from.stream,
    consume: String(link.from.consume ?? false),
    'sink clusters': link.to.clusters.join(', '),
    'sink stream': link.to.stream,
    subject: link.to.subject,
    shared: String(link.to.shared === true),
    start: startText(link.start),
    ...createParts(link.to.create),
    previously: link.previously ?? 'none',
    sourced: link.sourced === undefined ? 'left out' : String(link.sourced),
    gaps: link.gaps ?? 'continue',
  });
  const [a, b] = [parts(one), parts(other)];
  const different = [...new Set([...Object.keys(a), ...Object.keys(b)])].filter((key) => a[key] !== b[key]);
  return different
    .map((key) => `${key} ${a[key] ?? 'none'} in ${places[0]}, ${b[key] ?? 'none'} in ${places[1]}`)
    .join('; ');
}

function startText(start: LinkPlan['start']): string {
  if (start === undefined) return 'none';
  if (start.at === 'sequence') return String(start.sequence);
  return start.at === 'time' ? new Date(start.timeMs).toISOString() : start.at;
}

function createParts(create: LinkPlan['to']['create']): Record<string, string> {
  if (create === undefined) return {};
  return {
    'create.subjects': create.subjects.toSorted().join(', '),
    'create.maxBytes': String(create.maxBytes),
    ...(create.maxAgeMs === undefined ? {} : { 'create.maxAge': `${create.maxAgeMs}ms` }),
    'create.replicas': String(create.replicas),
  };
}
