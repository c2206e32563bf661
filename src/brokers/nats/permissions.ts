/**
 * What the NATS user of a daemon must be allowed. A list beside the code that sends: test/integration/permissions.test.ts runs daemons
 * with exactly this, and without a line of it.
 */
import type { LinkPlan, Plan } from '../../topology/plan.ts';
import { patternOf } from '../../topology/subjects.ts';
import { inboxPrefix } from './connection.ts';
import { atLeast, type ServerVersion } from './server-binary.ts';

export interface Permission {
  /** A subject, with wildcards. */
  readonly subject: string;
  readonly why: string;
}

export interface UserPermissions {
  readonly publish: readonly Permission[];
  readonly subscribe: readonly Permission[];
}

/** Something that the file does not tell, or tells wrongly, about a sink stream. */
export interface UnclearStream {
  readonly stream: string;
  readonly detail: string;
}

export type PermissionsResult =
  | { readonly ok: true; readonly permissions: UserPermissions }
  | { readonly ok: false; readonly unclear: readonly UnclearStream[] };

/** What is written to a sink stream, as subject patterns, and whether it may have to be made. */
interface Sink {
  readonly written: Set<string>;
  /** Subjects of the stream, as far as the file says them. */
  readonly told: Set<string>;
  create: boolean;
}

/**
 * The permissions for the connections of a Plan to its own cluster, on servers of this version (2.9 or later), for the links that the file
 * declares and those that its grants allow. `subjects`: those of sink streams, by name, for links whose template says nothing of them.
 */
export function permissionsOf(
  plan: Plan,
  server: ServerVersion,
  subjects: ReadonlyMap<string, readonly string[]>,
): PermissionsResult {
  const { sources, consumed, sinks } = streamsOf(plan);
  const { domain } = plan.nats;
  const api = domain === undefined ? '$JS.API' : `$JS.${domain}.API`;
  const unclear: UnclearStream[] = [];
  const publish: Permission[] = [];
  for (const stream of new Set([...sources, ...sinks.keys()])) {
    const ends = [sources.has(stream) ? 'source' : '', sinks.has(stream) ? 'sink' : ''].filter((end) => end !== '');
    publish.push(...readStream(api, stream, ends.join(' and '), sources.has(stream)));
  }
  for (const stream of consumed) publish.push(...acknowledge(stream, server));
  for (const [stream, sink] of sinks) {
    if (sink.create)
      publish.push({ subject: `${api}.STREAM.CREATE.${stream}`, why: `makes ${stream} if it is missing` });
    const written = writtenTo(sink.written, subjects.get(stream) ?? [...sink.told]);
    if (typeof written === 'string') unclear.push({ stream, detail: written });
    else publish.push(...written.map((subject) => ({ subject, why: `records for ${stream}` })));
  }
  publish.push(...controlStore(api, domain, server, sinks.size > 0));
  if (sinks.size > 0) publish.push(...quarantine(api));
  if (unclear.length > 0) return { ok: false, unclear };
  const once = publish.filter(({ subject }, i) => publish.findIndex((other) => other.subject === subject) === i);
  const subscribe = [{ subject: `${inboxPrefix}.>`, why: 'answers, and what is delivered' }];
  return { ok: true, permissions: { publish: once, subscribe } };
}

/** The streams of the own cluster that the file lets lanes read and write. */
function streamsOf(plan: Plan): {
  readonly sources: ReadonlySet<string>;
  /** Sources whose records are acknowledged. */
  readonly consumed: ReadonlySet<string>;
  readonly sinks: ReadonlyMap<string, Sink>;
} {
  const { cluster: self, links, grants } = plan;
  const sources = new Set<string>();
  const consumed = new Set<string>();
  const sinks = new Map<string, Sink>();
  const sinkOf = (stream: string): Sink => {
    const sink = sinks.get(stream) ?? { written: new Set(), told: new Set(), create: false };
    sinks.set(stream, sink);
    return sink;
  };
  for (const link of links) {
    const others = (end: LinkPlan['from']): boolean => end.clusters.some((name) => name !== self);
    if (link.from.clusters.includes(self) && others(link.to)) {
      sources.add(link.from.stream);
      if (link.from.consume === true) consumed.add(link.from.stream);
    }
    if (!link.to.clusters.includes(self)) continue;
    for (const from of link.from.clusters.filter((name) => name !== self)) {
      const sink = sinkOf(link.to.stream);
      // The members of a group have any name.
      const isGroup = plan.groups.some(({ name }) => name === from);
      sink.written.add(patternOf(link.to.subject, isGroup ? '*' : from));
      for (const subject of link.to.create?.subjects ?? []) sink.told.add(subject);
      sink.create ||= link.to.create !== undefined;
    }
  }
  for (const { verb, stream, subjects = ['>'], create } of grants) {
    if (verb !== 'append') {
      sources.add(stream);
      if (verb === 'consume') consumed.add(stream);
      continue;
    }
    const sink = sinkOf(stream);
    for (const subject of subjects) sink.written.add(subject);
    sink.create ||= create !== undefined;
  }
  return { sources, consumed, sinks };
}

