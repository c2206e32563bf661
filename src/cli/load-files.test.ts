import { mkdir, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { causeway } from '../../test/support/causeway.ts';
import { type TempDir, tempDir } from '../../test/support/temp.ts';
import { formatProblem } from '../topology/problem.ts';
import { loadFiles } from './load-files.ts';

let dir: TempDir;
let folder: string;
let folders = 0;
beforeAll(async () => {
  dir = await tempDir('load-files');
  await causeway(['certs', '--trust-domain', 'acme', 'edge-7'], { cwd: dir.path });
  await causeway(['certs', '--trust-domain', 'other', '--dir', 'others', 'edge-7'], { cwd: dir.path });
});
beforeEach(async () => {
  folder = join(dir.path, String(++folders));
  await mkdir(folder);
});
afterAll(() => dir.remove());

const basics = (cluster: string, certificate: string): string => `version: 1
cluster: ${cluster}
trustDomain: acme
tls: { cert: ${certificate}, key: k, ca: c }
nats: { servers: [nats://n] }
`;

async function write(name: string, text: string): Promise<string> {
  const path = join(folder, name);
  await writeFile(path, text);
  return path;
}

const hub = (peers: string, links = ''): Promise<string> =>
  write('hub.yaml', `${basics('hub', 'x')}listen: 0.0.0.0:7443\npeers: ${peers}\nlinks: {${links}}\n`);
const fleet = (name: string, certificate: string, grants: string): Promise<string> =>
  write(
    name,
    `${basics('{ from: certificate }', certificate)}peers: { hub: { dial: ["hub:1"] } }\ngrants: [${grants}]\n`,
  );
const from = (name: string, stream: string): string =>
  `${stream.toLowerCase()}: { kind: fan-in, from: { cluster: ${name}, stream: ${stream} }, to: { stream: F } }`;

function look(...files: readonly string[]) {
  const { standIns, problems, plans } = loadFiles(files);
  return {
    standIns: Object.fromEntries([...standIns].map(([file, name]) => [basename(file), name])),
    clusters: [...plans.values()].map(({ cluster }) => cluster),
    problems: problems.map((problem) => formatProblem({ ...problem, file: basename(problem.file) })),
  };
}

describe('a file that has its name in a certificate', () => {
  it('gets it from there', async () => {
    const edge = await fleet('edge.yaml', '../certs/edge-7.crt', '');
    expect(look(edge)).toEqual({ standIns: {}, clusters: ['edge-7'], problems: [] });
  });

  it('is wrong if the certificate is of another trust domain, or none', async () => {
    const foreign = await fleet('foreign.yaml', '../others/edge-7.crt', '');
    const broken = await fleet('broken.yaml', await write('broken.crt', 'not PEM'), '');
    const { problems, clusters, standIns } = look(foreign, broken);
    expect([clusters, standIns]).toEqual([[], {}]);
    const crt = join(dir.path, 'others/edge-7.crt');
    const fix = 'put a certificate with the URI spiffe://TRUST-DOMAIN/CLUSTER there, or give cluster: NAME';
    expect(problems[0]).toBe(`foreign.yaml:2:10: ${crt} names the trust domain other, not acme. ${fix}`);
    expect(problems[1]).toContain('broken.yaml:2:10: the name of the cluster stands in ');
    expect(problems).toHaveLength(2);
  });

  it('is checked under the name of a member if there is no certificate', async () => {
    const edge = await fleet('edge.yaml', 'none.crt', '{ to: hub, read: { stream: T } }');
    expect(look(edge).standIns).toEqual({ 'edge.yaml': 'some-cluster' });
    const files = [edge, await hub('{ edges: { match: "edge-*", except: [edge-1] }, edge-2: {} }', from('edges', 'T'))];
    expect(look(...files)).toEqual({ standIns: { 'edge.yaml': 'edge-3' }, clusters: ['edge-3', 'hub'], problems: [] });
    const expecting = await hub('{ edges: { match: "edge-*", expect: [edge-north] } }', from('edges', 'T'));
    expect(look(edge, expecting).standIns).toEqual({ 'edge.yaml': 'edge-north' });
  });

  it('finds the group it is for among several, whatever the order', async () => {
    const plant = await fleet('plant.yaml', 'none.crt', '{ to: hub, read: { stream: P } }');
    const edge = await fleet('edge.yaml', 'none.crt', '{ to: hub, read: { stream: E } }');
    const both = await hub(
      '{ edges: { match: "edge-*" }, plants: { match: "plant-*" } }',
      `${from('edges', 'E')}, ${from('plants', 'P')}`,
    );
    const names = { 'edge.yaml': 'edge-1', 'plant.yaml': 'plant-1' };
    expect(look(both, plant, edge).standIns).toEqual(names);
    expect(look(edge, both, plant).standIns).toEqual(names);
  });

  it('stands for its fleet in the check', async () => {
    const edge = await fleet('edge.yaml', 'none.crt', '');
    const files = [edge, await hub('{ edges: { match: "edge-*" } }', from('edges', 'T'))];
    const { code, out } = await causeway(['check', ...files], { cwd: folder });
    expect(code).toBe(3);
    expect(out).toContain('no grant for t/edge-1/hub: edge-1 does not let hub read T. add to the grants in');
    expect(out).toContain(`${edge}: its certificate is not here; checked as the cluster edge-1\n`);
  });
});

it('takes one file under two names for one', async () => {
  const file = await hub('{}');
  const { files, plans } = loadFiles([file, join(folder, '.', 'hub.yaml'), `${folder}/../${folders}/hub.yaml`]);
  expect([files, [...plans.keys()]]).toEqual([[file], [file]]);
});

describe('two files of one cluster', () => {
  const peer = (name: string): string => `${basics('east', 'x')}peers: { ${name}: { dial: ["h:1"] } }\n`;
  it.each([
    ['first', ['5.yaml', 'ok.yaml']],
    ['last', ['ok.yaml', '5.yaml']],
  ])('are told at the one that has errors, without what follows from it: %s', async (_, order) => {
    await write('ok.yaml', peer('west'));
    await write('5.yaml', `${peer('east')}grants: [{ to: east, read: { stream: S } }]\nlisten: nowhere\n`);
    const { problems } = look(...order.map((name) => join(folder, name)));
    expect(problems.map((text) => text.replaceAll(`${folder}/`, ''))).toEqual([
      '5.yaml:2:10: ok.yaml is the cluster "east", too. give one of them another name',
      expect.stringMatching(/^5\.yaml:8:9: /),
    ]);
  });

  it('are told once if both have errors', async () => {
    const one = await write('one.yaml', peer('east'));
    const two = await write('two.yaml', peer('east'));
    const { problems } = look(one, two);
    expect(problems.filter((text) => text.includes('too'))).toHaveLength(1);
    expect(problems.at(-1)).toMatch(/^two\.yaml:2:10: .*one\.yaml is the cluster "east", too/);
  });
});
