import { dirname, resolve } from 'node:path';
import { explainIssues, valueAt } from './explain.ts';
import { clusterName, parseAddress } from './leaves.ts';
import { nearest } from './nearest.ts';
import type { Address, Grant, LinkPlan, NatsPlan, Plan, SecretRef } from './plan.ts';
import { type Path, type PathFault, quote } from './problem.ts';
import { presenceFaults } from './rules.ts';
import { type GrantEntry, type LinkEntry, link, type TopologyFile, topologyFile } from './schema.ts';

export type Compiled =
  | { readonly ok: true; readonly plan: Plan }
  | { readonly ok: false; readonly faults: readonly PathFault[] };

/** Turns the value of a topology file into a Plan, or tells everything that is wrong with it at once. */
export function compile(value: unknown, file: string, hash: string): Compiled {
  const parsed = topologyFile.safeParse(value, { reportInput: false });
  const issues = parsed.success ? [] : explainIssues(topologyFile, value, parsed.error.issues);
  const faults = [...issues, ...presenceFaults(value), ...namingFaults(value)];
  if (!parsed.success || faults.length > 0) return { ok: false, faults };
  return { ok: true, plan: freeze(planOf(parsed.data, file, hash)) };
}

/**
 * What does not fit together within the file. Each entry that is sound by itself is looked at, so that a mistake in one
 * does not hide those in others.
 */
function namingFaults(value: unknown): PathFault[] {
  const self = clusterName.safeParse(valueAt(value, ['cluster'])).data;
  if (self === undefined) return [];
  const peers = entriesOf(valueAt(value, ['peers']));
  if (peers === undefined) return [];
  const names = new Names(
    self,
    peers.map(([name]) => name),
  );
  const faults: PathFault[] = [];
  for (const [name, body] of peers) {
    const path = ['peers', name];
    const nobodyDials = isEmpty(body) && valueAt(value, ['listen']) === undefined;
    if (name === self) {
      faults.push({ path, on: 'key', message: `${quote(name)} is this cluster`, fix: 'name the other clusters here' });
    } else if (nobodyDials) {
      const message = `${quote(name)} cannot be reached: it has no "dial", and this daemon does not listen`;
      faults.push({ path, on: 'key', message, fix: 'add dial: ["HOST:PORT"] here, or listen: HOST:PORT at the top' });
    }
  }
  for (const [name, body] of entriesOf(valueAt(value, ['links'])) ?? []) {
    const entry = link.safeParse(body).data;
    if (entry !== undefined) faults.push(...linkFaults(name, entry, names));
  }
  const grants = valueAt(value, ['grants']);
  for (const [index, body] of Array.isArray(grants) ? grants.entries() : []) {
    const to = clusterName.safeParse(valueAt(body, ['to'])).data;
    if (to !== undefined) faults.push(...names.peerFaults(to, ['grants', index, 'to']));
  }
  return [...faults, ...portFaults(value)];
}

function linkFaults(name: string, entry: LinkEntry, names: Names): PathFault[] {
  const self = names.self;
  const path = ['links', name];
  const { from, to } = entry;
  const sink = to.cluster ?? self;
  if (Array.isArray(from.cluster)) {
    const seen = new Set<string>();
    const faults = from.cluster.flatMap((cluster, index): PathFault[] => {
      const at: Path = [...path, 'from', 'cluster', index];
      const twice = seen.has(cluster);
      seen.add(cluster);
      if (twice)
        return [{ path: at, on: 'value', message: `${quote(cluster)} stands here twice`, fix: 'take one out' }];
      return names.peerFaults(cluster, at);
    });
    if (sink === self) return faults;
    const message = `the link ${quote(name)} reads from a list of clusters and ends at ${quote(sink)}`;
    const fix = `let it end here, or declare it in the file of ${sink}`;
    return [...faults, { path: [...path, 'to', 'cluster'], on: 'value', message, fix }];
  }
  const source = from.cluster ?? self;
  if (source === self && sink === self) {
    const message =
      from.stream === to.stream
        ? `the link ${quote(name)} leads from the stream ${from.stream} to itself`
        : `both ends of the link ${quote(name)} are this cluster`;
    return [{ path, on: 'key', message, fix: 'give "cluster" at the end that is elsewhere' }];
  }
  const faults = [
    ...(source === self ? [] : names.peerFaults(source, [...path, 'from', 'cluster'])),
    ...(sink === self ? [] : names.peerFaults(sink, [...path, 'to', 'cluster'])),
  ];
  if (source === self || sink === self) return faults;
  const message = `neither end of the link ${quote(name)} is this cluster`;
  const fix = `leave "cluster" out at the end that is here, or declare the link in the file of ${source} or ${sink}`;
  return [...faults, { path, on: 'key', message, fix }];
}

