import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { checkGraph } from './check.ts';
import { type LoadedTopology, loadTopology } from './load.ts';
import type { Plan } from './plan.ts';
import { formatProblem, type Problem } from './problem.ts';

let folder = '';
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'causeway-any-'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function load(name: string, text: string): LoadedTopology {
  const path = join(folder, `${name}.yaml`);
  writeFileSync(path, text);
  return loadTopology(path, { clusterOf: () => ({ cluster: 'edge-1' }) });
}

/** What all the files say that can be used, and what is wrong with the others. JSON is YAML. */
function check(files: readonly object[]): { readonly plans: readonly Plan[]; readonly problems: readonly Problem[] } {
  const loaded = files.map((file, i) => load(`f${i}`, JSON.stringify(file)));
  const plans = loaded.flatMap((one) => (one.ok ? [one.plan] : []));
  const own = loaded.flatMap((one) => (one.ok ? one.warnings : one.problems));
  return { plans, problems: [...own, ...checkGraph(plans)] };
}

const errorsOf = (problems: readonly Problem[]): string[] =>
  problems.filter(({ severity }) => severity === 'error').map(formatProblem);

function basics(cluster: string): object {
  const tls = { cert: 'a', key: 'b', ca: 'c' };
  return { version: 1, cluster, trustDomain: 'acme', tls, nats: { servers: ['nats://own'] }, listen: '0.0.0.0:7443' };
}

/** Files of which each is nearly always sound by itself, and that fit together or not at all. */
const anything: fc.Arbitrary<object[]> = (() => {
  const stream = fc.constantFrom('S', 'T');
  const subject = fc.constantFrom('{subject}', 'x.{subject}', 'x.{from}');
  const subjects = fc.constantFrom(['x.>'], ['x.*', 'y'], ['z']);
  const origins = fc.constantFrom(['edge-*'], ['*'], ['a', 'b']);
  const create = fc.record(
    { maxBytes: fc.constantFrom('1GiB', '7KiB'), subjects: fc.constant(['x.>']), maxAge: fc.constant('1d') },
    { requiredKeys: ['maxBytes', 'subjects'] },
  );
  const more = fc.record(
    { start: fc.constantFrom('all', 'new', 'fromMirror', '2026-01-01T00:00:00Z'), previously: fc.constant('old') },
    { requiredKeys: [] },
  );
  const fileOf = (self: string, isFleet: boolean): fc.Arbitrary<object> => {
    const others = ['hub', 'a', 'b', ...(isFleet ? [] : ['edge-1', 'edge-2'])].filter((name) => name !== self);
    const one = fc.constantFrom(...others, ...(isFleet ? ['edges'] : []));
    const many = fc.uniqueArray(one, { minLength: 1, maxLength: 3 });
    const sink = fc.record({ stream, subject, create }, { requiredKeys: ['stream'] });
    const end = (cluster: fc.Arbitrary<unknown>) => fc.record({ cluster, stream });
    const link = fc.oneof(
      fc.record({ kind: fc.constant('fan-in'), from: end(many), to: sink, origins }),
      fc.record({ kind: fc.constant('fan-out'), from: end(fc.constantFrom(...others)), to: sink }),
      fc.record({ kind: fc.constant('fan-out'), from: fc.record({ stream }), to: end(many) }),
      fc.record({ kind: fc.constant('fan-in'), from: fc.record({ stream }), to: end(fc.constantFrom(...others)) }),
      fc.record({
        kind: fc.constant('replicate'),
        between: fc.subarray(others, { minLength: 1 }).map((names) => [self, ...names]),
        stream,
        start: fc.constantFrom('all', 'new'),
      }),
    );
    const grant = fc.oneof(
      fc.record({ to: one, read: fc.record({ stream }) }),
      fc.record({ to: one, append: fc.record({ stream, subjects }, { requiredKeys: ['stream'] }), create, origins }),
    );
    return fc
      .record({
        links: fc.dictionary(
          fc.constantFrom('l', 'm', 'n'),
          fc.tuple(link, more).map((parts) => Object.assign({}, ...parts) as object),
          { maxKeys: 2 },
        ),
        grants: fc.array(grant, { maxLength: 4 }),
        dialled: fc.subarray(others),
      })
      .map(({ links, grants, dialled }) => {
        const named = others.map((name) => [name, dialled.includes(name) ? { dial: ['x:1'] } : {}]);
        const fleet = isFleet ? { edges: { match: 'edge-*', expect: 2 } } : {};
        return { ...basics(self), peers: { ...Object.fromEntries(named), ...fleet }, links, grants };
      });
  };
  return fc
    .subarray(['hub', 'a', 'b', 'edge-1', 'edge-2'], { minLength: 1, maxLength: 4 })
    .chain((clusters) =>
      fc.tuple(
        ...clusters.map((name) => fc.boolean().chain((fleet) => fileOf(name, fleet && !name.startsWith('edge')))),
      ),
    );
})();

