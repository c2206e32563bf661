import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { checkGraph } from './check.ts';
import { loadTopology } from './load.ts';
import type { Plan } from './plan.ts';
import { formatProblem } from './problem.ts';

let folder = '';
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'causeway-lanes-'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Writes and loads CLUSTER.yaml; `body` starts in line 6. Everyone listens. */
function file(cluster: string, body: string): Plan {
  const path = join(folder, `${cluster}.yaml`);
  const head = `version: 1\ncluster: ${cluster}\ntrustDomain: acme\ntls: { cert: a, key: b, ca: c }\nnats: { servers: [nats://n] }\n`;
  writeFileSync(path, `${head}${body.includes('listen:') ? '' : 'listen: 0.0.0.0:7443\n'}${body}\n`);
  const loaded = loadTopology(path);
  if (!loaded.ok) throw new Error(loaded.problems.map(formatProblem).join('\n'));
  return loaded.plan;
}

/** What the files say together. */
function graph(...plans: readonly Plan[]): string[] {
  return checkGraph(plans).map((problem) => formatProblem(problem).replaceAll(`${folder}/`, ''));
}

const dial = (...names: readonly string[]): string =>
  `peers: { ${names.map((name) => `${name}: { dial: ["${name}:1"] }`).join(', ')} }\n`;

describe('replicate', () => {
  const orders = (...names: readonly string[]): string =>
    `links:\n  orders: { kind: replicate, between: [${names.join(', ')}], stream: ORDERS, start: all }`;
  const all = ['a', 'b', 'c'];
  const others = (self: string): string[] => all.filter((name) => name !== self);
  const member = (self: string, body = orders(...all)): Plan => file(self, dial(...others(self)) + body);

  it('is fine when all members declare it alike, in whatever order', () => {
    expect(graph(member('a'), member('b', orders('c', 'b', 'a')), member('c'))).toEqual([]);
    expect(graph(member('a'), member('b'))).toEqual([]);
  });

  it('that one member leaves out', () => {
    expect(graph(member('a'), member('b'), member('c', ''))).toEqual([
      'a.yaml:9:3: c.yaml does not declare the replicate link "orders", of which "c" is a member. declare it there alike',
    ]);
  });

  it('with other members in one of the files', () => {
    expect(graph(member('a'), member('b'), member('c', orders('a', 'c')))).toEqual([
      'c.yaml:9:30: the link "orders" has the members a, c here, and a, b, c in a.yaml. name the same members in the files of all of them',
    ]);
  });

  it('that is declared otherwise in one of the files', () => {
    expect(graph(member('a'), member('b', orders(...all).replace('start: all', 'start: new')))).toEqual([
      'b.yaml:9:3: the link "orders" is declared otherwise in a.yaml: start new in b.yaml, all in a.yaml. declare it alike in both',
    ]);
    expect(graph(member('a'), member('b', orders(...all).replace('ORDERS', 'ORDER')))).toEqual([
      'b.yaml:9:3: the link "orders" is declared otherwise in a.yaml: source stream ORDER in b.yaml, ORDERS in a.yaml; sink stream ORDER in b.yaml, ORDERS in a.yaml. declare it alike in both',
    ]);
    const fan = 'links:\n  orders: { kind: fan-in, from: { cluster: a, stream: ORDERS }, to: { stream: ORDERS } }';
    expect(graph(file('a', dial('b') + orders('a', 'b')), file('b', dial('a') + fan))).toEqual([
      'b.yaml:9:3: the link "orders" is declared otherwise in a.yaml: kind fan-in in b.yaml, replicate in a.yaml; source clusters a in b.yaml, a, b in a.yaml; sink clusters b in b.yaml, a, b in a.yaml; start none in b.yaml, all in a.yaml. keep one of the two declarations, or rename one link',
    ]);
  });

  it('twice for one stream, told once', () => {
    const twice = `${orders('a', 'b')}\n${orders('a', 'b').split('\n')[1]!.replace('orders', 'again')}`;
    expect(() => file('a', dial('b') + twice)).toThrow(
      /^[^\n]*a\.yaml:10:3: the links "orders" and "again" both carry a\/ORDERS into b\/ORDERS, where their records collide\. keep one of them, or give one another sink stream$/,
    );
  });

  it('of which a member passes on what others sent', () => {
    const a = file(
      'a',
      `${dial('b', 'edge')}${orders('a', 'b')}\n  in: { kind: fan-in, from: { cluster: edge, stream: X }, to: { stream: ORDERS } }`,
    );
    const b = (origins: string): Plan => file('b', dial('a') + orders('a', 'b').replace(' }', `${origins} }`));
    expect(graph(a, b(''))).toEqual([
      'b.yaml:9:3: orders/a/b brings records of edge, in whose name "a" may not speak. add origins: [edge] to this link',
    ]);
    expect(graph(a, b(', origins: [edge]'))).toEqual([]);
  });
});