/** The clusters that a file may name. */
class Names {
  readonly self: string;
  readonly #peers: readonly string[];

  constructor(self: string, peers: readonly string[]) {
    this.self = self;
    this.#peers = peers;
  }

  /** What is wrong with naming `cluster` where a peer belongs. */
  peerFaults(cluster: string, path: Path): PathFault[] {
    if (cluster === this.self) {
      return [{ path, on: 'value', message: `${quote(cluster)} is this cluster`, fix: 'name a peer here' }];
    }
    if (this.#peers.includes(cluster)) return [];
    const meant = nearest(cluster, this.#peers);
    const message = `the cluster ${quote(cluster)} is unknown: it is not among the peers`;
    const add = `add it to peers, as ${cluster}: { dial: ["HOST:PORT"] }, or {} if it dials us`;
    return [{ path, on: 'value', message, fix: meant === undefined ? add : `did you mean ${quote(meant)}?` }];
  }
}

/** Two of the daemon's own listeners on one address would fail only when it starts. */
function portFaults(value: unknown): PathFault[] {
  const own = [
    { path: ['listen'], text: valueAt(value, ['listen']) },
    { path: ['monitor'], text: valueAt(value, ['monitor']) },
  ];
  const [listen, monitor] = own.map(({ text }) => (typeof text === 'string' ? parseAddress(text) : undefined));
  if (listen === undefined || monitor === undefined || listen.port !== monitor.port || listen.port === 0) return [];
  const everywhere = ['0.0.0.0', '::'];
  if (listen.host !== monitor.host && ![listen.host, monitor.host].some((host) => everywhere.includes(host))) return [];
  return [
    { path: ['monitor'], on: 'value', message: '"monitor" and "listen" want the same port', fix: 'change one of them' },
  ];
}

function entriesOf(value: unknown): [string, unknown][] | undefined {
  if (value === undefined) return [];
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? Object.entries(value) : undefined;
}

function isEmpty(value: unknown): boolean {
  return entriesOf(value)?.length === 0;
}

function planOf(data: TopologyFile, file: string, hash: string): Plan {
  const absolute = (path: string): string => resolve(dirname(file), path);
  const { cert, key, ca } = data.tls;
  return {
    cluster: data.cluster,
    trustDomain: data.trustDomain,
    tls: { cert: absolute(cert), key: absolute(key), ca: absolute(ca) },
    nats: natsPlan(data.nats, absolute),
    ...(data.listen === undefined ? {} : { listen: addressOf(data.listen) }),
    monitor: addressOf(data.monitor),
    peers: Object.entries(data.peers).map(([cluster, peer]) => ({ cluster, dial: (peer.dial ?? []).map(addressOf) })),
    links: Object.entries(data.links).map(([name, entry]) => linkPlan(name, entry, data.cluster)),
    grants: data.grants.map(grantPlan),
    file,
    hash,
  };
}

function natsPlan(nats: TopologyFile['nats'], absolute: (path: string) => string): NatsPlan {
  const { embedded, tls, servers, domain } = nats;
  const secret = (name: 'credentials' | 'nkey' | 'user' | 'password' | 'token'): { [key: string]: SecretRef } => {
    const given = nats[name];
    if (given?.file !== undefined) return { [name]: { file: absolute(given.file) } };
    return given?.env === undefined ? {} : { [name]: { env: given.env } };
  };
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

function linkPlan(name: string, entry: LinkEntry, self: string): LinkPlan {
  const { cluster: source = self, stream } = entry.from;
  // Sorted: the order of sources means nothing, and must not make two equal links differ in their hash.
  const clusters = Array.isArray(source) ? source.toSorted() : [source];
  return {
    name,
    kind: entry.kind,
    from: { clusters, stream },
    to: { cluster: entry.to.cluster ?? self, stream: entry.to.stream, subject: entry.to.subject },
  };
}

function grantPlan(entry: GrantEntry): Grant {
  if (entry.read !== undefined) return { to: entry.to, verb: 'read', stream: entry.read.stream };
  const { stream, subjects } = entry.append!;
  return { to: entry.to, verb: 'append', stream, ...(subjects === undefined ? {} : { subjects }) };
}

function addressOf(text: string): Address {
  const address = parseAddress(text);
  if (address === undefined) throw new Error(`the schema let a bad address through: ${text}`);
  return address;
}

function freeze<T>(value: T): T {
  if (typeof value === 'object' && value !== null && !Object.isFrozen(value)) {
    Object.freeze(value);
    for (const inner of Object.values(value)) freeze(inner);
  }
  return value;
}
