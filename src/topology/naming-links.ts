import { valueAt } from './explain.ts';
import { type Names, twice } from './names.ts';
import { type Path, type PathFault, quote } from './problem.ts';

/** What is wrong with the clusters that a link names: unknown ones, ends that do not suit its kind, no end here. */
export function linkNamingFaults(file: unknown, name: string, names: Names): PathFault[] {
  const path = ['links', name];
  const kind = valueAt(file, [...path, 'kind']);
  if (kind === 'replicate') return memberFaults(file, name, names);
  // Put beside the ends, it is known which cluster is meant, but not at which of them.
  if (valueAt(file, [...path, 'cluster']) !== undefined) return [];
  const faults = ['from', 'to'].flatMap((end) => endFaults(file, [...path, end, 'cluster'], names));
  if (faults.length > 0 || (kind !== 'fan-in' && kind !== 'fan-out')) return faults;
  // The end of which there is one; the other may be many.
  const [single, many] = kind === 'fan-in' ? (['to', 'from'] as const) : (['from', 'to'] as const);
  const one = names.endAt([...path, single, 'cluster']);
  const others = names.endAt([...path, many, 'cluster']);
  if (one === undefined || others === undefined) return [];
  const several = (clusters: readonly string[]): boolean =>
    clusters.length > 1 || clusters.some((cluster) => names.isGroup(cluster));
  const at = [...path, single, 'cluster'];
  if (several(one)) {
    const message = `a ${kind} link has one ${single === 'from' ? 'source' : 'sink'}`;
    const other = kind === 'fan-in' ? 'fan-out' : 'fan-in';
    const fix = several(others) ? 'name one cluster' : `name one cluster, or make the link a ${other}`;
    return [{ path: at, on: 'value', message, fix }];
  }
  const [end] = one as [string];
  if (several(others) && end !== names.self) {
    const message = `the link ${quote(name)} has many clusters at one end and ${quote(end)} at the other`;
    const fix = `let that end be this cluster, or declare the link in the file of ${end}`;
    return [{ path: at, on: 'value', message, fix }];
  }
  if (end !== names.self && !others.includes(names.self)) {
    const message = `neither end of the link ${quote(name)} is this cluster`;
    const fix = [end, ...others].some((cluster) => names.isServed(cluster))
      ? 'leave "cluster" out at the end that is here; clusters that are served have links with this one only'
      : `leave "cluster" out at the end that is here, or declare the link in the file of ${[...new Set([others[0]!, end])].join(' or ')}`;
    return [{ path, on: 'key', message, fix }];
  }
  if (end === others[0]) return [selfFault(file, name)];
  return originFaults(file, name, kind === 'fan-in' ? [end] : others, names);
}

function selfFault(file: unknown, name: string): PathFault {
  const path = ['links', name];
  const stream = valueAt(file, [...path, 'from', 'stream']);
  const toItself = typeof stream === 'string' && stream === valueAt(file, [...path, 'to', 'stream']);
  const message = toItself
    ? `the link ${quote(name)} leads from the stream ${quote(stream)} to itself`
    : `both ends of the link ${quote(name)} are this cluster`;
  return { path, on: 'key', message, fix: 'give "cluster" at the end that is elsewhere' };
}

/** `origins` is what this cluster accepts: at a link that ends elsewhere it would be believed to be in force, and is not. */
function originFaults(file: unknown, name: string, sinks: readonly string[], names: Names): PathFault[] {
  const path = ['links', name, 'origins'];
  // For a cluster that is served, this file decides.
  const here = sinks.some((sink) => sink === names.self || names.isServed(sink));
  if (here || valueAt(file, path) === undefined) return [];
  const message = `"origins" has no effect here: the records are stored at ${sinks.join(', ')}`;
  const fix = `take it out, and put it into the grant for ${names.self} in the file of ${sinks.join(', ')}`;
  return [{ path, on: 'key', message, fix }];
}

/** What is wrong with the cluster, or list of clusters, at one end of a link. */
function endFaults(file: unknown, path: Path, names: Names): PathFault[] {
  const given = valueAt(file, path);
  if (!Array.isArray(given)) return names.faultsAt(path);
  return given.flatMap((cluster, index): PathFault[] => {
    const at = [...path, index];
    if (cluster === names.self) {
      return [{ path: at, on: 'value', message: `${quote(names.self)} is this cluster`, fix: 'name a peer here' }];
    }
    return twice(given, index, at) ?? names.faultsAt(at);
  });
}

function memberFaults(file: unknown, name: string, names: Names): PathFault[] {
  const path = ['links', name, 'between'];
  const members = valueAt(file, path);
  if (!Array.isArray(members)) return [];
  const faults = members.flatMap((member: unknown, index): PathFault[] => {
    const at = [...path, index];
    if (typeof member === 'string' && names.isGroup(member)) {
      const message = `${quote(member)} is a group; the members of a replicate link are named one by one`;
      return [{ path: at, on: 'value', message, fix: 'name the clusters, and give each an entry among the peers' }];
    }
    return twice(members, index, at) ?? names.faultsAt(at, 'cluster');
  });
  if (faults.length > 0) return faults;
  if (!members.includes(names.self)) {
    const message = `this cluster, ${quote(names.self)}, is no member of the link ${quote(name)}`;
    return [{ path, on: 'value', message, fix: `add ${names.self}, or take the link out` }];
  }
  // Members hear from each other directly: what one brought in, the link does not carry on.
  const isServed = (member: unknown): boolean => typeof member === 'string' && names.isServed(member);
  const served = members.findIndex(isServed);
  const far: unknown = members.find((member) => member !== names.self && !isServed(member));
  if (served === -1 || far === undefined) return [];
  const message = `${quote(String(members[served]))} is served by this daemon and cannot reach ${quote(String(far))}`;
  const fix = 'run a daemon there and give "dial" instead of "nats", or take one of the two out';
  return [{ path: [...path, served], on: 'value', message, fix }];
}
