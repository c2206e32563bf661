import { readdirSync } from 'node:fs';
import { dirname, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import { checkGraph } from './check.ts';
import { inGroup } from './groups.ts';
import { loadTopology } from './load.ts';
import { formatProblem } from './problem.ts';

const root = fileURLToPath(new URL('../../topologies/', import.meta.url));
const files = readdirSync(root, { recursive: true, encoding: 'utf8' })
  .filter((name) => name.endsWith('.yaml'))
  .toSorted();

/** Whose certificate a file for a whole fleet finds in this test. */
const member = 'edge-1';

/** The example files of each folder are one graph. */
const graphs = [...new Set(files.map((name) => dirname(name)))].map(
  (folder) => [folder, files.filter((name) => dirname(name) === folder)] as const,
);

it('there are examples', () => {
  expect(files).toContain('pair/east.yaml');
});

it.each(graphs)('the examples in %s are sound, each alone and all as one graph', (_, names) => {
  const plans = names.map((name) => {
    let fleet = false;
    const clusterOf = (): { cluster: string } => {
      fleet = true;
      return { cluster: member };
    };
    const loaded = loadTopology(`${root}${name}`, { clusterOf });
    if (!loaded.ok) throw new Error(loaded.problems.map(formatProblem).join('\n'));
    expect(loaded.warnings.map(formatProblem)).toEqual([]);
    if (!fleet)
      expect(`${loaded.plan.cluster}.yaml`, 'a file is named as its cluster').toBe(relative(dirname(name), name));
    return loaded.plan;
  });
  expect(checkGraph(plans).map(formatProblem)).toEqual([]);
  for (const { peers, groups } of plans) {
    for (const { cluster, nats } of peers)
      if (nats === undefined) expect(plans.map((plan) => plan.cluster)).toContain(cluster);
    for (const group of groups) expect(plans.some((plan) => inGroup(group, plan.cluster))).toBe(true);
  }
});
