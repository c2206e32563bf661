import { readdirSync } from 'node:fs';
import { dirname, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import { checkGraph } from './check.ts';
import { loadTopology } from './load.ts';
import { formatProblem } from './problem.ts';

const root = fileURLToPath(new URL('../../topologies/', import.meta.url));
const files = readdirSync(root, { recursive: true, encoding: 'utf8' })
  .filter((name) => name.endsWith('.yaml'))
  .toSorted();

/** The example files of each folder are one graph. */
const graphs = [...new Set(files.map((name) => dirname(name)))].map(
  (folder) => [folder, files.filter((name) => dirname(name) === folder)] as const,
);

it('there are examples', () => {
  expect(files).toEqual(['hub.yaml', 'pair/east.yaml', 'pair/west.yaml', 'plant-a.yaml', 'plant-b.yaml']);
});

it.each(graphs)('the examples in %s are sound, each alone and all as one graph', (_, names) => {
  const plans = names.map((name) => {
    const loaded = loadTopology(`${root}${name}`);
    if (!loaded.ok) throw new Error(loaded.problems.map(formatProblem).join('\n'));
    expect(loaded.warnings.map(formatProblem)).toEqual([]);
    expect(`${loaded.plan.cluster}.yaml`, 'a file is named as its cluster').toBe(relative(dirname(name), name));
    return loaded.plan;
  });
  expect(checkGraph(plans).map(formatProblem)).toEqual([]);
  for (const { peers } of plans) {
    for (const { cluster } of peers) expect(plans.map((plan) => plan.cluster)).toContain(cluster);
  }
});