describe('one lane, and one flow, in two files', () => {
  const up = (more = ''): string =>
    `links:\n  t: { kind: fan-in, from: { stream: T }, to: { cluster: hub, stream: F }${more} }`;
  const down = (more = ''): string =>
    `links:\n  t: { kind: fan-in, from: { cluster: a, stream: T }, to: { stream: F }${more} }`;

  it('is fine when both declare it alike: no grant is needed then', () => {
    expect(graph(file('hub', dial('a') + down()), file('a', dial('hub') + up()))).toEqual([]);
  });

  it('is a conflict when they differ, and nothing is said of grants', () => {
    expect(graph(file('hub', dial('a') + down(', start: new')), file('a', dial('hub') + up(', start: 7')))).toEqual([
      'a.yaml:9:3: the link "t" is declared otherwise in hub.yaml: start 7 in a.yaml, new in hub.yaml. keep one of the two declarations, or rename one link',
    ]);
  });

  it('is a conflict when they lead in opposite directions', () => {
    const back = 'links:\n  t: { kind: fan-out, from: { stream: F }, to: { cluster: a, stream: T } }';
    expect(graph(file('hub', dial('a') + back), file('a', dial('hub') + up()))).toEqual([
      'a.yaml:9:3: the link "t" is declared otherwise in hub.yaml: kind fan-in in a.yaml, fan-out in hub.yaml; source clusters a in a.yaml, hub in hub.yaml; source stream T in a.yaml, F in hub.yaml; sink clusters hub in a.yaml, a in hub.yaml; sink stream F in a.yaml, T in hub.yaml. keep one of the two declarations, or rename one link',
    ]);
  });

  it('a former name that the other file still has', () => {
    const renamed = down(', previously: old').replace('F }', 'G }');
    const old = `${up().replace('t:', 'old:')}\ngrants: [{ to: hub, read: { stream: T } }]`;
    const hub = file('hub', `${dial('a')}${renamed}\ngrants: [{ to: a, append: { stream: F } }]`);
    expect(graph(hub, file('a', dial('hub') + old))).toEqual([
      'hub.yaml:9:74: the link "t" was previously "old", which is still declared in a.yaml. take the old link out, or "previously" if the two are different links',
    ]);
  });

  it('a stream that two files would make in two ways, or with one subject', () => {
    const make = (stream: string, subjects: string): string =>
      `links:\n  t: { kind: fan-in, from: { stream: T }, to: { cluster: hub, stream: ${stream}, create: { maxBytes: 1MiB, subjects: ["${subjects}"] } } }`;
    const hub = (): Plan =>
      file(
        'hub',
        'peers: { a: {}, b: {} }\ngrants:\n  - { to: a, append: { stream: F }, create: { maxBytes: 1MiB } }\n  - { to: b, append: { stream: F }, create: { maxBytes: 1MiB } }',
      );
    expect(graph(hub(), file('a', dial('hub') + make('F', 'f.>')), file('b', dial('hub') + make('F', 'f.>')))).toEqual(
      [],
    );
    expect(graph(hub(), file('a', dial('hub') + make('F', 'f.>')), file('b', dial('hub') + make('F', 'f.*')))).toEqual([
      'b.yaml:9:74: warning: the link "t" in a.yaml would make hub/F in another way; whichever lane comes first makes it. write the same "create" at both, with all "subjects"',
    ]);
    const two = file(
      'hub',
      'peers: { a: {}, b: {} }\ngrants:\n  - { to: a, append: { stream: F }, create: { maxBytes: 1MiB } }\n  - { to: b, append: { stream: G }, create: { maxBytes: 1MiB } }',
    );
    expect(graph(two, file('a', dial('hub') + make('F', 'f.>')), file('b', dial('hub') + make('G', 'f.*')))).toEqual([
      'b.yaml:9:74: hub/G cannot be made with "f.*": the link "t" in a.yaml makes F with subjects that overlap. a subject belongs to one stream of an account: narrow the subjects of one',
    ]);
  });
});

