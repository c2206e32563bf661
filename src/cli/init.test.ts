import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { causeway } from '../../test/support/causeway.ts';
import { inProcess } from '../../test/support/in-process.ts';
import { tempDir } from '../../test/support/temp.ts';
import { checkFiles, loadTopology } from '../topology/load.ts';

/** Takes the # from examples, as a user would: every line from the one that holds `from` to the one that holds `to`. */
async function uncomment(file: string, from: string, to: string): Promise<void> {
  const lines = (await readFile(file, 'utf8')).split('\n');
  const [first, last] = [from, to].map((words) => lines.findIndex((line) => line.includes(words)));
  expect(first).toBeGreaterThan(0);
  expect(last).toBeGreaterThanOrEqual(first!);
  const use = (line: string, i: number): string => (i < first! || i > last! ? line : line.replace('#', ''));
  await writeFile(file, lines.map(use).join('\n'));
}

describe('init', () => {
  it('joins two clusters: two files, certificates, one link and its grant', async () => {
    await using dir = await tempDir('init');
    const [east, west, certs] = ['east.yaml', 'west.yaml', 'certs'].map((name) => join(dir.path, name)) as [
      string,
      string,
      string,
    ];
    const first = await inProcess(['init', east, '--listen', '127.0.0.1:7443', '--peer', 'west']);
    expect(first).toMatchObject({ code: 0, err: '' });
    expect(first.out).toContain('causeway certs --trust-domain trial east west');
    const dial = ['--dial', 'east=127.0.0.1:7443', '--server', 'nats://127.0.0.1:4223', '--monitor', '127.0.0.1:7445'];
    expect(await inProcess(['init', west, ...dial])).toMatchObject({ code: 0, err: '' });
    const check = () => inProcess(['check', east, west]);
    expect(await check()).toMatchObject({ code: 0, out: expect.stringMatching(/\nok\n$/) });

    const made = await inProcess(['certs', '--trust-domain', 'trial', '--dir', certs, 'east', 'west']);
    expect(made.code).toBe(0);
    for (const file of [east, west]) {
      const loaded = loadTopology(file);
      expect(loaded.ok && checkFiles(loaded.plan, {}), 'the certificates are where the file says').toEqual([]);
    }

    await uncomment(east, '#links:', 'start: all # or new');
    expect(await check()).toMatchObject({ code: 3, out: expect.stringContaining('no grant for orders/west/east') });
    await uncomment(west, '#grants:', 'may read our ORDERS');
    const held = [`${east}: cluster east, 1 peer, 1 link, 0 grants`, `${west}: cluster west, 1 peer, 0 links, 1 grant`];
    expect(await check()).toEqual({ code: 0, err: '', out: `${held.join('\n')}\nok\n` });
  });

  it('never replaces a file', async () => {
    await using dir = await tempDir('init');
    const file = join(dir.path, 'hub.yaml');
    await writeFile(file, 'mine');
    expect(await inProcess(['init', file])).toEqual({
      code: 1,
      out: '',
      err: `causeway: ${file} exists and is left as it is\n`,
    });
    expect(await readFile(file, 'utf8')).toBe('mine');
  });

  it('writes to standard output, and names the file after the cluster', async () => {
    await using dir = await tempDir('init');
    const { code, out, err } = await inProcess(['init', '-', '--cluster', 'hub', '--embedded', 'data/hub']);
    expect([code, err]).toEqual([0, '']);
    expect(out).toMatch(/^cluster: hub$/m);
    expect(out).toContain('embedded: { store: data/hub, port: 4222 }');
    expect(await causeway(['init', '--cluster', 'hub'], { cwd: dir.path })).toMatchObject({ code: 0 });
    expect(await readdir(dir.path)).toEqual(['hub.yaml']);
  });

  it.each([
    [['init'], 'what is the cluster called?'],
    [['init', '-'], 'what is the cluster called?'],
    [['init', 'My Cluster.yaml'], 'what is the cluster called?'],
    [['init', '-', '--cluster', 'Hub'], 'A cluster is named by'],
    [['init', '-', '--cluster', 'hub', '--dial', 'plant'], 'Write a peer and its address'],
    [['init', '-', '--cluster', 'hub', '--dial', 'plant=here'], '"here"'],
    [['init', '-', '--cluster', 'hub', '--peer', 'hub'], 'hub'],
    [['init', '-', '--cluster', 'hub', '--server', 'http://n'], 'http://n'],
    [['init', '-', '--cluster', 'hub', '--server', 'nats://n', '--embedded', 'd'], 'leave out --server'],
  ])('%j is bad usage: 2, said in words', async (args, words) => {
    const { code, out, err } = await inProcess(args);
    expect([code, out]).toEqual([2, '']);
    expect(err).toContain(words);
    expect(err).not.toMatch(/^\s+at /m);
  });
});
