import { describe, expect, it } from 'vitest';
import { checkGraph } from './check.ts';
import { compile } from './compile.ts';
import { parseTopologyDocument } from './document.ts';
import { graphOf } from './graph.ts';
import type { Plan } from './plan.ts';
import { rememberPositions } from './positions.ts';

/** A Plan of a file; `body` starts in line 6. */
function file(cluster: string, body: string): Plan {
  const head = `version: 1\ncluster: ${cluster}\ntrustDomain: acme\ntls: { cert: a, key: b, ca: c }\nmonitor: 127.0.0.1:0\n`;
  const nats = /^nats:/m.test(body) ? '' : 'nats: { servers: [nats://n] }\n';
  const parsed = parseTopologyDocument(`${head}${body}${nats}`);
  if (!parsed.ok) throw new Error(JSON.stringify(parsed.faults));
  const compiled = compile(parsed.document.value, `/x/${cluster}.yaml`, 'hash');
  if (!compiled.ok) throw new Error(JSON.stringify(compiled.faults));
  rememberPositions(compiled.plan, `${cluster}.yaml`, parsed.document);
  return compiled.plan;
}

const hub = file(
  'hub',
  `listen: 0.0.0.0:7443
peers: { plant-a: {}, plant-b: {} }
links:
  telemetry: { kind: fan-in, from: { cluster: [plant-a, plant-b], stream: T }, to: { stream: FLEET, subject: "f.{subject}" } }
`,
);
const plantA = file('plant-a', 'peers: { hub: { dial: ["hub:1"] } }\nnats: { embedded: { store: d } }\n');

describe('graphOf', () => {
  it('has clusters, lanes and who dials', () => {
    const { nodes, edges, connections } = graphOf([hub, plantA]);
    expect(
      nodes.map(({ id, described, embedded, listen, streams }) => [id, described, embedded, listen, streams]),
    ).toEqual([
      ['hub', true, false, '0.0.0.0:7443', ['FLEET']],
      ['plant-a', true, true, undefined, ['T']],
      ['plant-b', false, false, undefined, ['T']],
    ]);
    expect(edges.map(({ id }) => id)).toEqual(['telemetry/plant-a/hub', 'telemetry/plant-b/hub']);
    expect(edges[0]).toEqual({
      ...{
        id: 'telemetry/plant-a/hub',
        link: 'telemetry',
        kind: 'fan-in',
        from: 'plant-a',
        to: 'hub',
        bothWays: false,
      },
      ...{ fromStream: 'T', toStream: 'FLEET', subject: 'f.{subject}', declaredBy: ['hub'], problems: [] },
    });
    expect(connections.map(({ between, dialler }) => [...between, dialler])).toEqual([
      ['hub', 'plant-a', 'plant-a'],
      ['hub', 'plant-b', 'plant-b'],
    ]);
  });

  it('does not depend on the order of the files', () => {
    expect(graphOf([plantA, hub])).toEqual(graphOf([hub, plantA]));
  });

  it('knows who dials: the lower name if both could, nobody if neither does', () => {
    const dialler = (a: string, b: string): string | undefined => {
      const ends = [file('a', `listen: h:1\npeers: { b: ${a} }\n`), file('b', `listen: h:1\npeers: { a: ${b} }\n`)];
      return graphOf(ends).connections[0]?.dialler;
    };
    const dial = '{ dial: ["x:1"] }';
    expect([dialler(dial, dial), dialler(dial, '{}'), dialler('{}', dial), dialler('{}', '{}')]).toEqual([
      'a',
      'a',
      'b',
      undefined,
    ]);
  });

  it('has one edge for both directions of a replicate, whoever declares it', () => {
    const member = (name: string, others: readonly string[]): Plan =>
      file(
        name,
        `listen: h:1\npeers: { ${others.map((other) => `${other}: { dial: ["x:1"] }`).join(', ')} }
links: { orders: { kind: replicate, between: [a, b, c], stream: O, start: all } }\n`,
      );
    const { edges } = graphOf([member('a', ['b', 'c']), member('b', ['a', 'c']), member('c', ['a', 'b'])]);
    expect(edges.map(({ id, bothWays, declaredBy }) => [id, bothWays, declaredBy])).toEqual([
      ['orders/a/b', true, ['a', 'b', 'c']],
      ['orders/a/c', true, ['a', 'b', 'c']],
      ['orders/b/c', true, ['a', 'b', 'c']],
    ]);
  });

  it('says of a peer that one daemon serves both', () => {
    const { nodes, connections } = graphOf([file('here', 'peers: { there: { nats: { servers: ["nats://t"] } } }\n')]);
    expect(nodes.find(({ id }) => id === 'there')?.servedBy).toBe('here');
    expect(connections).toEqual([{ between: ['here', 'there'], inProcess: true, problems: [] }]);
  });
});