it('what a file says alone is not said again of the graph', () => {
  const make = (name: string, age: string): string =>
    `${name}: { kind: fan-in, from: { cluster: a, stream: ${name.toUpperCase()} }, to: { stream: F, create: { maxBytes: 1MiB, subjects: [x], maxAge: ${age} } } }`;
  const hub = file('hub', `${dial('a')}links: { ${make('t', '1d')}, ${make('u', '2d')} }`);
  expect(loadTopology(join(folder, 'hub.yaml'))).toMatchObject({ ok: true, warnings: [{ severity: 'warning' }] });
  expect(graph(hub)).toEqual([]);
});

describe('consent', () => {
  const out = (create: string): string =>
    `links:\n  fw: { kind: fan-out, from: { stream: FW }, to: { cluster: a, stream: FW, create: { subjects: ["fw.>"], maxBytes: ${create} } } }`;
  const hub = (create = '1GiB'): Plan => file('hub', dial('a') + out(create));
  const a = (grants: string): Plan => file('a', `${dial('hub')}grants: [${grants}]`);

  it('to make a stream: granted, not granted, and not as large', () => {
    expect(graph(hub(), a('{ to: hub, append: { stream: FW }, create: { maxBytes: 1GiB } }'))).toEqual([]);
    expect(graph(hub(), a(''))).toEqual([
      'hub.yaml:9:3: no grant for fw/hub/a: a does not let hub append to FW. add to the grants in a.yaml: - { to: hub, append: { stream: FW }, create: { maxBytes: 1GiB } }',
    ]);
    expect(graph(hub(), a('{ to: hub, append: { stream: FW } }'))).toEqual([
      'hub.yaml:9:76: no grant for fw/hub/a to create its sink: a does not let hub create FW. add create: { maxBytes: 1GiB } to the grant in a.yaml, or ask for less here',
    ]);
    expect(graph(hub('3GiB'), a('{ to: hub, append: { stream: FW }, create: { maxBytes: 1536MiB } }'))).toEqual([
      'hub.yaml:9:76: no grant for fw/hub/a to create its sink: a lets hub create FW with 1536MiB, not with 3GiB. add create: { maxBytes: 3GiB } to the grant in a.yaml, or ask for less here',
    ]);
  });

  it('by the name of the group that the other file knows this cluster by', () => {
    const fleet = (grants: string): Plan => file('hub', `peers: { edges: { match: "edge-*" } }\ngrants: [${grants}]`);
    const edge = file(
      'edge-1',
      `${dial('hub')}links:\n  up: { kind: fan-in, from: { stream: T }, to: { cluster: hub, stream: F } }`,
    );
    expect(graph(fleet('{ to: edges, append: { stream: F } }'), edge)).toEqual([]);
    expect(graph(fleet(''), edge)).toEqual([
      'edge-1.yaml:9:3: no grant for up/edge-1/hub: hub does not let edge-1 append to F. add to the grants in hub.yaml: - { to: edges, append: { stream: F } }',
    ]);
  });

  it('that nobody makes use of', () => {
    const grants =
      '{ to: hub, append: { stream: FW }, create: { maxBytes: 1GiB } }, { to: hub, read: { stream: OLD } }';
    expect(graph(hub(), a(grants))).toEqual([
      'a.yaml:8:75: warning: no link of hub.yaml reads OLD. take the grant out, or correct the stream',
    ]);
    expect(graph(a(grants)), 'the file of hub may have such a link').toEqual([]);
  });
});

