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
  folder = mkdtempSync(join(tmpdir(), 'causeway-graph-'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Writes and loads a file; `body` starts in line 5. */
function file(name: string, cluster: string, body: string, trustDomain = 'acme'): Plan {
  const head = `version: 1\n{ cluster }\n{ domain }\ntls: { cert: a, key: b, ca: c }\nnats: { servers: [nats://n] }\n`;
  const path = join(folder, name);
  writeFileSync(
    path,
    head.replace('{ cluster }', `cluster: ${cluster}`).replace('{ domain }', `trustDomain: ${trustDomain}`) + body,
  );
  const loaded = loadTopology(path);
  if (!loaded.ok) throw new Error(loaded.problems.map(formatProblem).join('\n'));
  return loaded.plan;
}

function graph(...plans: readonly Plan[]): string[] {
  return checkGraph(plans).map((problem) => formatProblem(problem).replaceAll(`${folder}/`, ''));
}

const hub = (links = '', peers = '{ a: {}, b: {} }', more = ''): Plan =>
  file(
    'hub.yaml',
    'hub',
    `listen: 0.0.0.0:7443\npeers: ${peers}\nlinks:\n  t: { kind: fan-in, from: { cluster: a, stream: T }, to: { stream: F } }\n${links}${more}`,
  );
const site = (cluster: string, more = 'grants: [{ to: hub, read: { stream: T } }]\n'): Plan =>
  file(`${cluster}.yaml`, cluster, `peers: { hub: { dial: ["hub:7443"] } }\n${more}`);

describe('checkGraph', () => {
  it('finds nothing in a graph that fits, whole or in part', () => {
    expect(graph(hub(), site('a'), site('b', ''))).toEqual([]);
    expect(graph(hub())).toEqual([]);
    expect(graph(site('b', ''), hub())).toEqual([]);
    expect(graph()).toEqual([]);
  });

  it('two files for one cluster', () => {
    expect(graph(hub(), site('a'), file('copy.yaml', 'a', ''))).toEqual([
      'copy.yaml:2:10: a.yaml is the cluster "a", too. give one of them another name',
    ]);
  });

  it('another port at the host where the other one listens', () => {
    const east = file('east.yaml', 'east', 'listen: 127.0.0.1:7443\npeers: { west: {} }\n');
    const west = (dial: string): Plan => file('west.yaml', 'west', `peers: { east: { dial: [${dial}] } }\n`);
    expect(graph(east, west('"localhost:7443", "east.example:443"'))).toEqual([]);
    expect(graph(east, west('"localhost:4222"'))).toEqual([
      'west.yaml:6:25: warning: "east" listens on port 7443 of this host (east.yaml), not on 4222. dial port 7443, unless something forwards the other one to it',
    ]);
  });

  it('another trust domain, told once', () => {
    const b = file('b.yaml', 'b', 'peers: { hub: { dial: ["hub:7443"] } }\n', 'other');
    expect(graph(hub(), b)).toEqual([
      'b.yaml:3:14: the trust domain "other" is not that of hub.yaml, "acme". peers need one trust domain',
    ]);
  });

  it('a peer whose own file does not know this cluster', () => {
    expect(graph(hub('', '{ a: {} }'), site('b', ''))).toEqual([
      'b.yaml:6:10: hub.yaml has no peer "b". add b: {} to the peers there',
    ]);
    expect(graph(hub('', '{ a: {}, plnat-b: {} }'), site('plant-b', ''))).toEqual([
      'plant-b.yaml:6:10: hub.yaml has no peer "plant-b". add plant-b: {} to the peers there, unless its peer "plnat-b" is meant to be this cluster',
    ]);
  });

  it('neither dials', () => {
    const b = file('b.yaml', 'b', 'listen: 0.0.0.0:7443\npeers: { hub: {} }\n');
    expect(graph(hub(), b)).toEqual([
      'b.yaml:7:10: neither "b" nor "hub" dials the other. add dial: ["HOST:PORT"] here, or to the peer b in hub.yaml',
    ]);
  });

  it('a dialled cluster that does not listen', () => {
    const b = site('b', '');
    const dials = hub('', '{ a: {}, b: { dial: ["b:1"] } }');
    // Both dial: the lower name, b, does, and hub listens.
    expect(graph(dials, b)).toEqual([]);
    const deaf = file('deaf.yaml', 'hub', 'peers: { b: { dial: ["b:1"] } }\n');
    const listening = file('b.yaml', 'b', 'listen: 0.0.0.0:1\npeers: { hub: { dial: ["hub:7443"] } }\n');
    expect(graph(deaf, listening)).toEqual([
      'b.yaml:7:17: "b" dials "hub" (both have "dial", so the lower name dials), which does not listen. add listen: HOST:PORT to deaf.yaml, or take out this "dial"',
    ]);
    expect(graph(deaf, file('b.yaml', 'b', 'listen: 0.0.0.0:1\npeers: { hub: {} }\n'))).toEqual([]);
    const silent = file('c.yaml', 'c', 'peers: { b: { dial: ["b:1"] } }\n');
    expect(graph(silent, file('b.yaml', 'b', 'peers: { c: { dial: ["c:1"] } }\n'))).toEqual([
      'b.yaml:6:15: "b" dials "c" (both have "dial", so the lower name dials), which does not listen. add listen: HOST:PORT to c.yaml, or take out this "dial"',
    ]);
  });

  it('a link without a grant at its other end', () => {
    expect(graph(hub(), site('a', ''))).toEqual([
      'hub.yaml:9:3: no grant for t/a/hub: a does not let hub read T. add to the grants in a.yaml: - { to: hub, read: { stream: T } }',
    ]);
    const up =
      'links:\n  up: { kind: fan-in, from: { stream: N }, to: { cluster: hub, stream: F, subject: "x.{subject}" } }\n';
    expect(graph(hub(), site('b', up))).toEqual([
      'b.yaml:8:3: no grant for up/b/hub: hub does not let b append to F. add to the grants in hub.yaml: - { to: b, append: { stream: F, subjects: ["x.>"] } }',
    ]);
    const narrow = hub('', undefined, 'grants: [{ to: b, append: { stream: F, subjects: ["y.>"] } }]\n');
    expect(graph(narrow, site('b', up))).toEqual([
      'b.yaml:8:3: no grant for up/b/hub: hub lets b append to F, but not under x.{subject}. add to the grants in hub.yaml: - { to: b, append: { stream: F, subjects: ["x.>"] } }',
    ]);
    expect(graph(hub('', undefined, 'grants: [{ to: b, append: { stream: F } }]\n'), site('b', up))).toEqual([]);
  });

  it('a lane that both ends declare', () => {
    const same =
      'links:\n  t: { kind: fan-in, from: { stream: T }, to: { cluster: hub, stream: G } }\ngrants: [{ to: hub, read: { stream: T } }]\n';
    const granting = hub('', undefined, 'grants: [{ to: a, append: { stream: G } }]\n');
    expect(graph(granting, site('a', same))).toEqual([
      'a.yaml:8:3: the link "t" is declared otherwise in hub.yaml: sink stream G in a.yaml, F in hub.yaml. keep one of the two declarations, or rename one link',
    ]);
  });

  it('two links that carry one stream into one stream', () => {
    const again =
      'links:\n  u: { kind: fan-in, from: { stream: T }, to: { cluster: hub, stream: F } }\ngrants: [{ to: hub, read: { stream: T } }]\n';
    const granting = hub('', undefined, 'grants: [{ to: a, append: { stream: F } }]\n');
    expect(graph(granting, site('a', again))).toEqual([
      'a.yaml:8:3: the links "t" in hub.yaml and "u" both carry a/T into hub/F, where their records collide. keep one of them, or give one another sink stream',
    ]);
  });

  it('a cycle over several files, named once, as a warning', () => {
    const hub = (links: string): Plan =>
      file(
        'hub.yaml',
        'hub',
        `listen: 0.0.0.0:7443\npeers: { a: {}, b: {} }\nlinks:\n  t: { kind: fan-in, from: { cluster: a, stream: T }, to: { stream: F }, origins: [b] }\n${links}`,
      );
    const more = '  to-b: { kind: fan-in, from: { stream: F }, to: { cluster: b, stream: B } }\n';
    const b = file(
      'b.yaml',
      'b',
      'listen: 0.0.0.0:1\npeers: { hub: { dial: ["hub:7443"] }, a: {} }\nlinks:\n  back: { kind: fan-in, from: { stream: B }, to: { cluster: a, stream: T } }\ngrants: [{ to: hub, append: { stream: B }, origins: [a] }]\n',
    );
    const a = file(
      'a.yaml',
      'a',
      'peers: { hub: { dial: ["hub:7443"] }, b: { dial: ["b:1"] } }\ngrants: [{ to: hub, read: { stream: T } }, { to: b, append: { stream: T }, origins: [hub] }]\n',
    );
    expect(graph(hub(more), a, b)).toEqual([
      'b.yaml:9:3: warning: links form a cycle: b/B -> a/T -> hub/F -> b/B; records that have been round are dropped. take a link out if this is not meant',
    ]);
    expect(graph(hub(more), a)).toEqual([]);
  });

  it('says nothing that loading one of the files has said', () => {
    const ring = '  back: { kind: fan-in, from: { stream: F }, to: { cluster: a, stream: T } }\n';
    const loaded = hub(ring);
    expect(graph(loaded)).toEqual([]);
  });

  it('takes plans that were made without a file', () => {
    const { file: path, ...rest } = site('a', '');
    const bare: Plan = { ...rest, file: path };
    expect(checkGraph([{ ...hub(), grants: [] }, bare]).map(formatProblem)).toEqual([
      `${join(folder, 'hub.yaml')}: no grant for t/a/hub: a does not let hub read T. add to the grants in ${path}: - { to: hub, read: { stream: T } }`,
    ]);
  });
});
