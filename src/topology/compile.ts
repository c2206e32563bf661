import { dirname, resolve } from 'node:path';
import { adminFaults } from './admin-rules.ts';
import { createFaults } from './create-rules.ts';
import { explainIssues, valueAt } from './explain.ts';
import { parseAddress, parseBytes, parseDuration, parseSocketPath, startWords } from './leaves.ts';
import { memoryFaults } from './memory-rules.ts';
import { namingFaults } from './naming.ts';
import type {
  Address,
  CreatePlan,
  Endpoint,
  Grant,
  GroupPlan,
  LinkPlan,
  NatsPlan,
  PeerPlan,
  Plan,
  ProxyPlan,
  SecretRef,
  StartPlan,
} from './plan.ts';
import { type Fault, type Path, type PathFault, quote } from './problem.ts';
import { presenceFaults } from './rules.ts';
import { type GrantEntry, type LinkEntry, type TopologyFile, topologyFile } from './schema.ts';
import { identityTemplate, patternOf } from './subjects.ts';

export type Compiled =
  | { readonly ok: true; readonly plan: Plan }
  | { readonly ok: false; readonly faults: readonly PathFault[] };

/**
 * Turns the value of a topology file into a Plan, or tells everything that is wrong with it at once. `nameless`: why the name of the
 * cluster could not be put in for a file that takes it from the certificate.
 */
export function compile(value: unknown, file: string, hash: string, nameless?: Fault): Compiled {
  const parsed = topologyFile.safeParse(value, { reportInput: false });
  const issues = parsed.success ? [] : explainIssues(topologyFile, value, parsed.error.issues);
  const all = [...issues, ...presenceFaults(value), ...createFaults(value), ...namingFaults(value)];
  const faults = [...linksAmongPeers(value, all), ...all.filter((fault) => !isOfLinkAmongPeers(value, fault.path))];
  if (nameless !== undefined) faults.push({ path: ['cluster'], on: 'value', ...nameless });
  if (!parsed.success || faults.length > 0) return { ok: false, faults };
  const { cluster } = parsed.data;
  if (typeof cluster !== 'string') throw new Error('the name of the cluster is to be put in before this');
  const plan = planOf({ ...parsed.data, cluster }, file, hash);
  const beyond = [...memoryFaults(plan), ...adminFaults(plan)];
  return beyond.length > 0 ? { ok: false, faults: beyond } : { ok: true, plan: freeze(plan) };
}

/** A link whose "links:" is missing above it stands among the peers, where every key of it would be a fault of its own. */
function linksAmongPeers(value: unknown, faults: readonly PathFault[]): PathFault[] {
  const names = new Set(faults.flatMap(({ path }) => (isOfLinkAmongPeers(value, path) ? [String(path[1])] : [])));
  return [...names].map((name) => {
    const message = `${quote(name)} under peers looks like a link`;
    return { path: ['peers', name], on: 'key', message, fix: 'it belongs under links: at the top level' };
  });
}

function isOfLinkAmongPeers(value: unknown, path: Path): boolean {
  const [first, name] = path;
  return first === 'peers' && name !== undefined && valueAt(value, ['peers', name, 'kind']) !== undefined;
}

function planOf(data: TopologyFile & { readonly cluster: string }, file: string, hash: string): Plan {
  const absolute = (path: string): string => resolve(dirname(file), path);
  const { cert, key, ca } = data.tls;
  const entries = Object.entries(data.peers);
  return {
    cluster: data.cluster,
    trustDomain: data.trustDomain,
    tls: { cert: absolute(cert), key: absolute(key), ca: absolute(ca) },
    nats: natsPlan(data.nats, absolute),
    ...(data.listen === undefined ? {} : { listen: endpointOf(data.listen, absolute) }),
    monitor: addressOf(data.monitor),
    ...(data.admin === undefined ? {} : { admin: { socket: absolute(data.admin.socket) } }),
    ...(data.memory === undefined ? {} : { memoryBytes: checked(parseBytes(data.memory)) }),
    ...(data.standby === true ? { standby: true } : {}),
    peers: entries.flatMap(([cluster, peer]) => (peer.match === undefined ? [peerPlan(cluster, peer, absolute)] : [])),
    groups: entries.flatMap(([name, peer]) => (peer.match === undefined ? [] : [groupPlan(name, peer, peer.match)])),
    links: Object.entries(data.links).map(([name, entry]) => linkPlan(name, entry, data.cluster)),
    grants: data.grants.map(grantPlan),
    file,
    hash,
  };
}

type NatsEntry = TopologyFile['nats'] | NonNullable<PeerEntry['nats']>;

function natsPlan(nats: NatsEntry, absolute: (path: string) => string): NatsPlan {
  const { tls, servers, domain } = nats;
  const embedded = 'embedded' in nats ? nats.embedded : undefined;
  const secret = (name: 'credentials' | 'nkey' | 'user' | 'password' | 'token') => secretOf(name, nats[name], absolute);
  const files = Object.entries(tls ?? {}).map(([name, path]) => [name, absolute(path)] as const);
  return {
    servers: servers ?? [],
    ...secret('credentials'),
    ...secret('nkey'),
    ...secret('user'),
    ...secret('password'),
    ...secret('token'),
    ...(tls === undefined ? {} : { tls: Object.fromEntries(files) }),
    ...(domain === undefined ? {} : { domain }),
    ...(embedded === undefined ? {} : { embedded: { store: absolute(embedded.store), port: embedded.port } }),
  };
}

