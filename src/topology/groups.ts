import type { GroupPlan, PeerPlan } from './plan.ts';

/** Patterns of cluster names (`*` stands for any run of characters), and which group a cluster belongs to. */

/** True if the pattern covers the name. */
export function nameMatches(pattern: string, name: string): boolean {
  return overlap(pattern, name);
}

/** True if some name is covered by both patterns. */
export function namePatternsOverlap(a: string, b: string): boolean {
  return overlap(a, b);
}

/** A name is a pattern without `*`, so one walk over both answers either question. */
function overlap(a: string, b: string): boolean {
  const dead = new Set<number>();
  const walk = (i: number, j: number): boolean => {
    if (i === a.length && j === b.length) return true;
    const key = i * (b.length + 1) + j;
    if (dead.has(key)) return false;
    const found =
      (a[i] === '*' && (walk(i + 1, j) || (j < b.length && walk(i, j + 1)))) ||
      (b[j] === '*' && (walk(i, j + 1) || (i < a.length && walk(i + 1, j)))) ||
      (i < a.length && a[i] === b[j] && walk(i + 1, j + 1));
    if (!found) dead.add(key);
    return found;
  };
  return walk(0, 0);
}

/** Who the peers of a file are: those that are named, and groups. */
export interface Peers {
  readonly peers: readonly PeerPlan[];
  readonly groups: readonly GroupPlan[];
}

/** The group that a cluster belongs to; undefined for one with an entry of its own, which beats every group. */
export function groupOf({ peers, groups }: Peers, cluster: string): GroupPlan | undefined {
  if (peers.some((peer) => peer.cluster === cluster)) return undefined;
  return groups.find((group) => inGroup(group, cluster));
}

/** True for a cluster that the file knows, by name or as a member of a group. */
export function isPeer(peers: Peers, cluster: string): boolean {
  return peers.peers.some((peer) => peer.cluster === cluster) || groupOf(peers, cluster) !== undefined;
}

/** True if the cluster's name fits the group. */
export function inGroup({ match, except }: GroupPlan, cluster: string): boolean {
  return nameMatches(match, cluster) && !except.includes(cluster);
}

/** True if some cluster can belong to both groups. */
export function groupsOverlap(a: GroupPlan, b: GroupPlan): boolean {
  // Of a pattern without `*` it is known which name that would be.
  if (!a.match.includes('*')) return inGroup(a, a.match) && inGroup(b, a.match);
  if (!b.match.includes('*')) return inGroup(b, b.match) && inGroup(a, b.match);
  return namePatternsOverlap(a.match, b.match);
}

/**
 * True if `name`, of a cluster or a group of the file, means this cluster. A member of a group is meant by the name of its group alone,
 * whatever it is called itself.
 */
export function isMeant(peers: Peers, name: string, cluster: string): boolean {
  return name === (groupOf(peers, cluster)?.name ?? cluster);
}
