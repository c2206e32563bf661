/** What happens in one run of the fault suite: drawn from its seed, before anything runs. */
import { Seed } from './seed.ts';

export const shapes = ['fan-in', 'fan-out', 'replicate', 'chain'] as const;
export type Shape = (typeof shapes)[number];

export interface PlannedCluster {
  readonly name: string;
  /** From 0 to 1: which of the servers that this machine has, newest first. */
  readonly version: number;
  /** 3: a cluster of servers, and its stream has three replicas. */
  readonly nodes: 1 | 3;
}

/** What is done to the stream of an application between two of its generations. */
export type Turn = 'nothing' | 'purged' | 'restored';

/** Records that an application publishes under one label. */
export interface Generation {
  readonly count: number;
  /** Its server's store is copied as soon as so many are published. */
  readonly copyAt?: number;
  /** Afterwards. */
  readonly turn: Turn;
}

export interface PlannedFeed {
  readonly cluster: string;
  readonly perSecond: number;
  readonly payloadBytes: number;
  readonly generations: readonly Generation[];
}

export const faultKinds = [
  'daemon-killed',
  'server-killed',
  'daemon-frozen',
  'server-frozen',
  'line-cut',
  'line-frozen',
  'line-slow',
  'line-torn',
  'line-half-open',
  'sink-full',
  'permission-taken',
  'sink-purged',
  'sink-restored',
  'leader-steps-down',
  'clock-jumps',
] as const;
export type FaultKind = (typeof faultKinds)[number];

export interface PlannedFault {
  readonly kind: FaultKind;
  /** Name of a cluster, or of a line: `DIALLER>DIALLED`. */
  readonly target: string;
  /** It strikes when so many records are published, of all feeds together. */
  readonly at: number;
  /** How long it lasts. */
  readonly forMs: number;
  /** From 0 to 1: whatever else there is to choose. */
  readonly choice: number;
}

export interface Schedule {
  readonly seed: number;
  readonly shape: Shape;
  readonly clusters: readonly PlannedCluster[];
  readonly feeds: readonly PlannedFeed[];
  readonly faults: readonly PlannedFault[];
}

/** Lines between clusters, dialler first. */
export function linesOf({
  shape,
  clusters,
}: Pick<Schedule, 'shape' | 'clusters'>): readonly (readonly [string, string])[] {
  const names = clusters.map(({ name }) => name);
  const [first = '', ...others] = names;
  switch (shape) {
    case 'fan-in':
    case 'fan-out':
      return others.map((name) => [name, first] as const);
    case 'replicate':
      return names.flatMap((name, index) => names.slice(0, index).map((before) => [name, before] as const));
    case 'chain':
      return others.map((name, index) => [names[index]!, name] as const);
  }
}

/** Clusters whose stream is a sink. */
export function sinksOf({ shape, clusters }: Pick<Schedule, 'shape' | 'clusters'>): readonly string[] {
  const names = clusters.map(({ name }) => name);
  if (shape === 'fan-in') return names.slice(0, 1);
  return shape === 'replicate' ? names : names.slice(1);
}

/** Those that `npm test` runs: every shape and every kind of fault. */
export const usualSeeds: readonly number[] = [2, 27, 30, 45];

/** The same for the same seed, on every machine. */
export function drawSchedule(seed: number): Schedule {
  const random = new Seed(seed);
  const shape = random.pick(shapes);
  const size = shape === 'replicate' ? random.between(2, 3) : random.between(2, 4);
  const tripled = random.next() < 0.35 ? random.between(0, size - 1) : -1;
  const clusters = ['ada', 'bob', 'cyd', 'dan'].slice(0, size).map((name, index): PlannedCluster => {
    return { name, version: random.next(), nodes: index === tripled ? 3 : 1 };
  });
  const feeds = drawFeeds(random, shape, clusters);
  return { seed, shape, clusters, feeds, faults: drawFaults(random, { shape, clusters, feeds }) };
}

