import { Command } from 'commander';
import { checkGraph } from '../topology/check.ts';
import type { Plan } from '../topology/plan.ts';
import { formatProblem } from '../topology/problem.ts';
import { checkCertificateFiles } from './check-certificates.ts';
import type { Cli } from './cli.ts';
import { exitCodes } from './exit-codes.ts';
import { loadFiles } from './load-files.ts';

const help = `
Each file is checked by itself, then all of them as one graph: whether declarations and grants fit, and whether the ends
of every link can reach each other. The files under tls are looked into
if they are here; other secrets are not read and nothing is connected to. Every problem is shown, as
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
  const { plans, files, standIns, ...loaded } = loadFiles(named);
  const problems = [...loaded.problems];
  problems.push(...checkGraph([...plans.values()]));
  // A stand-in is checked under a name that no certificate has.
  for (const [file, plan] of plans) if (!standIns.has(file)) problems.push(...checkCertificateFiles(plan));
  for (const problem of problems) cli.out(`${formatProblem(problem)}\n`);
  const errors = problems.filter(({ severity }) => severity === 'error').length;
  const warnings = problems.length - errors;
  if (errors === 0)
    for (const [file, plan] of plans) {
      cli.out(`${file}: ${describePlan(plan)}\n`);
      for (const line of drains(plan)) cli.out(`${file}: ${line}\n`);
    }
  for (const [file, cluster] of standIns)
    cli.out(`${file}: its certificate is not here; checked as the cluster ${cluster}\n`);
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
    ...(plan.groups.length === 0 ? [] : [count(plan.groups.length, 'group')]),
    count(plan.links.length, 'link'),
    count(plan.grants.length, 'grant'),
  ];
  return `cluster ${plan.cluster}, ${parts.join(', ')}`;
}

/** What links take away at their sources: nobody shall learn that only when it is gone. */
function drains({ links }: Plan): string[] {
  return links.flatMap(({ name, from, to }) => {
    if (from.consume === undefined) return [];
    const sources = from.clusters.map((cluster) => `${cluster}/${from.stream}`).join(', ');
    return [`link ${name} drains ${sources}: a record goes from there once ${to.clusters.join()}/${to.stream} has it`];
  });
}

function count(number: number, what: string): string {
  return `${number} ${what}${number === 1 ? '' : 's'}`;
}