/** A tree of clusters: each dials its parent, and passes up what it has and gets; `declares` says which end does. */
interface Tree {
  readonly parents: readonly number[];
  readonly declares: readonly boolean[];
}

const tree: fc.Arbitrary<Tree> = fc.integer({ min: 1, max: 6 }).chain((size) =>
  fc.record({
    parents: fc.tuple(...Array.from({ length: size }, (_, i) => fc.integer({ min: 0, max: i }))),
    declares: fc.array(fc.boolean(), { minLength: size, maxLength: size }),
  }),
);

/** Files that say it soundly; the grant of the child with the number `forgotten` is left out. */
function filesOf({ parents, declares }: Tree, forgotten?: number): object[] {
  return [...parents.keys(), parents.length].map((node) => {
    const children = [...parents.keys()].filter((i) => parents[i] === node).map((i) => i + 1);
    const dialled = node === 0 ? {} : { [`c${parents[node - 1]}`]: { dial: ['x:1'] } };
    const links: Record<string, object> = {};
    const grants: object[] = [];
    const stream = 'UP';
    const grant = (child: number, one: object): void => {
      if (child !== forgotten) grants.push(one);
    };
    for (const child of children) {
      const below = { origins: ['*'] };
      if (declares[child - 1]) grant(child, { to: `c${child}`, append: { stream }, ...below });
      else
        links[`from-${child}`] = { kind: 'fan-in', from: { cluster: `c${child}`, stream }, to: { stream }, ...below };
    }
    if (node > 0) {
      const parent = `c${parents[node - 1]}`;
      if (declares[node - 1]) links.up = { kind: 'fan-in', from: { stream }, to: { cluster: parent, stream } };
      else grant(node, { to: parent, read: { stream } });
    }
    const peers = Object.fromEntries(children.map((child) => [`c${child}`, {}]));
    return { ...basics(`c${node}`), peers: { ...peers, ...dialled }, links, grants };
  });
}

describe('whatever stands in the files', () => {
  it('nothing is thrown, and whether there is an error does not hang on the order of the files', () => {
    let used = 0;
    fc.assert(
      fc.property(anything, (files) => {
        const { plans, problems } = check(files);
        used += plans.length;
        for (const problem of problems) expect(formatProblem(problem)).toMatch(/^\S+:\d+:\d+: .+\. .+$/);
        const broken = errorsOf(checkGraph(plans)).length > 0;
        expect(errorsOf(checkGraph(plans.toReversed())).length > 0).toBe(broken);
      }),
      { numRuns: 150 },
    );
    expect(used, 'enough of them were sound').toBeGreaterThan(50);
  });

  it('a tree that passes everything up is sound, and a grant that is left out is missed', () => {
    fc.assert(
      fc.property(tree, fc.nat(), (one, pick) => {
        expect(check(filesOf(one)).problems.map(formatProblem)).toEqual([]);
        const child = (pick % one.parents.length) + 1;
        const errors = errorsOf(check(filesOf(one, child)).problems);
        expect(errors).toHaveLength(1);
        expect(errors[0]).toContain(`/c${child}/c${one.parents[child - 1]}: `);
      }),
      { numRuns: 40 },
    );
  });

  it('no slip of the hand makes it throw', () => {
    const text = `version: 1
cluster: hub
trustDomain: acme
tls: { cert: hub.crt, key: hub.key, ca: ca.crt }
nats: { servers: [nats://n1] }
listen: 0.0.0.0:7443
peers:
  a: { dial: ["a:1"] }
  edges: { match: "edge-*", except: [edge-13], expect: 40 }
links:
  t:
    kind: fan-in
    from: { cluster: edges, stream: T }
    to: { stream: F, subject: "f.{origin}.{subject}", create: { maxBytes: 1GiB, maxAge: 7d } }
    start: 2026-11-01T00:00:00Z
  r: { kind: replicate, between: [hub, a], stream: R, start: all, previously: old }
grants:
  - { to: a, append: { stream: G, subjects: ["g.>"] }, create: { maxBytes: 1GiB }, origins: ["edge-*"] }
`;
    expect(load('sound', text).ok).toBe(true);
    const words = text.match(/\s+|[\w"*.>-]+|[^\s\w]/g)!;
    const slip = fc.record({
      at: fc.nat(words.length - 1),
      take: fc.nat(3),
      put: fc.oneof(fc.constantFrom(...words, '- ', '[', '}', '&x ', '!t ', '0', 'null', '\t', '\u0000'), fc.string()),
    });
    fc.assert(
      fc.property(fc.array(slip, { minLength: 1, maxLength: 3 }), (slips) => {
        const copy = [...words];
        for (const { at, take, put } of slips) copy.splice(at, take, put);
        const loaded = load('slip', copy.join(''));
        if (loaded.ok) checkGraph([loaded.plan]);
        else expect(loaded.problems.length).toBeGreaterThan(0);
      }),
      { numRuns: 200 },
    );
  });
});