describe('groups', () => {
  const owner = (name: string, more = '', peers = ''): Plan =>
    file(
      name,
      `listen: h:1\npeers: { edges: { match: "edge-*", except: [edge-13], expect: 40 }${peers} }
links: { t: { kind: fan-in, from: { cluster: edges, stream: T }, to: { stream: F } } }\n${more}`,
    );
  const edge = (name: string, peers = 'hub: { dial: ["h:1"] }'): Plan =>
    file(name, `listen: h:1\npeers: { ${peers} }\n`);

  it('is one node, which its members are part of', () => {
    const { nodes, edges, connections } = graphOf([owner('hub'), edge('edge-7')]);
    expect(nodes.map(({ id, type, described }) => [id, type, described])).toEqual([
      ['edges', 'group', true],
      ['hub', 'cluster', true],
    ]);
    expect(nodes[0]?.group).toEqual({ match: 'edge-*', except: ['edge-13'], expect: 40, members: ['edge-7'] });
    expect(edges.map(({ id }) => id)).toEqual(['t/edges/hub']);
    expect(connections).toEqual([{ between: ['edges', 'hub'], dialler: 'edges', inProcess: false, problems: [] }]);
  });

  it.each([
    ['is excepted from the group', 'edge-13', 'hub: { dial: ["h:1"] }'],
    ['has other peers', 'edge-7', 'hub: { dial: ["h:1"] }, sub: {}'],
  ])('leaves a node of its own to a cluster that %s', (_, name, peers) => {
    const { nodes, edges } = graphOf([owner('hub'), edge(name, peers)]);
    expect(nodes.map(({ id }) => id)).toContain(name);
    // Without being in the group it has no lane.
    expect(edges.some(({ from }) => from === name)).toBe(name === 'edge-7');
  });

  it('is one node for all who mean the same by it, and two where they do not', () => {
    expect(graphOf([owner('hub-a'), owner('hub-b')]).nodes.map(({ id }) => id)).toEqual(['edges', 'hub-a', 'hub-b']);
    const other = file('hub-b', 'listen: h:1\npeers: { edges: { match: "box-*" } }\n');
    expect(graphOf([owner('hub-a'), other]).nodes.map(({ id }) => id)).toEqual([
      'hub-a',
      'hub-a/edges',
      'hub-b',
      'hub-b/edges',
    ]);
  });
});

describe('problems', () => {
  it('stand at the lane they name, at the peer, or at the cluster', () => {
    const granting = file(
      'plant-a',
      'peers: { hub: { dial: ["hub:1"] } }\ngrants: [{ to: hub, read: { stream: T } }]\n',
    );
    const silent = file('plant-b', 'peers: { hub: { dial: ["hub:1"] } }\n');
    const plans = [hub, granting, silent];
    const { edges, nodes, problems } = graphOf(plans, checkGraph(plans));
    expect(problems.map(({ message }) => message)).toEqual([expect.stringContaining('telemetry/plant-b/hub')]);
    expect(edges.map((one) => one.problems)).toEqual([[], [0]]);
    expect(nodes.every((one) => one.problems.length === 0)).toBe(true);

    const at = (plan: Plan, line: number, message = 'wrong') =>
      ({ severity: 'error', file: `${plan.cluster}.yaml`, line, column: 3, message, fix: 'mend it' }) as const;
    const marked = graphOf(
      [hub, granting],
      [at(hub, 9), at(hub, 7), at(hub, 3), { ...at(granting, 1), file: 'gone.yaml' }],
    );
    expect(marked.edges.map((one) => one.problems)).toEqual([[0], [0]]);
    expect(marked.nodes.map((one) => one.problems)).toEqual([[1, 2], [], []]);
  });

  it('of a peering stand at the connection', () => {
    const deaf = file('plant-a', 'listen: h:1\npeers: { hub: {} }\ngrants: [{ to: hub, read: { stream: T } }]\n');
    const plans = [hub, deaf];
    const { connections, problems } = graphOf(plans, checkGraph(plans));
    expect(problems.map(({ message }) => message)).toEqual(['neither "hub" nor "plant-a" dials the other']);
    expect(connections.map((one) => one.problems)).toEqual([[0], []]);
  });
});
