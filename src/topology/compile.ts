import { dirname, resolve } from 'node:path';
import { explainIssues } from './explain.ts';
import { parseAddress } from './leaves.ts';
import { namingFaults } from './naming.ts';
import type { Address, Grant, LinkPlan, NatsPlan, Plan, SecretRef } from './plan.ts';
import type { PathFault } from './problem.ts';
import { presenceFaults } from './rules.ts';
import { type GrantEntry, type LinkEntry, type TopologyFile, topologyFile } from './schema.ts';

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