/** What is needed to look into a stream and to read it. */
function readStream(api: string, stream: string, end: string, isSource: boolean): Permission[] {
  return [
    { subject: `${api}.STREAM.INFO.${stream}`, why: `${end} ${stream}: what it is and how far` },
    { subject: `${api}.STREAM.MSG.GET.${stream}`, why: 'single records, to prove where a lane stands' },
    { subject: `${api}.CONSUMER.CREATE.${stream}.*`, why: 'reads it by consumers named causeway-...' },
    { subject: `${api}.CONSUMER.MSG.NEXT.${stream}.*`, why: 'asks them for records' },
    { subject: `${api}.CONSUMER.DELETE.${stream}.*`, why: 'removes them when done' },
    ...(isSource
      ? [{ subject: `${api}.CONSUMER.INFO.${stream}.*`, why: 'asks how far the source is, for the lag' }]
      : []),
  ];
}

/** What is needed to drain a stream, besides reading it. */
function acknowledge(stream: string, server: ServerVersion): Permission[] {
  const why = `acknowledges records of ${stream} that are stored at the sink`;
  return [
    { subject: `$JS.ACK.${stream}.>`, why },
    // js_ack_fc_v2: with domain and account in front.
    ...(atLeast(server, 2, 14)
      ? [{ subject: `$JS.ACK.*.*.${stream}.>`, why: 'as servers from 2.14 on may want it' }]
      : []),
  ];
}

/** The patterns under which records come, cut down to the subjects of the stream; why that cannot be said, if it cannot. */
function writtenTo(written: ReadonlySet<string>, subjects: readonly string[]): readonly string[] | string {
  const found = new Set<string>();
  for (const pattern of written) {
    const cut = subjects.flatMap((subject) => intersection(pattern, subject) ?? []);
    for (const subject of cut) found.add(subject);
    if (cut.length > 0) continue;
    if (subjects.length > 0) return `records come under ${pattern}, and its subjects are ${subjects.join(', ')}`;
    // A wildcard at the start would cover the server's own subjects as well, and allow everything.
    if (/^[*>]/.test(pattern)) return 'the file does not say its subjects';
    found.add(pattern);
  }
  return [...found];
}

/** What two patterns have in common, as one pattern; undefined if nothing. */
function intersection(a: string, b: string): string | undefined {
  const [left, right] = [a.split('.'), b.split('.')];
  const common: string[] = [];
  for (let i = 0; ; i++) {
    const [l, r] = [left[i], right[i]];
    if (l === undefined && r === undefined) return common.join('.');
    if (l === undefined || r === undefined) return undefined;
    if (l === '>') return [...common, ...right.slice(i)].join('.');
    if (r === '>') return [...common, ...left.slice(i)].join('.');
    if (l !== r && l !== '*' && r !== '*') return undefined;
    common.push(l === '*' ? r : l);
  }
}

/** The stream of Quarantine. */
function quarantine(api: string): Permission[] {
  const stream = 'CAUSEWAY_QUARANTINE';
  return [
    { subject: `${api}.STREAM.CREATE.${stream}`, why: 'makes the quarantine; not needed where it exists' },
    { subject: `${api}.STREAM.INFO.${stream}`, why: 'lists it' },
    { subject: `${api}.STREAM.MSG.GET.${stream}`, why: 'reads what is in it' },
    { subject: `${api}.STREAM.PURGE.${stream}`, why: 'takes out what was stored after all, or is dropped' },
    { subject: '$CAUSEWAY.QUARANTINE.>', why: 'records that a sink refuses for good' },
  ];
}

/** The buckets of ControlStore. */
function controlStore(api: string, domain: string | undefined, server: ServerVersion, hasSinks: boolean): Permission[] {
  const buckets = hasSinks ? ['CAUSEWAY', 'CAUSEWAY_GAPS'] : ['CAUSEWAY'];
  return [
    ...buckets.flatMap((bucket): Permission[] => {
      const stream = `KV_${bucket}`;
      return [
        { subject: `${api}.STREAM.INFO.${stream}`, why: `bucket ${bucket}: whether it is there` },
        // The client puts the prefix of a domain before these, too.
        { subject: `${domain === undefined ? '' : `${api}.`}$KV.${bucket}.>`, why: 'writes it' },
        { subject: `${api}.STREAM.CREATE.${stream}`, why: 'makes it; not needed where it exists' },
        { subject: `${api}.STREAM.MSG.GET.${stream}`, why: 'reads what it holds' },
        { subject: `${api}.DIRECT.GET.${stream}.>`, why: 'the same, by the daemon that made the bucket' },
        { subject: `${api}.CONSUMER.CREATE.${stream}.*.$KV.${bucket}.>`, why: 'lists its keys' },
        { subject: `${api}.CONSUMER.INFO.${stream}.*`, why: 'the same' },
        { subject: `${api}.CONSUMER.DELETE.${stream}.*`, why: 'the same, after it was interrupted' },
        { subject: `$JS.FC.${stream}.>`, why: 'the same, where there are very many: flow control' },
        // js_ack_fc_v2: with domain and account in front.
        ...(atLeast(server, 2, 14)
          ? [{ subject: `$JS.FC.*.*.${stream}.>`, why: 'as servers from 2.14 on may write it' }]
          : []),
      ];
    }),
    { subject: `${api}.INFO`, why: 'asked before a bucket is made; not needed where they exist' },
  ];
}
