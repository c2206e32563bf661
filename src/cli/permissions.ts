import { basename } from 'node:path';
import { Command } from 'commander';
import type { PermissionsResult, UserPermissions } from '../brokers/nats/permissions.ts';
import type { Plan } from '../topology/plan.ts';
import { formatProblem } from '../topology/problem.ts';
import { parseServerVersion, parseStreamSubjects } from './arguments.ts';
import { type Cli, CliError } from './cli.ts';
import { exitCodes } from './exit-codes.ts';
import { loadFiles } from './load-files.ts';

const help = `
What the daemon's NATS user has to be allowed in its own cluster, for the links of the file and for those that its grants
allow: nothing more than that, each line with its reason, to be pasted into the entry of the user. If a link leaves the
subjects of its records as they are, only the sink stream knows them: name them with --stream.

A file with a cluster that the daemon reaches itself (peers.X.nats) needs a user there too: each has a part of its own.

Examples:
  causeway permissions hub.yaml --server 2.14
  causeway permissions hub.yaml --server 2.10.27 --stream 'ORDERS=order.>,refund.>'
  causeway permissions hub.yaml --server 2.14 --json
`;

interface PermissionsOptions {
  readonly server: readonly [number, number, number];
  readonly stream?: ReadonlyMap<string, readonly string[]>;
  readonly json?: boolean;
}

/** What a user may do in one cluster. */
interface Part extends UserPermissions {
  readonly cluster: string;
}

/** `causeway permissions FILE`: the permissions of the daemon's NATS user. */
export function permissionsCommand(cli: Cli): Command {
  return new Command('permissions')
    .description('print what the NATS user of a daemon must be allowed')
    .argument('<FILE>', 'topology file of the cluster')
    .requiredOption('--server <VERSION>', 'version of its NATS servers; of several, the newest', parseServerVersion)
    .option('--stream <NAME=SUBJECTS>', 'subjects of a sink stream; may be given several times', parseStreamSubjects)
    .option('--json', 'print them as JSON')
    .addHelpText('after', help)
    .action(async (file: string, options: PermissionsOptions) => {
      const parts = await partsOf(cli, file, options);
      if (parts === undefined) return;
      if (options.json) cli.out(`${JSON.stringify(parts, null, 2)}\n`);
      else cli.out(parts.map((part) => render(part, basename(file), options.server)).join('\n'));
    });
}

async function partsOf(cli: Cli, file: string, options: PermissionsOptions): Promise<Part[] | undefined> {
  const { plans, problems } = loadFiles([file]);
  for (const problem of problems) cli.err(`${formatProblem(problem)}\n`);
  const plan = plans.get(file);
  if (plan === undefined) {
    cli.finish(exitCodes.topologyInvalid);
    return undefined;
  }
  // With them comes the client of NATS, which no other command on files needs.
  const { permissionsOf } = await import('../brokers/nats/permissions.ts');
  const { servedPlan } = await import('../daemon/served.ts');
  const served = plan.peers.filter(({ nats }) => nats !== undefined).map((peer) => servedPlan(plan, peer));
  const parts: Part[] = [];
  for (const one of [plan, ...served]) {
    if (one.nats.embedded !== undefined) {
      cli.err(`${one.cluster}: the embedded server has no users, and needs no permissions\n`);
      continue;
    }
    const subjects = options.stream ?? new Map<string, readonly string[]>();
    parts.push({ cluster: one.cluster, ...settled(one, permissionsOf(one, options.server, subjects)) });
  }
  return parts;
}

function settled({ cluster }: Plan, result: PermissionsResult): UserPermissions {
  if (result.ok) return result.permissions;
  const lines = result.unclear.map(
    ({ stream, detail }) => `stream ${stream} of ${cluster}: ${detail}; add --stream '${stream}=SUBJECT,...'`,
  );
  throw new CliError(exitCodes.usage, lines.join('\n'));
}

/** In the language of nats-server's configuration. */
function render(part: Part, file: string, server: readonly number[]): string {
  const list = (of: UserPermissions['publish']): string => {
    const width = Math.max(...of.map(({ subject }) => subject.length)) + 2;
    return of.map(({ subject, why }) => `      ${JSON.stringify(subject).padEnd(width)}  # ${why}`).join('\n');
  };
  return `# Causeway's user in cluster ${part.cluster}, from ${file}, for nats-server ${server.join('.')}
permissions = {
  publish = {
    allow = [
${list(part.publish)}
    ]
  }
  subscribe = {
    allow = [
${list(part.subscribe)}
    ]
  }
}
`;
}
