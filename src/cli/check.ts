import { resolve } from 'node:path';
import { Command } from 'commander';
import { checkGraph } from '../topology/check.ts';
import { loadTopology } from '../topology/load.ts';
import type { Plan } from '../topology/plan.ts';
import { formatProblem, type Problem } from '../topology/problem.ts';
import type { Cli } from './cli.ts';
import { exitCodes } from './exit-codes.ts';

const help = `
Each file is checked by itself, then all of them as one graph: whether declarations and grants fit, and whether the ends
of every link can reach each other. Secrets are not read and nothing is connected to. Every problem is shown, as
file:line:column with the way to put it right. Exit code 3 if there is an error; warnings alone are no failure.

Examples:
  causeway check topologies/hub.yaml
  causeway check topologies/*.yaml
`;

/** `causeway check FILE...`: what is wrong with topology files, all at once. */
export function checkCommand(cli: Cli): Command {
  return new Command('check')
    .description('check topology files, one by one and as one graph')
    .argument('<FILE...>', 'topology files, of one cluster or of many')
    .addHelpText('after', help)
    .action((files: readonly string[]) => check(cli, files));
}

function check(cli: Cli, named: readonly string[]): void {
  // One file under two names is one file, by the first of them.
  const paths = named.map((file) => resolve(file));
  const files = named.filter((_, i) => paths.indexOf(paths[i] ?? '') === i);
  const problems: Problem[] = [];
  const plans = new Map<string, Plan>();
  for (const file of files) {
    const loaded = loadTopology(file);
    problems.push(...(loaded.ok ? loaded.warnings : loaded.problems));
    if (loaded.ok) plans.set(file, loaded.plan);
  }
  problems.push(...checkGraph([...plans.values()]));
  for (const problem of problems) cli.out(`${formatProblem(problem)}\n`);
  const errors = problems.filter(({ severity }) => severity === 'error').length;
  const warnings = problems.length - errors;
  if (errors === 0) for (const [file, plan] of plans) cli.out(`${file}: ${describePlan(plan)}\n`);
  const leftOut = files.length - plans.size;
  // What hangs on a file that could not be read is not judged, and may bring up more.
  if (leftOut > 0 && files.length > 1) cli.out(`the graph was checked without ${count(leftOut, 'file')}\n`);
  cli.out(
    `${errors === 0 ? 'ok' : count(errors, 'error')}${warnings === 0 ? '' : `, ${count(warnings, 'warning')}`}\n`,
  );
  if (errors > 0) cli.finish(exitCodes.topologyInvalid);
}

function describePlan(plan: Plan): string {
  const parts = [
    count(plan.peers.length, 'peer'),
    count(plan.links.length, 'link'),
    count(plan.grants.length, 'grant'),
  ];
  return `cluster ${plan.cluster}, ${parts.join(', ')}`;
}

function count(number: number, what: string): string {
  return `${number} ${what}${number === 1 ? '' : 's'}`;
}
