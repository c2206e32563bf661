/** The topologies that are simulated: clusters with their streams, daemons, and the lanes between them. */
import { lanesOf } from '../../src/topology/lanes.ts';
import type { LanePlan, LinkPlan } from '../../src/topology/plan.ts';

export interface StreamSpec {
  readonly cluster: string;
  readonly stream: string;
  readonly subjects: readonly string[];
  /** Subject under which an application at home publishes; absent: nobody does. */
  readonly feed?: string;
  /** Its records are taken out by those who work on them. */
  readonly consumed?: true;
}

export interface World {
  readonly name: string;
  readonly streams: readonly StreamSpec[];
  readonly lanes: readonly LanePlan[];
}

function link(
  name: string,
  kind: LinkPlan['kind'],
  from: readonly [clusters: readonly string[], stream: string],
  to: readonly [clusters: readonly string[], stream: string],
  declaredBy: string,
): LanePlan[] {
  const plan: LinkPlan = {
    name,
    kind,
    from: { clusters: from[0], stream: from[1] },
    to: { clusters: to[0], stream: to[1], subject: '{subject}' },
    start: { at: 'all' },
    origins: ['*'],
  };
  return lanesOf(plan, declaredBy);
}

const source = (cluster: string, stream = 'S'): StreamSpec => ({
  cluster,
  stream,
  subjects: [`${stream}.>`],
  feed: `${stream}.x`,
});
const sink = (cluster: string, stream: string, subjects: readonly string[]): StreamSpec => ({
  cluster,
  stream,
  subjects,
});

const clusters = ['a', 'b', 'c'];

/** By name. */
export const worlds: Readonly<Record<string, World>> = Object.fromEntries(
  [
    {
      name: 'pair',
      streams: [source('a'), sink('b', 'T', ['S.>'])],
      lanes: link('l', 'fan-in', [['a'], 'S'], [['b'], 'T'], 'b'),
    },
    {
      name: 'queue',
      streams: [source('a'), source('c'), { ...sink('b', 'T', ['S.>']), consumed: true }],
      lanes: link('l', 'fan-in', [['a', 'c'], 'S'], [['b'], 'T'], 'b'),
    },
    {
      name: 'chain',
      streams: [source('a'), sink('b', 'T', ['S.>']), sink('c', 'U', ['S.>'])],
      lanes: [
        ...link('l1', 'fan-in', [['a'], 'S'], [['b'], 'T'], 'b'),
        ...link('l2', 'fan-out', [['b'], 'T'], [['c'], 'U'], 'b'),
      ],
    },
    {
      name: 'diamond',
      streams: [source('a'), sink('b', 'T', ['S.>']), sink('c', 'T', ['S.>']), sink('d', 'U', ['S.>'])],
      lanes: [
        ...link('l1', 'fan-out', [['a'], 'S'], [['b', 'c'], 'T'], 'a'),
        ...link('l2', 'fan-in', [['b', 'c'], 'T'], [['d'], 'U'], 'd'),
      ],
    },
    {
      name: 'ring',
      streams: clusters.map((cluster) => source(cluster)),
      lanes: clusters.flatMap((from, i) => {
        const to = clusters[(i + 1) % clusters.length]!;
        return link(`r${i}`, 'fan-out', [[from], 'S'], [[to], 'S'], from);
      }),
    },
    {
      name: 'mesh',
      streams: clusters.map((cluster) => source(cluster)),
      lanes: link('m', 'replicate', [clusters, 'S'], [clusters, 'S'], 'a'),
    },
    {
      name: 'hub',
      streams: [
        ...['d1', 'd2', 'd3'].flatMap((device) => [source(device), sink(device, 'C', ['O.>'])]),
        sink('hub', 'T', ['S.>']),
        source('hub', 'O'),
      ],
      lanes: [
        ...link('up', 'fan-in', [['d1', 'd2', 'd3'], 'S'], [['hub'], 'T'], 'hub'),
        ...link('down', 'fan-out', [['hub'], 'O'], [['d1', 'd2', 'd3'], 'C'], 'hub'),
      ],
    },
  ].map((world): [string, World] => [world.name, world as World]),
);
