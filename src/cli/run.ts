import { Command } from 'commander';
import { logLevels } from '../lib/logger.ts';
import { createLogger, isLogLevel, type RootLogger } from '../ops/log.ts';
import { clusterOfCertificate } from '../security/certs.ts';
import { checkFiles, loadTopology } from '../topology/load.ts';
import type { Plan } from '../topology/plan.ts';
import { formatProblem, quote } from '../topology/problem.ts';
import { parseDurationMs } from './arguments.ts';
import { checkCertificateFiles } from './check-certificates.ts';
import { type Cli, CliError } from './cli.ts';
import { chooseFile, defaultFile } from './config-file.ts';
import { exitCodes } from './exit-codes.ts';
import { type Served, serve } from './serve.ts';

const help = `
The file is FILE, or --config, or CAUSEWAY_CONFIG, or ${defaultFile}.
SIGTERM and SIGINT drain: sources stop, what is in flight is stored and acknowledged, exit code 0. A second signal ends
the daemon at once with exit code 1; nothing is lost by that either, the next start goes on where the sink stands.
The file is watched: a new version of it is taken over while the daemon runs, and SIGHUP has it read at once. Only lanes that it
changes restart; a version that cannot be used changes nothing, and the status says why.

Examples:
  causeway run topologies/hub.yaml
  CAUSEWAY_CONFIG=/etc/causeway/plant.yaml causeway run --drain-timeout 10s
  CAUSEWAY_LOG=debug causeway run --config hub.yaml
`;

interface RunOptions {
  readonly config?: string;
  readonly drainTimeout: number;
}

/** `causeway run [FILE]`: the daemon of one cluster, in the foreground. */
export function runCommand(cli: Cli): Command {
  return new Command('run')
    .description('run the daemon of one cluster')
    .argument('[FILE]', 'topology file of this cluster')
    .option('-c, --config <FILE>', 'the same, as an option')
    .option('--drain-timeout <TIME>', 'how long a stopping daemon may drain', parseDurationMs, parseDurationMs('30s'))
    .addHelpText('after', help)
    .action(async (file: string | undefined, options: RunOptions) => {
      await run(cli, chooseFile(cli, file, options.config), options.drainTimeout);
    });
}

/** JSON by default, lines for people on a terminal. */
function openLog(cli: Cli): RootLogger {
  const level = cli.env.CAUSEWAY_LOG || 'info';
  if (!isLogLevel(level)) {
    throw new CliError(
      exitCodes.usage,
      `CAUSEWAY_LOG is ${quote(level)}; it takes ${[...logLevels, 'silent'].join(', ')}`,
    );
  }
  const pretty = cli.stderrIsTerminal;
  return createLogger({ level, pretty, color: pretty && !cli.env.NO_COLOR });
}

async function run(cli: Cli, file: string, drainTimeoutMs: number): Promise<void> {
  const log = openLog(cli);
  try {
    const loaded = loadTopology(file, { clusterOf: clusterOfCertificate });
    const problems = loaded.ok ? checkFiles(loaded.plan, cli.env) : loaded.problems;
    if (!loaded.ok || problems.length > 0) {
      for (const problem of problems) cli.err(`${formatProblem(problem)}\n`);
      cli.finish(exitCodes.topologyInvalid);
      return;
    }
    const warnings = [...loaded.warnings, ...checkCertificateFiles(loaded.plan)];
    for (const warning of warnings) log.warn('topology-warning', { text: formatProblem(warning) });
    const start = (): Promise<Served> => startDaemon(loaded.plan, log, cli.version);
    cli.finish(await serve(start, { log, drainTimeoutMs, signals: cli.signals }));
  } finally {
    log.flush();
  }
}

/** Only a daemon needs the daemon: other commands start without loading it. */
async function startDaemon(plan: Plan, log: RootLogger, version: string): Promise<Served> {
  const daemon = await import('../daemon/daemon.ts');
  try {
    return await daemon.startDaemon(plan, { log, version });
  } catch (error) {
    if (!(error instanceof Error && error.message.includes('EADDRINUSE'))) throw error;
    const option = error.message.includes('monitor address') ? 'monitor' : 'listen';
    const hint = `does another daemon run here? If it may, change "${option}" in ${plan.file}`;
    throw new CliError(exitCodes.failed, `${error.message}: ${hint}`, { cause: error });
  }
}
