import type { Plan } from './plan.ts';

/** Options that a running daemon cannot take over: it keeps what it was started with. */
const fixed = ['cluster', 'trustDomain', 'tls', 'nats', 'listen', 'monitor', 'admin', 'standby'] as const;

/** The options of `next` that take effect only when the daemon is started anew. */
export function pendingOptions(running: Plan, next: Plan): string[] {
  return fixed.filter((key) => JSON.stringify(running[key]) !== JSON.stringify(next[key]));
}

/** `next` as far as a daemon that runs on `running` can take it over. */
export function adoptable(running: Plan, next: Plan): Plan {
  const { cluster, trustDomain, tls, nats, listen, monitor, admin, standby } = running;
  const { listen: _, admin: __, standby: ___, ...rest } = next;
  const optional = {
    ...(listen === undefined ? {} : { listen }),
    ...(admin === undefined ? {} : { admin }),
    ...(standby === undefined ? {} : { standby }),
  };
  return { ...rest, cluster, trustDomain, tls, nats, monitor, ...optional };
}

export interface PlanDiff {
  readonly peers: {
    readonly added: readonly string[];
    readonly removed: readonly string[];
    readonly changed: readonly string[];
  };
  readonly links: {
    readonly added: readonly string[];
    readonly removed: readonly string[];
    readonly changed: readonly string[];
  };
  readonly grantsChanged: boolean;
}

/** What another version of a file changes, by name: for the log. */
export function diffPlans(before: Plan, after: Plan): PlanDiff {
  const peersOf = (plan: Plan): Map<string, string> =>
    new Map([
      ...plan.peers.map((peer): [string, string] => [peer.cluster, JSON.stringify(peer)]),
      ...plan.groups.map((group): [string, string] => [group.name, JSON.stringify(group)]),
    ]);
  const linksOf = (plan: Plan): Map<string, string> =>
    new Map(plan.links.map((link): [string, string] => [link.name, JSON.stringify(link)]));
  return {
    peers: diff(peersOf(before), peersOf(after)),
    links: diff(linksOf(before), linksOf(after)),
    grantsChanged: JSON.stringify(before.grants) !== JSON.stringify(after.grants),
  };
}

function diff(before: ReadonlyMap<string, string>, after: ReadonlyMap<string, string>) {
  return {
    added: [...after.keys()].filter((name) => !before.has(name)),
    removed: [...before.keys()].filter((name) => !after.has(name)),
    changed: [...after].filter(([name, text]) => before.has(name) && before.get(name) !== text).map(([name]) => name),
  };
}
