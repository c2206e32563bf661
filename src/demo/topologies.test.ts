import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { checkGraph, checkPlan } from '../topology/check.ts';
import { loadTopology } from '../topology/load.ts';
import { formatProblem } from '../topology/problem.ts';
import { makeFolder, removeFolder } from './folder.ts';
import { clusters, picture, topologyOf } from './topologies.ts';

it('is a topology that check has nothing to say about', async () => {
  const dir = await makeFolder();
  try {
    const plans = [];
    for (const [i, cluster] of clusters.entries()) {
      const path = join(dir, `${cluster}.yaml`);
      const ports = { nats: 20_000 + i, monitor: 20_100 + i };
      await writeFile(path, topologyOf(cluster, ports, { hub: 20_200, plantA: 20_201 }));
      const loaded = loadTopology(path);
      if (!loaded.ok) throw new Error(loaded.problems.map(formatProblem).join('\n'));
      plans.push(loaded.plan);
    }
    expect([...plans.flatMap(checkPlan), ...checkGraph(plans)].map(formatProblem)).toEqual([]);
  } finally {
    await removeFolder(dir);
  }
});

it('has a picture that fits on a terminal and ends its lines where they end', () => {
  for (const line of picture.split('\n')) {
    expect(line.length).toBeLessThan(80);
    expect(line).toBe(line.trimEnd());
  }
});