function secretOf(
  name: string,
  given: { readonly file?: string | undefined; readonly env?: string | undefined } | undefined,
  absolute: (path: string) => string,
): { readonly [key: string]: SecretRef } {
  if (given?.file !== undefined) return { [name]: { file: absolute(given.file) } };
  return given?.env === undefined ? {} : { [name]: { env: given.env } };
}

type PeerEntry = TopologyFile['peers'][string];

function peerPlan(cluster: string, { dial, proxy, nats }: PeerEntry, absolute: (path: string) => string): PeerPlan {
  return {
    cluster,
    dial: (dial ?? []).map((text) => endpointOf(text, absolute)),
    ...(proxy === undefined ? {} : { proxy: proxyPlan(proxy, absolute) }),
    ...(nats === undefined ? {} : { nats: natsPlan(nats, absolute) }),
  };
}

function proxyPlan(
  { url, env, user, password, ca, except }: NonNullable<PeerEntry['proxy']>,
  absolute: (path: string) => string,
): ProxyPlan {
  return {
    ...(url === undefined ? {} : { url }),
    ...(env === undefined ? {} : { env }),
    ...secretOf('user', user, absolute),
    ...secretOf('password', password, absolute),
    ...(ca === undefined ? {} : { ca: absolute(ca) }),
    ...(except === undefined ? {} : { except }),
  };
}

function groupPlan(name: string, { except, expect }: PeerEntry, match: string): GroupPlan {
  return { name, match, except: except ?? [], ...(expect === undefined ? {} : { expect }) };
}

function linkPlan(name: string, entry: LinkEntry, self: string): LinkPlan {
  const { kind, start, previously, sourced, gaps, origins } = entry;
  const common = {
    name,
    kind,
    ...(start === undefined ? {} : { start: startPlan(start) }),
    ...(previously === undefined ? {} : { previously }),
    // Said or left out, the default is the same link.
    ...(sourced === undefined || sourced === (kind !== 'replicate') ? {} : { sourced }),
    ...(gaps === 'park' ? { gaps } : {}),
    origins: origins ?? [],
  };
  if (kind === 'replicate') {
    const end = { clusters: (entry.between ?? []).toSorted(), stream: entry.stream ?? '' };
    return { ...common, from: end, to: { ...end, subject: identityTemplate } };
  }
  const { from, to } = entry;
  if (from === undefined || to === undefined) throw new Error(`the rules let the link ${name} through`);
  // Sorted: the order of clusters means nothing, and must not make two equal links differ in their hash.
  const clusters = (given: string | readonly string[] = self): string[] =>
    typeof given === 'string' ? [given] : given.toSorted();
  const create = to.create === undefined ? {} : { create: createPlan(to.create, to.subject) };
  const shared = to.shared === undefined ? {} : { shared: to.shared };
  return {
    ...common,
    from: {
      clusters: clusters(from.cluster),
      stream: from.stream,
      ...(from.consume === undefined ? {} : { consume: from.consume }),
    },
    to: { clusters: clusters(to.cluster), stream: to.stream, subject: to.subject, ...create, ...shared },
  };
}

function startPlan(start: string | number): StartPlan {
  if (typeof start === 'number') return { at: 'sequence', sequence: start };
  const at = startWords.find((word) => word === start);
  return at === undefined ? { at: 'time', timeMs: Date.parse(start) } : { at };
}

type CreateEntry = NonNullable<NonNullable<LinkEntry['to']>['create']>;

function createPlan({ subjects, maxBytes, maxAge, replicas }: CreateEntry, template: string): CreatePlan {
  return {
    subjects: (subjects ?? [patternOf(template, '*')]).toSorted(),
    maxBytes: checked(parseBytes(maxBytes)),
    ...(maxAge === undefined ? {} : { maxAgeMs: checked(parseDuration(maxAge)) }),
    replicas,
  };
}

function grantPlan({ to, read, consume, append, create, origins }: GrantEntry): Grant {
  if (consume !== undefined) return { to, verb: 'consume', stream: consume.stream };
  if (append === undefined) return { to, verb: 'read', stream: read!.stream };
  const { stream, subjects } = append;
  return {
    to,
    verb: 'append',
    stream,
    ...(subjects === undefined ? {} : { subjects }),
    ...(origins === undefined ? {} : { origins }),
    ...(create === undefined ? {} : { create: { maxBytes: checked(parseBytes(create.maxBytes)) } }),
  };
}

function checked(value: number | undefined): number {
  if (value === undefined) throw new Error('the schema let a bad quantity through');
  return value;
}

function addressOf(text: string): Address {
  const address = parseAddress(text);
  if (address === undefined) throw new Error(`the schema let a bad address through: ${text}`);
  return address;
}

function endpointOf(text: string, absolute: (path: string) => string): Endpoint {
  const path = parseSocketPath(text);
  return path === undefined ? addressOf(text) : { path: absolute(path) };
}

function freeze<T>(value: T): T {
  if (typeof value === 'object' && value !== null && !Object.isFrozen(value)) {
    Object.freeze(value);
    for (const inner of Object.values(value)) freeze(inner);
  }
  return value;
}
