import { valueAt } from './explain.ts';
import { inGroup } from './groups.ts';
import { clusterName, clusterPattern } from './leaves.ts';
import { nearest } from './nearest.ts';
import type { GroupPlan } from './plan.ts';
import { type Path, type PathFault, quote } from './problem.ts';

/** The clusters and groups that a file may name. Works on the value as it was read, which need not be sound. */
export class Names {
  readonly self: string;
  /** Clusters and groups. */
  readonly peers: readonly string[];
  readonly groups: readonly GroupPlan[];
  readonly #file: unknown;

  constructor(file: unknown, self: string, peers: readonly string[]) {
    this.#file = file;
    this.self = self;
    this.peers = peers;
    this.groups = peers.flatMap((name) => {
      const match = clusterPattern.safeParse(valueAt(file, ['peers', name, 'match'])).data;
      if (match === undefined) return [];
      const except = valueAt(file, ['peers', name, 'except']);
      return [{ name, match, except: Array.isArray(except) ? except.map(String) : [] }];
    });
  }

  isGroup(name: string): boolean {
    return valueAt(this.#file, ['peers', name, 'match']) !== undefined;
  }

  /** True for a cluster that this daemon serves, too. */
  isServed(name: string): boolean {
    return valueAt(this.#file, ['peers', name, 'nats']) !== undefined;
  }

  /** What is wrong with the cluster that is named at a path, if one is. `group`: whether a group may stand there. */
  faultsAt(path: Path, group: 'group' | 'cluster' = 'group'): PathFault[] {
    const cluster = clusterAt(this.#file, path);
    if (cluster === undefined || cluster === this.self || this.peers.includes(cluster)) return [];
    const fault = (message: string, fix: string): PathFault[] => [{ path, on: 'value', message, fix }];
    const home = this.groups.find((one) => inGroup(one, cluster));
    if (home !== undefined) {
      const message = `the cluster ${quote(cluster)} has no entry of its own: it is a member of the group ${quote(home.name)}`;
      const add = `add ${cluster}: {} to the peers, which takes it out of the group`;
      return fault(message, group === 'group' ? `name the group, or ${add}` : add);
    }
    const message = `the cluster ${quote(cluster)} is unknown: it is not among the peers`;
    const meant = nearest(cluster, this.peers);
    if (meant !== undefined) return fault(message, `did you mean ${quote(meant)}?`);
    return fault(message, `add it to peers, as ${cluster}: { dial: ["HOST:PORT"] }, or {} if it dials us`);
  }

  /** The clusters at one end of a link: this one if left out, undefined if they are no names. */
  endAt(path: Path): string[] | undefined {
    const end = entriesAt(this.#file, path.slice(0, -1));
    if (end === undefined || end.length === 0) return undefined;
    const given = valueAt(this.#file, path);
    if (given === undefined) return [this.self];
    const list: unknown[] = Array.isArray(given) ? given : [given];
    const clusters = list.filter((one) => clusterName.safeParse(one).success).map(String);
    return clusters.length === 0 ? undefined : clusters;
  }
}

/** The fault of an entry that stands in its list before. */
export function twice(list: readonly unknown[], index: number, path: Path): PathFault[] | undefined {
  const name = list[index];
  if (typeof name !== 'string' || list.indexOf(name) === index) return undefined;
  return [{ path, on: 'value', message: `${quote(name)} stands here twice`, fix: 'take one out' }];
}

export function clusterAt(file: unknown, path: Path): string | undefined {
  return clusterName.safeParse(valueAt(file, path)).data;
}

/** The entries of the mapping at a path; none if it is left out, undefined if something else is there. */
export function entriesAt(file: unknown, path: Path): [string, unknown][] | undefined {
  const found = valueAt(file, path);
  if (found === undefined) return [];
  return typeof found === 'object' && found !== null && !Array.isArray(found) ? Object.entries(found) : undefined;
}
