import { valueAt } from './explain.ts';
import { clusterName, parseAddress } from './leaves.ts';
import { nearest } from './nearest.ts';
import { type Path, type PathFault, quote } from './problem.ts';

/**
 * What does not fit together within one file: names of clusters, ends of links, own addresses. Works on the value as it was
 * read and passes over whatever is not sound in itself, so that these faults are told together with those of the schema.
 */
export function namingFaults(file: unknown): PathFault[] {
  const self = clusterAt(file, ['cluster']);
  const peers = entriesAt(file, ['peers']);
  if (self === undefined || peers === undefined) return portFaults(file);
  const names = new Names(
    self,
    peers.map(([name]) => name),
  );
  const listens = valueAt(file, ['listen']) !== undefined;
  const links = entriesAt(file, ['links']) ?? [];
  const grants = valueAt(file, ['grants']);
  return [
    ...peers.flatMap(([name]) => peerFaults(file, name, self, listens)),
    ...links.flatMap(([name]) => linkFaults(file, name, names)),
    ...(Array.isArray(grants) ? [...grants.keys()] : []).flatMap((index) =>
      names.faultsAt(file, ['grants', index, 'to']),
    ),
    ...portFaults(file),
  ];
}

function peerFaults(file: unknown, name: string, self: string, listens: boolean): PathFault[] {
  const path = ['peers', name];
  if (name === self) {
    return [{ path, on: 'key', message: `${quote(name)} is this cluster`, fix: 'name the other clusters here' }];
  }
  if (listens || entriesAt(file, path)?.length !== 0) return [];
  const message = `${quote(name)} cannot be reached: it has no "dial", and this daemon does not listen`;
  return [{ path, on: 'key', message, fix: 'add dial: ["HOST:PORT"] here, or listen: HOST:PORT at the top' }];
}

function linkFaults(file: unknown, name: string, names: Names): PathFault[] {
  const path = ['links', name];
  const fromPath = [...path, 'from', 'cluster'];
  const toPath = [...path, 'to', 'cluster'];
  const sources = valueAt(file, fromPath);
  const faults = names.faultsAt(file, toPath);
  if (Array.isArray(sources)) {
    faults.push(...sourceListFaults(file, fromPath, sources, names));
    const sink = names.endAt(file, toPath);
    if (sink === undefined || sink === names.self) return faults;
    const message = `the link ${quote(name)} reads from a list of clusters and ends at ${quote(sink)}`;
    return [
      ...faults,
      { path: toPath, on: 'value', message, fix: `let it end here, or declare it in the file of ${sink}` },
    ];
  }
  faults.push(...names.faultsAt(file, fromPath));
  const source = names.endAt(file, fromPath);
  const sink = names.endAt(file, toPath);
  if (source === undefined || sink === undefined) return faults;
  if (source !== names.self && sink !== names.self) {
    const message = `neither end of the link ${quote(name)} is this cluster`;
    const fix = `leave "cluster" out at the end that is here, or declare the link in the file of ${source} or ${sink}`;
    return [...faults, { path, on: 'key', message, fix }];
  }
  if (source !== sink) return faults;
  const stream = valueAt(file, [...path, 'from', 'stream']);
  const toItself = typeof stream === 'string' && stream === valueAt(file, [...path, 'to', 'stream']);
  const message = toItself
    ? `the link ${quote(name)} leads from the stream ${quote(stream)} to itself`
    : `both ends of the link ${quote(name)} are this cluster`;
  return [...faults, { path, on: 'key', message, fix: 'give "cluster" at the end that is elsewhere' }];
}

function sourceListFaults(file: unknown, path: Path, sources: readonly unknown[], names: Names): PathFault[] {
  return sources.flatMap((source, index): PathFault[] => {
    const at = [...path, index];
    if (source === names.self) {
      return [{ path: at, on: 'value', message: `${quote(names.self)} is this cluster`, fix: 'name a peer here' }];
    }
    if (typeof source === 'string' && sources.indexOf(source) < index) {
      return [{ path: at, on: 'value', message: `${quote(source)} stands here twice`, fix: 'take one out' }];
    }
    return names.faultsAt(file, at);
  });
}

/** The clusters that a file may name. */
class Names {
  readonly self: string;
  readonly #peers: readonly string[];

  constructor(self: string, peers: readonly string[]) {
    this.self = self;
    this.#peers = peers;
  }

  /** What is wrong with the cluster that is named at a path, if one is. */
  faultsAt(file: unknown, path: Path): PathFault[] {
    const cluster = clusterAt(file, path);
    if (cluster === undefined || this.#peers.includes(cluster)) return [];
    if (cluster === this.self) {
      // A link may well name its own end; a grant to oneself is a slip.
      if (path[0] !== 'grants') return [];
      return [{ path, on: 'value', message: `${quote(cluster)} is this cluster`, fix: 'name a peer here' }];
    }
    const meant = nearest(cluster, this.#peers);
    const message = `the cluster ${quote(cluster)} is unknown: it is not among the peers`;
    const add = `add it to peers, as ${cluster}: { dial: ["HOST:PORT"] }, or {} if it dials us`;
    return [{ path, on: 'value', message, fix: meant === undefined ? add : `did you mean ${quote(meant)}?` }];
  }

  /** The cluster at one end of a link: this one if left out, undefined if it is no name. */
  endAt(file: unknown, path: Path): string | undefined {
    const end = entriesAt(file, path.slice(0, -1));
    if (end === undefined || end.length === 0) return undefined;
    return valueAt(file, path) === undefined ? this.self : clusterAt(file, path);
  }
}

/** Two of the daemon's own listeners on one address would fail only when it starts. */
function portFaults(file: unknown): PathFault[] {
  const [listen, monitor] = ['listen', 'monitor'].map((key) => {
    const text = valueAt(file, [key]);
    return typeof text === 'string' ? parseAddress(text) : undefined;
  });
  if (listen === undefined || monitor === undefined || listen.port !== monitor.port || listen.port === 0) return [];
  const everywhere = ['0.0.0.0', '::'];
  if (listen.host !== monitor.host && ![listen.host, monitor.host].some((host) => everywhere.includes(host))) return [];
  return [
    { path: ['monitor'], on: 'value', message: '"monitor" and "listen" want the same port', fix: 'change one of them' },
  ];
}

function clusterAt(file: unknown, path: Path): string | undefined {
  return clusterName.safeParse(valueAt(file, path)).data;
}

/** The entries of the mapping at a path; none if it is left out, undefined if something else is there. */
function entriesAt(file: unknown, path: Path): [string, unknown][] | undefined {
  const found = valueAt(file, path);
  if (found === undefined) return [];
  return typeof found === 'object' && found !== null && !Array.isArray(found) ? Object.entries(found) : undefined;
}