function drawFeeds(random: Seed, shape: Shape, clusters: readonly PlannedCluster[]): PlannedFeed[] {
  const [first, ...others] = clusters;
  // An application that writes the sink stream as well, which makes its lanes share it.
  const also = random.next() < 0.25;
  const fed: Readonly<Record<Shape, readonly PlannedCluster[]>> = {
    'fan-in': also ? [first!, ...others] : others,
    'fan-out': also ? clusters.slice(0, 2) : [first!],
    replicate: clusters,
    chain: also ? clusters.slice(0, 2) : [first!],
  };
  const each = Math.round(random.between(1_500, 4_000) / fed[shape].length);
  return fed[shape].map(({ name, nodes }) => ({
    cluster: name,
    perSecond: random.between(300, 900),
    payloadBytes: random.pick([64, 300, 1_500]),
    generations: drawGenerations(random, each, nodes === 1),
  }));
}

function drawGenerations(random: Seed, count: number, isSingle: boolean): Generation[] {
  const turn = random.pick(['nothing', 'nothing', 'purged', 'restored'] as const);
  const share = random.between(30, 70) / 100;
  const first = Math.round(count * share);
  const copyAt = random.between(1, first - 1);
  // What one of three servers lost it gets from the others; a whole cluster that is restored is another story.
  if (turn === 'nothing' || (turn === 'restored' && !isSingle)) return [{ count, turn: 'nothing' }];
  const last: Generation = { count: count - first, turn: 'nothing' };
  return [turn === 'restored' ? { count: first, copyAt, turn } : { count: first, turn }, last];
}

function drawFaults(random: Seed, world: Omit<Schedule, 'seed' | 'faults'>): PlannedFault[] {
  const { clusters, feeds } = world;
  const names = clusters.map(({ name }) => name);
  const fed = feeds.map(({ cluster }) => cluster);
  const sinks = sinksOf(world);
  const lines = linesOf(world).map((line) => line.join('>'));
  const triple = clusters.filter(({ nodes }) => nodes === 3).map(({ name }) => name);
  // Between the generations of an application only, or it would not know what it has published.
  const unfed = sinks.filter((name) => !fed.includes(name));
  const targets: Readonly<Record<FaultKind, readonly string[]>> = {
    'daemon-killed': names,
    'server-killed': names,
    'daemon-frozen': names,
    'server-frozen': names,
    'line-cut': lines,
    'line-frozen': lines,
    'line-slow': lines,
    'line-torn': lines,
    'line-half-open': lines,
    'sink-full': sinks,
    'permission-taken': names,
    'sink-purged': unfed,
    'sink-restored': unfed.filter((name) => !triple.includes(name)),
    'leader-steps-down': triple,
    'clock-jumps': names,
  };
  const total = publishedBy(feeds);
  const faults: PlannedFault[] = [];
  const restored = new Set<string>();
  const wanted = random.between(4, 9);
  while (faults.length < wanted) {
    const kind = random.pick(faultKinds);
    if (targets[kind].length === 0) continue;
    const target = random.pick(targets[kind]);
    if (kind === 'sink-restored') {
      if (restored.has(target)) continue;
      restored.add(target);
    }
    faults.push({
      kind,
      target,
      at: random.between(1, Math.floor(total * 0.95)),
      forMs: random.pick([20, 300, 300, 1_500, 3_500]),
      choice: random.next(),
    });
  }
  return faults.sort((a, b) => a.at - b.at);
}

export function publishedBy(feeds: readonly PlannedFeed[]): number {
  return feeds.flatMap(({ generations }) => generations).reduce((sum, { count }) => sum + count, 0);
}

/** A schedule in words, a line each. */
export function describeSchedule({ seed, shape, clusters, feeds, faults }: Schedule): string {
  const servers = ({ name, nodes, version }: PlannedCluster) =>
    `${name}${nodes === 3 ? ' R3' : ''} ${version.toFixed(2)}`;
  const generation = ({ count, copyAt, turn }: Generation) =>
    `${count}${copyAt === undefined ? '' : ` (copied at ${copyAt})`}${turn === 'nothing' ? '' : `, ${turn}`}`;
  return [
    `seed ${seed}: ${shape} of ${clusters.map(servers).join(', ')}`,
    ...feeds.map(
      ({ cluster, perSecond, payloadBytes, generations }) =>
        `${cluster} publishes ${generations.map(generation).join(', then ')}: ${payloadBytes} B, ${perSecond}/s`,
    ),
    ...faults.map(
      ({ kind, target, at, forMs, choice }) => `at ${at}: ${kind} ${target}, ${forMs} ms, ${choice.toFixed(2)}`,
    ),
  ].join('\n');
}
