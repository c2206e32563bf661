import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { causeway } from '../../test/support/causeway.ts';
import { inProcess } from '../../test/support/in-process.ts';
import { type TempDir, tempDir } from '../../test/support/temp.ts';

let dir: TempDir;
const path = (name: string): string => join(dir.path, name);
const head = (cluster: string): string =>
  `version: 1\ncluster: ${cluster}\ntrustDomain: acme\ntls: { cert: a, key: b, ca: c }\nnats: { servers: [nats://n] }\n`;
const files = {
  'hub.yaml': `${head('hub')}listen: 127.0.0.1:7443
peers: { plant-a: {} }
links: { telemetry: { kind: fan-in, from: { cluster: plant-a, stream: T }, to: { stream: F } } }\n`,
  'plant-a.yaml': `${head('plant-a')}peers: { hub: { dial: ["hub:7443"] } }\ngrants: [{ to: hub, read: { stream: T } }]\n`,
  'silent.yaml': `${head('plant-a')}peers: { hub: { dial: ["hub:7443"] } }\n`,
  'bad.yaml': 'colour: red\n',
};

beforeAll(async () => {
  dir = await tempDir('graph');
  for (const [name, text] of Object.entries(files)) await writeFile(path(name), text);
});
afterAll(() => dir.remove());

describe('graph', () => {
  it('writes svg to standard output, as a process, and nothing else', async () => {
    const { code, out, err } = await causeway(['graph', 'hub.yaml', 'plant-a.yaml'], { cwd: dir.path });
    expect([code, err]).toEqual([0, '']);
    expect(out).toMatch(/^<svg [\s\S]*telemetry[\s\S]*<\/svg>\n$/);
  });

  it.each([
    ['a.svg', '<svg '],
    ['a.DOT', 'digraph '],
    ['a.gv', 'digraph '],
    ['a.mmd', '---\ntitle: "One \\"link\\""\n---\nflowchart LR'],
    ['a.json', '{\n  "version": 1'],
  ])('takes the format from the name of %s', async (name, begin) => {
    const args = ['graph', path('hub.yaml'), '--output', path(name), '--title', 'One "link"'];
    expect(await inProcess(args)).toEqual({ code: 0, out: '', err: '' });
    expect((await readFile(path(name), 'utf8')).startsWith(begin)).toBe(true);
  });

  it('needs to be told the format where the name does not', async () => {
    const { code, out, err } = await inProcess(['graph', path('hub.yaml'), '-o', path('picture')]);
    expect([code, out]).toEqual([2, '']);
    expect(err).toContain('give --format');
    expect((await inProcess(['graph', path('hub.yaml'), '-o', path('picture'), '--format', 'dot'])).code).toBe(0);
  });

  it('draws what is wrong, and ends as check does', async () => {
    const named = [path('hub.yaml'), path('silent.yaml')];
    const { code, out, err } = await inProcess(['graph', ...named, '--format', 'json']);
    const checked = await inProcess(['check', ...named]);
    expect([code, checked.code]).toEqual([3, 3]);
    expect(err).not.toBe('');
    expect(checked.out.startsWith(err), 'the same words').toBe(true);
    const { edges, problems } = JSON.parse(out);
    expect(problems).toHaveLength(1);
    expect(edges).toMatchObject([{ id: 'telemetry/plant-a/hub', problems: [0] }]);
  });

  it('draws what it can read', async () => {
    const { code, out, err } = await inProcess(['graph', path('hub.yaml'), path('bad.yaml'), '--format', 'mermaid']);
    expect(code).toBe(3);
    expect(err).toContain('unknown key "colour"');
    expect(err).toContain('drawn without 1 of 2 files\n');
    expect(out).toContain('flowchart LR');
    expect(await inProcess(['graph', path('bad.yaml')])).toMatchObject({ code: 3, out: '' });
  });

  it('says why it cannot write', async () => {
    const { code, err } = await inProcess(['graph', path('hub.yaml'), '-o', path('none/a.svg')]);
    expect(code).toBe(1);
    expect(err).toMatch(/^causeway: ENOENT: .*none\/a\.svg'\n$/);
  });
});
