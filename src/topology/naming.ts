import { valueAt } from './explain.ts';
import { groupsOverlap, inGroup, nameMatches } from './groups.ts';
import { parseAddress } from './leaves.ts';
import { clusterAt, entriesAt, Names, twice } from './names.ts';
import { linkNamingFaults } from './naming-links.ts';
import type { GroupPlan } from './plan.ts';
import { type Path, type PathFault, quote } from './problem.ts';

/**
 * What does not fit together within one file: names of clusters, ends of links, own addresses. Works on the value as it was
 * read and passes over whatever is not sound in itself, so that these faults are told together with those of the schema.
 */
export function namingFaults(file: unknown): PathFault[] {
  const self = clusterAt(file, ['cluster']);
  const peers = entriesAt(file, ['peers'])?.map(([name]) => name);
  if (self === undefined || peers === undefined) return portFaults(file);
  const names = new Names(file, self, peers);
  const links = entriesAt(file, ['links']) ?? [];
  const grants = valueAt(file, ['grants']);
  return [
    ...peers.flatMap((name) => peerFaults(file, name, names)),
    ...names.groups.flatMap((group) => groupFaults(file, group, names)),
    ...links.flatMap(([name]) => linkNamingFaults(file, name, names)),
    ...(Array.isArray(grants) ? [...grants.keys()] : []).flatMap((index) => grantFaults(file, index, names)),
    ...portFaults(file),
  ];
}

function peerFaults(file: unknown, name: string, names: Names): PathFault[] {
  const path = ['peers', name];
  if (name === names.self) {
    return [{ path, on: 'key', message: `${quote(name)} is this cluster`, fix: 'name the other clusters here' }];
  }
  const keys = entriesAt(file, path)?.map(([key]) => key);
  if (keys?.includes('nats')) return sameServers(file, name);
  if (valueAt(file, ['listen']) !== undefined || keys === undefined || keys.includes('dial')) return [];
  const isGroup = keys.includes('match');
  if (!isGroup && keys.length > 0) return [];
  const why = isGroup ? 'its members dial us' : 'it has no "dial"';
  const message = `${quote(name)} cannot be reached: ${why}, and this daemon does not listen`;
  const listen = 'listen: HOST:PORT at the top';
  return [{ path, on: 'key', message, fix: isGroup ? `add ${listen}` : `add dial: ["HOST:PORT"] here, or ${listen}` }];
}

/** One account of one server under two names would carry each stream into itself. */
function sameServers(file: unknown, name: string): PathFault[] {
  const at = ['peers', name, 'nats'];
  const keys = ['credentials', 'nkey', 'user', 'token', 'domain'];
  const same = keys.every(
    (key) => JSON.stringify(valueAt(file, [...at, key])) === JSON.stringify(valueAt(file, ['nats', key])),
  );
  const own = valueAt(file, ['nats', 'servers']);
  const theirs = valueAt(file, [...at, 'servers']);
  if (!same || !Array.isArray(own) || !Array.isArray(theirs)) return [];
  const shared = theirs.findIndex((url) => own.includes(url));
  if (shared === -1) return [];
  const message = `${quote(name)} would be the same NATS account as this cluster`;
  const fix = 'give the servers of the other cluster, or another account or domain at these';
  return [{ path: [...at, 'servers', shared], on: 'value', message, fix }];
}

/** A name that two groups match would have two meanings; one that none matches would be waited for in vain. */
function groupFaults(file: unknown, group: GroupPlan, names: Names): PathFault[] {
  const { name, match } = group;
  const path = ['peers', name];
  const faults = [
    ...listFaults(file, [...path, 'except'], (member) =>
      nameMatches(match, member) ? undefined : `${quote(member)} does not fit ${quote(match)} anyway`,
    ),
    ...listFaults(file, [...path, 'expect'], (member) => {
      const why = whyNoMember(group, member, names);
      return why && `${quote(member)} is no member of the group: ${why}`;
    }),
  ];
  if (inGroup(group, names.self)) {
    const message = `this cluster, ${quote(names.self)}, fits the group itself`;
    const fix = `narrow the pattern, or add except: [${names.self}]`;
    return [...faults, { path: [...path, 'match'], on: 'value', message, fix }];
  }
  const other = names.groups.slice(0, names.groups.indexOf(group)).find((before) => groupsOverlap(before, group));
  if (other === undefined) return faults;
  const message = `names can fit both ${quote(other.name)} (${other.match}) and ${quote(name)} (${match})`;
  const fix = 'choose patterns that no name fits at once';
  return [...faults, { path: [...path, 'match'], on: 'value', message, fix }];
}

function whyNoMember(group: GroupPlan, member: string, names: Names): string | undefined {
  if (!nameMatches(group.match, member)) return `it does not fit ${quote(group.match)}`;
  if (group.except.includes(member)) return 'it stands under "except"';
  if (names.peers.includes(member) && !names.isGroup(member)) return 'it has an entry of its own among the peers';
  return undefined;
}

function listFaults(file: unknown, path: Path, faultOf: (member: string) => string | undefined): PathFault[] {
  const list = valueAt(file, path);
  if (!Array.isArray(list)) return [];
  return list.flatMap((_, index): PathFault[] => {
    const at = [...path, index];
    const repeated = twice(list, index, at);
    if (repeated !== undefined) return repeated;
    const member = clusterAt(file, at);
    const message = member === undefined ? undefined : faultOf(member);
    return message === undefined ? [] : [{ path: at, on: 'value', message, fix: 'take it out, or correct the name' }];
  });
}

function grantFaults(file: unknown, index: number, names: Names): PathFault[] {
  const path = ['grants', index, 'to'];
  const cluster = clusterAt(file, path);
  if (cluster === names.self) {
    return [{ path, on: 'value', message: `${quote(cluster)} is this cluster`, fix: 'name a peer here' }];
  }
  if (cluster === undefined || !names.isServed(cluster)) return names.faultsAt(path);
  const message = `${quote(cluster)} is served by this daemon and declares no links`;
  return [{ path, on: 'value', message, fix: 'take the grant out: the links of this file need none' }];
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
