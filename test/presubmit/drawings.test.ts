import { readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { loadFiles } from '../../src/cli/load-files.ts';
import { checkGraph } from '../../src/topology/check.ts';
import { drawSvg } from '../../src/topology/render-graph.ts';
import { textOf } from './tree.ts';

const root = fileURLToPath(new URL('../../topologies/', import.meta.url));
const examples = readdirSync(root, { withFileTypes: true }).filter((entry) => entry.isDirectory());

test.each(examples.map(({ name }) => name))('the drawing of topologies/%s is that of its files', async (name) => {
  const files = readdirSync(`${root}${name}`).filter((file) => file.endsWith('.yaml'));
  const { plans, problems } = loadFiles(files.map((file) => `${root}${name}/${file}`));
  const all = [...plans.values()];
  expect([...problems, ...checkGraph(all)]).toEqual([]);
  const drawing = await drawSvg(all, []);
  await expect(
    drawing,
    'stale; run: npx vitest run --project unit test/presubmit/drawings.test.ts -u',
  ).toMatchFileSnapshot(`../../topologies/${name}/graph.svg`);
  expect(textOf(`topologies/${name}/README.md`)).toContain('](graph.svg)');
});
