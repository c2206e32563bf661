import { endpointText } from './endpoint.ts';
import { type Subject, subjectsOf } from './graph-problems.ts';
import { groupOf } from './groups.ts';
import type { GroupPlan, LinkKind, LinkPlan, Plan } from './plan.ts';
import type { Problem } from './problem.ts';

/**
 * Several topology files as one graph, to be looked at: what `causeway graph --format json` prints and what the other formats draw.
 * Everything is sorted, so that the same files give the same graph in whatever order they are named.
 */
export interface Graph {
  /** Of this shape; grows when something in it changes its meaning or goes. */
  readonly version: 1;
  readonly nodes: readonly GraphNode[];
  /** One for each lane; one for both directions of `replicate`. */
  readonly edges: readonly GraphEdge[];
  /** Which clusters talk to each other, and who dials. */
  readonly connections: readonly GraphConnection[];
  readonly problems: readonly Problem[];
}

interface Marked {
  /** Indices in `problems`. */
  readonly problems: readonly number[];
}

/** A cluster, or a group of them. */
export interface GraphNode extends Marked {
  /** The name; OWNER/NAME for a group whose name means several things. */
  readonly id: string;
  readonly type: 'cluster' | 'group';
  readonly name: string;
  /** False if none of the files is of it. */
  readonly described: boolean;
  /** host:port */
  readonly listen?: string;
  readonly embedded: boolean;
  /** The cluster whose daemon serves this one, too. */
  readonly servedBy?: string;
  /** Streams that lanes lead from or to. */
  readonly streams: readonly string[];
  readonly group?: {
    readonly match: string;
    readonly except: readonly string[];
    readonly expect?: number | readonly string[];
    /** Clusters of the group whose files are among those given. */
    readonly members: readonly string[];
  };
}

export interface GraphEdge extends Marked {
  /** link/from/to */
  readonly id: string;
  readonly link: string;
  readonly kind: LinkKind;
  /** Ids of nodes. */
  readonly from: string;
  readonly to: string;
  /** Of `replicate`: the records go the other way, too. */
  readonly bothWays: boolean;
  readonly fromStream: string;
  readonly toStream: string;
  /** Subject template. */
  readonly subject: string;
  /** Nodes whose files declare the link. */
  readonly declaredBy: readonly string[];
}

export interface GraphConnection extends Marked {
  /** Ids of nodes, in order. */
  readonly between: readonly [string, string];
  /** The node that dials; absent if neither does, or one daemon serves both. */
  readonly dialler?: string;
  /** One daemon serves both. */
  readonly inProcess: boolean;
}

/** The graph of some files, and of what was found wrong with them. */
export function graphOf(files: readonly Plan[], problems: readonly Problem[] = []): Graph {
  return new Builder(files, problems).graph();
}

/** The same, while it is put together: lists can grow. */
type Draft<T> = {
  -readonly [K in keyof T]: T[K] extends readonly (infer U)[] ? (number extends T[K]['length'] ? U[] : T[K]) : T[K];
};

class Builder {
  readonly #plans: readonly Plan[];
  readonly #problems: readonly Problem[];
  /** What each problem is about. */
  readonly #subjects: readonly (Subject | undefined)[];
  readonly #nodes = new Map<string, Draft<GraphNode>>();
  readonly #edges = new Map<string, Draft<GraphEdge>>();
  readonly #connections = new Map<string, Draft<GraphConnection>>();
  /** Nodes of groups, by owner and name. Files that mean the same by a name share one. */
  readonly #groups = new Map<string, string>();
  /** Clusters that are drawn as the group that they belong to. */
  readonly #members = new Map<string, string>();

  constructor(files: readonly Plan[], problems: readonly Problem[]) {
    const first = new Map<string, Plan>();
    for (const plan of files) if (!first.has(plan.cluster)) first.set(plan.cluster, plan);
    this.#plans = [...first.values()].sort((a, b) => compare(a.cluster, b.cluster));
    this.#problems = problems;
    this.#subjects = subjectsOf(files, problems);
  }

