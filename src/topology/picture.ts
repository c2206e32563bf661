import type { Graph, GraphConnection, GraphEdge, GraphNode } from './graph.ts';
import type { LinkKind } from './plan.ts';
import { formatProblem, type Problem } from './problem.ts';
import { identityTemplate } from './subjects.ts';

/**
 * What all pictures have in common: which boxes there are, what is written in them, and which lines join them. A link is a box of its own
 * between its sources and its sinks, so that one with forty sources is named once. The drawing languages only translate this.
 */
export interface Picture {
  readonly title: string;
  readonly nodes: readonly NodeBox[];
  readonly links: readonly LinkBox[];
  /** Each leads from left to right. */
  readonly lines: readonly Line[];
  readonly problems: readonly Problem[];
}

export interface NodeBox {
  readonly id: string;
  readonly name: string;
  readonly type: GraphNode['type'];
  /** Little is known of it: no file was given. */
  readonly dashed: boolean;
  /** Below the name. */
  readonly notes: readonly string[];
  readonly streams: readonly string[];
  /** Clusters that this one dials; said in words where no mark can be drawn. */
  readonly dials: readonly string[];
  /** Indices of problems. */
  readonly problems: readonly number[];
}

export interface LinkBox {
  readonly id: string;
  readonly name: string;
  readonly kind: LinkKind;
  /** What it does to subjects; absent if nothing. */
  readonly mapping?: string;
  /** Everything in words. */
  readonly about: string;
  readonly problems: readonly number[];
}

export interface Line {
  readonly id: string;
  readonly left: LineEnd;
  readonly right: LineEnd;
  /** Without one it is a connection that no link uses. */
  readonly kind?: LinkKind;
  readonly about: string;
  readonly problems: readonly number[];
}

export interface LineEnd {
  /** Id of a box. */
  readonly box: string;
  /** Index of the stream in the box. */
  readonly stream?: number;
  /** Records arrive here. */
  readonly arrow: boolean;
  /** This end dials. */
  readonly dials: boolean;
}

/** Members of a `replicate` beyond which each pair is not drawn by itself: the lines would be a ball of wool. */
const maxPairwise = 3;

export function pictureOf(graph: Graph, title?: string): Picture {
  const links = bundles(graph.edges);
  const { lines, boxes } = new Lines(graph, links);
  return {
    title: title ?? defaultTitle(graph),
    nodes: graph.nodes.map((node) => nodeBox(node, graph.connections)),
    links: boxes,
    lines,
    problems: graph.problems,
  };
}

/** Edges that are drawn through one box. */
type Bundle = readonly [GraphEdge, ...GraphEdge[]];

function bundles(edges: readonly GraphEdge[]): Bundle[] {
  const found = new Map<string, [GraphEdge, ...GraphEdge[]]>();
  for (const edge of edges) {
    const { link, kind, fromStream, toStream, subject, declaredBy, bothWays } = edge;
    const key = JSON.stringify([link, kind, fromStream, toStream, subject, bothWays || declaredBy]);
    const bundle = found.get(key);
    if (bundle === undefined) found.set(key, [edge]);
    else bundle.push(edge);
  }
  return [...found.values()].flatMap((bundle): Bundle[] => {
    const members = new Set(bundle.flatMap(({ from, to }) => [from, to]));
    return bundle[0].bothWays && members.size <= maxPairwise ? bundle.map((edge): Bundle => [edge]) : [bundle];
  });
}

class Lines {
  readonly boxes: LinkBox[] = [];
  readonly lines: Line[] = [];
  readonly #graph: Graph;
  /** Which nodes are to the right of which, as far as it is settled. */
  readonly #right = new Map<string, Set<string>>();

  constructor(graph: Graph, links: readonly Bundle[]) {
    this.#graph = graph;
    const order: readonly LinkKind[] = ['fan-in', 'fan-out', 'replicate'];
    for (const kind of order) for (const bundle of links) if (bundle[0].kind === kind) this.#addLink(bundle);
    for (const connection of graph.connections) this.#addConnection(connection);
  }