describe('groups', () => {
  const hub = (peers = '{ edges: { match: "edge-*" } }'): Plan =>
    file(
      'hub',
      `peers: ${peers}\nlinks:\n  t: { kind: fan-in, from: { cluster: edges, stream: T }, to: { stream: F } }`,
    );
  const edge = (name: string, grants = '{ to: hub, read: { stream: T } }'): Plan =>
    file(name, `${dial('hub')}grants: [${grants}]`);

  it('have the members whose files are there', () => {
    expect(graph(hub(), edge('edge-1'), edge('edge-2'))).toEqual([]);
    expect(graph(hub(), edge('edge-1'), edge('edge-2', ''))).toEqual([
      'hub.yaml:9:3: no grant for t/edge-2/hub: edge-2 does not let hub read T. add to the grants in edge-2.yaml: - { to: hub, read: { stream: T } }',
    ]);
  });

  it('lose a cluster that is excepted, and one that has an entry of its own', () => {
    expect(graph(hub('{ edges: { match: "edge-*", except: [edge-1] } }'), edge('edge-1', ''))).toEqual([
      'edge-1.yaml:7:10: hub.yaml has no peer "edge-1". add edge-1: {} to the peers there',
    ]);
    expect(graph(hub('{ edges: { match: "edge-*" }, edge-1: {} }'), edge('edge-1', ''))).toEqual([]);
  });

  it('members dial', () => {
    const silent = file('edge-1', 'peers: { hub: {} }\ngrants: [{ to: hub, read: { stream: T } }]');
    expect(graph(hub(), silent)).toEqual([
      'edge-1.yaml:7:10: neither "edge-1" nor "hub" dials the other. add dial: ["HOST:PORT"] here',
    ]);
    const dialling = file('zedge', 'peers: { hub: {} }\ngrants: [{ to: hub, read: { stream: T } }]');
    expect(graph(hub('{ edges: { match: "zedge*" } }'), dialling)).toEqual([
      'hub.yaml:7:10: neither "hub" nor "zedge" dials the other. add dial: ["HOST:PORT"] to the peer hub in zedge.yaml',
    ]);
  });
});

describe('a cluster that one daemon serves', () => {
  const here = (): Plan =>
    file(
      'here',
      'peers: { there: { nats: { servers: [nats://m] } } }\nlinks:\n  t: { kind: fan-in, from: { cluster: there, stream: T }, to: { stream: F } }',
    );

  it('needs no file', () => {
    expect(graph(here())).toEqual([]);
  });

  it('replicates with another that is served, too', () => {
    const peers = 'peers: { there: { nats: { servers: [nats://m] } }, yonder: { nats: { servers: [nats://o] } } }';
    const link = 'r: { kind: replicate, between: [here, there, yonder], stream: R, start: all }';
    expect(graph(file('here', `${peers}\nlinks: { ${link} }`))).toEqual([]);
  });

  it('has no daemon of its own, for nobody', () => {
    expect(graph(here(), file('there', ''))).toEqual([
      'here.yaml:7:10: this daemon serves "there" itself ("nats"), and there.yaml describes another one for it. give "dial" instead of "nats", or do without that file',
    ]);
    expect(graph(here(), file('far', dial('there')))).toEqual([
      'far.yaml:7:10: here.yaml serves "there" itself ("nats"), so no daemon answers for it. have links with it in here.yaml only, or run a daemon there and give "dial" instead of "nats"',
    ]);
  });
});