  graph(): Graph {
    this.#addGroups();
    for (const plan of this.#plans) this.#addCluster(plan);
    for (const plan of this.#plans) this.#addPeers(plan);
    for (const plan of this.#plans) for (const link of plan.links) this.#addLink(plan, link);
    for (const [index, subject] of this.#subjects.entries()) {
      if (subject?.on === 'cluster') mark(this.#nodes.get(this.#nodeOf(subject.cluster)), index);
    }
    const nodes = [...this.#nodes.values()].sort((a, b) => compare(a.id, b.id));
    for (const node of nodes) node.streams.sort(compare);
    return {
      version: 1,
      nodes,
      edges: [...this.#edges.values()].sort(
        (a, b) => compare(a.id, b.id) || compare(a.declaredBy[0]!, b.declaredBy[0]!),
      ),
      connections: [...this.#connections.values()].sort((a, b) => compare(a.between.join(), b.between.join())),
      problems: this.#problems,
    };
  }

  #addGroups(): void {
    const meanings = new Map<string, Set<string>>();
    const names = new Set(this.#plans.flatMap(({ cluster, peers }) => [cluster, ...peers.map((peer) => peer.cluster)]));
    for (const { groups } of this.#plans) {
      for (const group of groups) meanings.set(group.name, (meanings.get(group.name) ?? new Set()).add(meaning(group)));
    }
    for (const plan of this.#plans) {
      for (const group of plan.groups) {
        const { name, match, except, expect } = group;
        const plain = meanings.get(name)?.size === 1 && !names.has(name);
        const id = plain ? name : `${plan.cluster}/${name}`;
        this.#groups.set(`${plan.cluster}/${name}`, id);
        if (this.#nodes.has(id)) continue;
        const about = { match, except, ...(expect === undefined ? {} : { expect }), members: [] };
        this.#nodes.set(id, { id, type: 'group', name, ...unknown, streams: [], problems: [], group: about });
      }
    }
    for (const plan of this.#plans) {
      const node = this.#sharedNode(plan);
      if (node !== undefined) this.#members.set(plan.cluster, node);
    }
  }

  /** The group that stands for a cluster: one that belongs to a single group and has no other peers than its owners. */
  #sharedNode({ cluster, peers, groups }: Plan): string | undefined {
    if (groups.length > 0) return undefined;
    const owners = new Set<string>();
    const nodes = new Set<string>();
    for (const other of this.#plans) {
      if (other.cluster === cluster) continue;
      if (other.peers.some((peer) => peer.cluster === cluster)) return undefined;
      const group = groupOf(other, cluster);
      if (group === undefined) continue;
      owners.add(other.cluster);
      nodes.add(this.#groups.get(`${other.cluster}/${group.name}`) ?? group.name);
    }
    const [node] = nodes;
    return nodes.size === 1 && peers.every((peer) => owners.has(peer.cluster)) ? node : undefined;
  }

  /** The node of a cluster. */
  #nodeOf(cluster: string): string {
    return this.#members.get(cluster) ?? cluster;
  }

  /** The nodes that a name in a file means: of a group also those of members that have one of their own. */
  #nodesOf(plan: Plan, name: string): string[] {
    const group = plan.groups.find((one) => one.name === name);
    if (group === undefined) return [this.#nodeOf(name)];
    const own = this.#plans
      .map(({ cluster }) => cluster)
      .filter((one) => one !== plan.cluster && !this.#members.has(one) && groupOf(plan, one) === group);
    return [this.#groups.get(`${plan.cluster}/${name}`) ?? name, ...own];
  }

  #cluster(name: string): Draft<GraphNode> {
    const id = this.#nodeOf(name);
    const found = this.#nodes.get(id);
    if (found !== undefined) return found;
    const made: Draft<GraphNode> = { id, type: 'cluster', name, ...unknown, streams: [], problems: [] };
    this.#nodes.set(id, made);
    return made;
  }

  #addCluster({ cluster, listen, nats }: Plan): void {
    const node = this.#cluster(cluster);
    node.described = true;
    node.embedded ||= nats.embedded !== undefined;
    if (listen !== undefined) node.listen ??= endpointText(listen);
    if (node.group === undefined) return;
    const { members, ...rest } = node.group;
    node.group = { ...rest, members: [...members, cluster] };
  }

  #addPeers(plan: Plan): void {
    const self = this.#nodeOf(plan.cluster);
    for (const { cluster, dial, nats } of plan.peers) {
      const node = this.#cluster(cluster);
      const other = this.#plans.find((one) => one.cluster === cluster);
      if (nats !== undefined) node.servedBy = plan.cluster;
      const theyDial = other?.peers.some((peer) => peer.cluster === plan.cluster && peer.dial.length > 0);
      // Who is known by a group dials; of a file that was not given we know that we do not.
      const back = theyDial ?? dial.length === 0;
      const weDial = dial.length > 0 && !(back && cluster < plan.cluster);
      const inProcess = nats !== undefined;
      const dialler = inProcess ? undefined : weDial ? self : back ? node.id : undefined;
      this.#connect(self, node.id, inProcess, dialler, this.#problemsOf(plan, 'peer', cluster));
    }
    for (const { name } of plan.groups) {
      const problems = this.#problemsOf(plan, 'peer', name);
      for (const node of this.#nodesOf(plan, name)) this.#connect(self, node, false, node, problems);
    }
  }

  #connect(a: string, b: string, inProcess: boolean, dialler: string | undefined, problems: readonly number[]): void {
    if (a === b) return;
    const between: [string, string] = a < b ? [a, b] : [b, a];
    const key = between.join('\n');
    const known = this.#connections.get(key);
    const made: Draft<GraphConnection> = known ?? { between, inProcess, problems: [] };
    if (dialler !== undefined) made.dialler ??= dialler;
    made.inProcess ||= inProcess;
    for (const index of problems) mark(made, index);
    this.#connections.set(key, made);
  }

  #addLink(plan: Plan, link: LinkPlan): void {
    const { name, kind, from, to } = link;
    const declarer = this.#nodeOf(plan.cluster);
    const bothWays = kind === 'replicate';
    const edges: Draft<GraphEdge>[] = [];
    for (const source of this.#ends(plan, from.clusters)) {
      for (const sink of this.#ends(plan, to.clusters)) {
        if (source === sink || (bothWays && source > sink)) continue;
        const id = `${name}/${source}/${sink}`;
        const key = [id, kind, from.stream, to.stream, to.subject, ...(bothWays ? [] : [declarer])].join('\n');
        const ends = { from: source, to: sink, bothWays, fromStream: from.stream, toStream: to.stream };
        const made: Draft<GraphEdge> = {
          id,
          link: name,
          kind,
          ...ends,
          subject: to.subject,
          declaredBy: [],
          problems: [],
        };
        const edge = this.#edges.get(key) ?? made;
        if (!edge.declaredBy.includes(declarer)) edge.declaredBy.push(declarer);
        this.#edges.set(key, edge);
        edges.push(edge);
        this.#stream(source, from.stream);
        this.#stream(sink, to.stream);
      }
    }
    for (const index of this.#problemsOf(plan, 'link', name)) {
      // One that names lanes is about these, any other about the whole link.
      const { message } = this.#problems[index]!;
      const words = new Set(message.split(/[\s:;,"]+/));
      const named = edges.filter(
        ({ id, from: a, to: b }) => words.has(id) || (bothWays && words.has(`${name}/${b}/${a}`)),
      );
      for (const edge of named.length > 0 ? named : edges) mark(edge, index);
    }
  }

  #ends(plan: Plan, names: readonly string[]): Set<string> {
    return new Set(names.flatMap((name) => this.#nodesOf(plan, name)));
  }

  #stream(id: string, stream: string): void {
    const { streams } = this.#nodes.get(id) ?? this.#cluster(id);
    if (!streams.includes(stream)) streams.push(stream);
  }

  #problemsOf(plan: Plan, on: 'peer' | 'link', name: string): number[] {
    return [...this.#subjects.entries()].flatMap(([index, subject]) =>
      subject?.on === on && subject.cluster === plan.cluster && subject.name === name ? [index] : [],
    );
  }
}

const unknown = { described: false, embedded: false } as const;

function meaning({ match, except, expect }: GroupPlan): string {
  return JSON.stringify([match, except.toSorted(), expect ?? null]);
}

function mark(marked: { problems: number[] } | undefined, index: number): void {
  if (marked !== undefined && !marked.problems.includes(index)) marked.problems.push(index);
}

/** By code units: a locale would make the order depend on the machine. */
export function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
