import type { Plan } from './plan.ts';
import { fileOf, problemAt } from './positions.ts';
import type { Path, Problem } from './problem.ts';

/** What in a file a problem is about: a link, a peer or group, or the cluster as a whole. */
export interface Subject {
  readonly on: 'link' | 'peer' | 'cluster';
  /** The cluster whose file it is. */
  readonly cluster: string;
  /** Of the link, peer or group. */
  readonly name?: string;
}

interface Anchor extends Subject {
  readonly line: number;
  readonly column: number;
}

/** For each problem, what it is about; undefined if it is in a file that could not be used. */
export function subjectsOf(plans: readonly Plan[], problems: readonly Problem[]): (Subject | undefined)[] {
  const files = new Map(plans.map((plan) => [fileOf(plan), { plan, anchors: anchorsOf(plan) }]));
  return problems.map(({ file, line, column = 1 }) => {
    const found = files.get(file);
    if (found === undefined) return undefined;
    const { plan, anchors } = found;
    // The last thing that begins at or before the place is what the place is in.
    const anchor =
      line === undefined
        ? undefined
        : anchors.findLast((one) => one.line < line || (one.line === line && one.column <= column));
    return anchor ?? { on: 'cluster', cluster: plan.cluster };
  });
}

/** Where the parts of a file begin, in reading order. */
function anchorsOf(plan: Plan): Anchor[] {
  const { cluster, peers, groups, links } = plan;
  const whole = [
    'cluster',
    'trustDomain',
    'tls',
    'nats',
    'listen',
    'monitor',
    'admin',
    'memory',
    'standby',
    'peers',
    'links',
    'grants',
  ];
  const parts: (Subject & { readonly path: Path })[] = [
    ...whole.map((key) => ({ on: 'cluster', cluster, path: [key] }) as const),
    ...[...peers.map((peer) => peer.cluster), ...groups.map((group) => group.name)].map(
      (name) => ({ on: 'peer', cluster, name, path: ['peers', name] }) as const,
    ),
    ...links.map(({ name }) => ({ on: 'link', cluster, name, path: ['links', name] }) as const),
  ];
  const anchors = parts.flatMap(({ path, ...subject }): Anchor[] => {
    const { line, column = 1 } = problemAt(plan, path, { message: '', fix: '' });
    return line === undefined ? [] : [{ ...subject, line, column }];
  });
  return anchors.sort((a, b) => a.line - b.line || a.column - b.column);
}
