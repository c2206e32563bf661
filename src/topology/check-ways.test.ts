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
  folder = mkdtempSync(join(tmpdir(), 'causeway-ways-'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** A cluster as CLUSTER.yaml that everybody may read, append to, and speak through, unless `grants` says otherwise. */
function cluster(name: string, links: readonly string[], grants = '', peers?: string): Plan {
  const path = join(folder, `${name}.yaml`);
  const others = [...'abcdxyz'].filter((other) => other !== name);
  const known = peers ?? `{ ${others.map((other) => `${other}: { dial: ["${other}:1"] }`).join(', ')} }`;
  const body = `peers: ${known}\nlinks: {${links.join(', ')}}\ngrants: [${grants}]\n`;
  const head = `version: 1\ncluster: ${name}\ntrustDomain: acme\ntls: { cert: a, key: b, ca: c }\nnats: { servers: [nats://n] }\nlisten: 0.0.0.0:7443\n`;
  writeFileSync(path, head + body);
  const loaded = loadTopology(path);
  if (!loaded.ok) throw new Error(loaded.problems.map(formatProblem).join('\n'));
  return loaded.plan;
}

/** The link `name` from here to a stream S elsewhere. */
const to = (name: string, other: string): string =>
  `${name}: { kind: fan-in, from: { stream: S }, to: { cluster: ${other}, stream: S } }`;
const takes = (other: string, ...origins: readonly string[]): string =>
  `{ to: ${other}, append: { stream: S }${origins.length === 0 ? '' : `, origins: [${origins.join(', ')}]`} }`;
const replicate = (...names: readonly string[]): string =>
  `r: { kind: replicate, between: [${names.join(', ')}], stream: S, start: all, origins: ["*"] }`;

/** What the files say together, without what is said of files that are not there. */
function graph(...plans: readonly Plan[]): string[] {
  return checkGraph(plans).map((problem) => formatProblem(problem).replaceAll(`${folder}/`, ''));
}

describe('a cycle', () => {
  it('of four clusters, each with its file, is named once', () => {
    const ring = [...'abcd'].map((name, i) => cluster(name, [to('next', 'bcda'[i]!)], takes('dabc'[i]!, '"*"')));
    expect(graph(...ring)).toEqual([
      'd.yaml:8:9: warning: links form a cycle: d/S -> a/S -> b/S -> c/S -> d/S; records that have been round are dropped. take a link out if this is not meant',
    ]);
    expect(graph(...ring.toReversed()), 'in another order').toHaveLength(1);
    expect(graph(...ring.slice(1)), 'not closed without the first').toEqual([]);
  });

  it('of two rings is named twice', () => {
    const ring = (names: string) =>
      [...names].map((name, i) =>
        cluster(name, [to('next', [...names].at(i - names.length + 1)!)], takes([...names].at(i - 1)!, '"*"')),
      );
    expect(graph(...ring('abc'), ...ring('xyz'))).toHaveLength(2);
  });

  it('is none where a mesh replicates', () => {
    expect(graph(...[...'abc'].map((name) => cluster(name, [replicate('a', 'b', 'c')])))).toEqual([]);
  });

  it('is one where a link leads back to another member of a mesh', () => {
    const mesh = [...'bc'].map((name) =>
      cluster(name, [replicate('a', 'b', 'c')], name === 'b' ? takes('x', '"*"') : ''),
    );
    const x = cluster('x', [to('back', 'b')], takes('a', '"*"'));
    expect(graph(cluster('a', [replicate('a', 'b', 'c'), to('away', 'x')]), ...mesh, x)).toEqual([
      'x.yaml:8:9: warning: links form a cycle: x/S -> b/S -> a/S -> x/S; records that have been round are dropped. take a link out if this is not meant',
    ]);
  });

  it('is none on two ways to one place, nor where a way ends beside its beginning', () => {
    const a = cluster('a', [to('left', 'b'), to('right', 'c')]);
    const b = cluster('b', [to('left', 'd')], takes('a'));
    const c = cluster('c', [to('right', 'd')], takes('a'));
    expect(graph(a, b, c, cluster('d', [], `${takes('b', 'a')}, ${takes('c', 'a')}`))).toEqual([]);
  });

  it('is named once, however many clusters the same links have', () => {
    const ends = (one: string, list: string): string => `${one}: { cluster: ${list}, stream: S }`;
    const down = `down: { kind: fan-out, from: { stream: S }, ${ends('to', '[b, c]')} }`;
    const up = `up: { kind: fan-in, ${ends('from', '[b, c]')}, to: { stream: S }, origins: ["*"] }`;
    const path = join(folder, 'a.yaml');
    cluster('a', [down, up]);
    const loaded = loadTopology(path);
    expect(loaded.ok && loaded.warnings).toHaveLength(1);
  });

  it('is named by the file alone if it is in one file', () => {
    const back = 'back: { kind: fan-in, from: { cluster: b, stream: S }, to: { stream: S } }';
    const a = cluster('a', [to('away', 'b'), back]);
    expect(graph(a, cluster('b', [], `${takes('a')}, { to: a, read: { stream: S } }`))).toEqual([]);
  });
});

describe('records of third clusters', () => {
  it('need origins at every hop behind the first', () => {
    const a = cluster('a', [to('up', 'b')]);
    const b = cluster('b', [to('up', 'c')], takes('a'));
    const c = (...origins: readonly string[]): Plan => cluster('c', [to('up', 'd')], takes('b', ...origins));
    expect(graph(a, b, c())).toEqual([
      'b.yaml:8:9: up/b/c brings records of a, in whose name "b" may not speak. add origins: [a] to the grant for b in c.yaml',
    ]);
    expect(graph(a, b, c('a'))).toEqual([]);
    expect(graph(a, b, c('"*"'), cluster('d', [], takes('c', 'b')))).toEqual([
      'c.yaml:8:9: up/c/d brings records of a, in whose name "c" may not speak. add origins: [a] to the grant for c in d.yaml',
    ]);
    expect(graph(a, b, c('"*"'), cluster('d', [], takes('c', '"*"')))).toEqual([]);
  });

  it('need origins at the link itself where the sink declares it', () => {
    const a = cluster('a', [to('up', 'b')]);
    const b = cluster('b', [], `${takes('a')}, { to: c, read: { stream: S } }`);
    const c = (origins: string): Plan =>
      cluster('c', [`in: { kind: fan-in, from: { cluster: b, stream: S }, to: { stream: S }${origins} }`]);
    expect(graph(a, b, c(''))).toEqual([
      'c.yaml:8:9: in/b/c brings records of a, in whose name "b" may not speak. add origins: [a] to this link',
    ]);
    expect(graph(a, b, c(', origins: [a]'))).toEqual([]);
  });

  it('need none of what was in the sink before: it is dropped there', () => {
    const a = cluster('a', [to('away', 'b')], `${takes('x')}, ${takes('b')}`);
    const b = cluster('b', [to('back', 'a')], takes('a', 'x'));
    expect(graph(a, b, cluster('x', [to('in', 'a')]))).toEqual([
      'b.yaml:8:9: warning: links form a cycle: b/S -> a/S -> b/S; records that have been round are dropped. take a link out if this is not meant',
    ]);
  });

  it('of a group are meant by its pattern', () => {
    const peers = '{ edges: { match: "edge-*" }, c: { dial: ["c:1"] } }';
    const fleet = 'in: { kind: fan-in, from: { cluster: edges, stream: T }, to: { stream: S } }';
    const b = cluster('b', [fleet, to('up', 'c')], '', peers);
    expect(graph(b, cluster('c', [], takes('b')))).toEqual([
      'b.yaml:8:87: up/b/c brings records of edge-*, in whose name "b" may not speak. add origins: ["edge-*"] to the grant for b in c.yaml',
    ]);
    expect(graph(b, cluster('c', [], takes('b', '"edge-*"')))).toEqual([]);
    const edge = cluster('edge-7', [], '{ to: b, read: { stream: T } }', '{ b: { dial: ["b:1"] } }');
    expect(graph(b, edge, cluster('c', [], takes('b')))).toEqual([
      'b.yaml:8:87: up/b/c brings records of edge-7, in whose name "b" may not speak. add origins: ["edge-*"] to the grant for b in c.yaml',
    ]);
  });
});