  #addLink(bundle: Bundle): void {
    const [edge] = bundle;
    const id = `link ${this.boxes.length}`;
    const { link: name, kind, subject } = edge;
    const mapping = subject === identityTemplate ? {} : { mapping: subject };
    const problems = [...new Set(bundle.flatMap((one) => one.problems))].sort((a, b) => a - b);
    this.boxes.push({ id, name, kind, ...mapping, about: aboutLink(edge), problems });
    const [left, right] = this.#sides(bundle);
    for (const [node, side] of [
      ...left.map((one) => [one, 'left'] as const),
      ...right.map((one) => [one, 'right'] as const),
    ])
      this.#addHalf(node, side, id, bundle);
  }

  /** The nodes to the left and to the right of a link's box: sources left, unless that would lead in a circle. */
  #sides(bundle: Bundle): [string[], string[]] {
    const unique = (names: readonly string[]): string[] => [...new Set(names)];
    let left = unique(bundle.map(({ from }) => from));
    let right = unique(bundle.map(({ to }) => to));
    if (bundle[0].bothWays && bundle.length > 1) {
      const members = unique([...left, ...right]).sort();
      left = members.filter((_, i) => i % 2 === 0);
      right = members.filter((_, i) => i % 2 === 1);
    }
    if (left.some((one) => right.some((other) => this.#isRightOf(one, other)))) [left, right] = [right, left];
    // A node on both sides of one link, as in a link among a list of clusters, stays on the left.
    right = right.filter((one) => !left.includes(one));
    for (const one of left) for (const other of right) this.#settle(one, other);
    return [left, right];
  }

  #addHalf(node: string, side: 'left' | 'right', link: string, bundle: Bundle): void {
    const [{ kind, bothWays, fromStream, toStream }] = bundle;
    const through = bundle.filter(({ from, to }) => from === node || to === node);
    const others = through.map(({ from, to }) => (from === node ? to : from));
    const arrives = bothWays || through.some(({ to }) => to === node);
    const dials = others.some((other) => this.#diallerOf(node, other) === node);
    const problems = through.every((edge) => edge.problems.length > 0) ? through.flatMap((edge) => edge.problems) : [];
    const stream = this.#graph.nodes.find(({ id }) => id === node)?.streams.indexOf(arrives ? toStream : fromStream);
    const atNode: LineEnd = { box: node, arrow: arrives, dials, ...(stream === undefined ? {} : { stream }) };
    const atLink: LineEnd = { box: link, arrow: false, dials: false };
    this.lines.push({
      id: `line ${this.lines.length}`,
      ...(side === 'left' ? { left: atNode, right: atLink } : { left: atLink, right: atNode }),
      kind,
      about: through.map(({ from, to }) => `${from} ${bothWays ? 'and' : 'to'} ${to}`).join(', '),
      problems: [...new Set(problems)],
    });
  }

  #addConnection({ between, dialler, inProcess, problems }: GraphConnection): void {
    const [a, b] = between;
    const carries = this.#graph.edges.some(({ from, to }) => between.includes(from) && between.includes(to));
    if (carries && problems.length === 0) return;
    const [first, second] = dialler === b ? [b, a] : [a, b];
    const [left, right] = this.#isRightOf(first, second) ? [second, first] : [first, second];
    this.#settle(left, right);
    const end = (box: string): LineEnd => ({ box, arrow: false, dials: dialler === box });
    const how = inProcess ? 'one daemon serves both' : dialler === undefined ? 'neither dials' : `${dialler} dials`;
    const about = `${a} and ${b}: ${how}`;
    this.lines.push({ id: `line ${this.lines.length}`, left: end(left), right: end(right), about, problems });
  }

  #diallerOf(a: string, b: string): string | undefined {
    return this.#graph.connections.find(({ between }) => between.includes(a) && between.includes(b))?.dialler;
  }

  #settle(left: string, right: string): void {
    this.#right.set(left, (this.#right.get(left) ?? new Set()).add(right));
  }

  #isRightOf(node: string, other: string): boolean {
    const reached = new Set([other]);
    for (const one of reached) for (const next of this.#right.get(one) ?? []) reached.add(next);
    return node !== other && reached.has(node);
  }
}

function nodeBox(node: GraphNode, connections: readonly GraphConnection[]): NodeBox {
  const { id, name, type, described, servedBy, streams, problems } = node;
  const dials = connections.flatMap(({ between: [a, b], dialler }) => (dialler === id ? [a === id ? b : a] : []));
  const dashed = !described && type === 'cluster' && servedBy === undefined;
  return { id, name, type, dashed, notes: notesOf(node), streams, dials, problems };
}

function notesOf({ group, described, listen, embedded, servedBy }: GraphNode): string[] {
  const notes: string[] = [];
  if (group !== undefined) {
    const { match, except, expect } = group;
    const expected = typeof expect === 'number' ? expect : expect?.length;
    notes.push(expected === undefined ? match : `${match} · ${expected} expected`);
    if (except.length > 0) notes.push(`except ${shortList(except)}`);
  }
  if (servedBy !== undefined) notes.push(`served by the daemon of ${servedBy}`);
  else if (!described && group === undefined) notes.push('no file given');
  if (listen !== undefined) notes.push(`listens on ${listen.replace(/^(0\.0\.0\.0|\[::\])(?=:)/, '')}`);
  if (embedded) notes.push('embedded server');
  return notes;
}

function shortList(names: readonly string[]): string {
  return names.length <= 3 ? names.join(', ') : `${names.slice(0, 2).join(', ')} and ${names.length - 2} more`;
}

function aboutLink({ link, kind, fromStream, toStream, subject, declaredBy, bothWays }: GraphEdge): string {
  const streams = bothWays ? fromStream : `${fromStream} into ${toStream}`;
  const mapped = subject === identityTemplate ? '' : ` as ${subject}`;
  return `${link}: ${kind} of ${streams}${mapped}, declared by ${declaredBy.join(', ')}`;
}

function defaultTitle({ nodes, edges }: Graph): string {
  const names = nodes.map(({ name }) => name);
  const last = names.at(-1);
  if (last === undefined) return 'No clusters';
  if (names.length === 1) return last;
  if (names.length <= 4) return `${names.slice(0, -1).join(', ')} and ${last}`;
  const links = new Set(edges.map(({ link }) => link)).size;
  const groups = nodes.filter(({ type }) => type === 'group').length;
  return [count(names.length - groups, 'cluster'), count(groups, 'group'), count(links, 'link')]
    .filter((part) => !part.startsWith('0 '))
    .join(', ');
}

function count(number: number, what: string): string {
  return `${number} ${what}${number === 1 ? '' : 's'}`;
}

/** Problems as lines of text, numbered as in the picture. */
export function problemTexts(picture: Picture, indices: readonly number[]): string[] {
  return indices.map((index) => `${index + 1}: ${formatProblem(picture.problems[index]!)}`);
}

/** The worst of some problems. */
export function severityOf({ problems }: Picture, indices: readonly number[]): Problem['severity'] {
  return indices.some((index) => problems[index]?.severity === 'error') ? 'error' : 'warning';
}
