import { Command, CommanderError } from 'commander';
import { FailureError } from '../wire/reasons.ts';
import { certsCommand } from './certs.ts';
import { checkCommand } from './check.ts';
import { type Cli, CliError, type CliHost } from './cli.ts';
import { demoCommand } from './demo.ts';
import { type ExitCode, exitCodes } from './exit-codes.ts';
import { gapsCommand } from './gaps.ts';
import { graphCommand } from './graph.ts';
import { initCommand } from './init.ts';
import { permissionsCommand } from './permissions.ts';
import { quarantineCommand } from './quarantine.ts';
import { runCommand } from './run.ts';
import { schemaCommand } from './schema.ts';
import { statusCommand } from './status.ts';
import { verifyCommand } from './verify.ts';

/** Every command, in the order of the help. A new one is a file and a line here. */
const commands: readonly ((cli: Cli) => Command)[] = [
  runCommand,
  checkCommand,
  graphCommand,
  initCommand,
  permissionsCommand,
  certsCommand,
  statusCommand,
  gapsCommand,
  verifyCommand,
  quarantineCommand,
  schemaCommand,
  demoCommand,
];

const epilogue = `
Exit codes: 0 fine, 1 failed, 2 bad usage, 3 topology invalid, 4 unhealthy, 5 no daemon answers.
CAUSEWAY_LOG sets the log level (debug, info, warn, error, silent); CAUSEWAY_DEBUG=1 shows where an error came from.
`;

/** Runs one command line, without the name of the program. Never throws: what goes wrong is told and becomes the code. */
export async function runCli(args: readonly string[], host: CliHost): Promise<ExitCode> {
  let code: ExitCode = exitCodes.ok;
  const cli: Cli = {
    ...host,
    finish: (finished) => {
      code = finished;
    },
  };
  const program = new Command(host.name)
    .description('Carries messages between NATS clusters along declared links: in order, exactly once.')
    .version(host.version, '-V, --version', 'print the version')
    .helpOption('-h, --help', 'show this help')
    .helpCommand(false)
    .addHelpText('after', epilogue)
    .exitOverride()
    .configureOutput({
      writeOut: (text) => host.out(text),
      writeErr: (text) => host.err(text),
      outputError: (text, write) => write(text.replace(/^error:/, `${host.name}:`)),
    });
  for (const make of commands) adopt(make(cli), program, host.name);
  try {
    await program.parseAsync(args, { from: 'user' });
    return code;
  } catch (thrown) {
    return explain(thrown, host);
  }
}

/** Puts a command under its parent, and its own commands (`gaps list`) under it. */
function adopt(command: Command, parent: Command, line: string): void {
  const own = `${line} ${command.name()}`;
  command
    .copyInheritedSettings(parent)
    .helpOption('-h, --help', 'show this help')
    .helpCommand(false)
    .showHelpAfterError(`See: ${own} --help`);
  if (!parent.commands.includes(command)) parent.addCommand(command);
  for (const inner of command.commands) adopt(inner, command, own);
}

function explain(thrown: unknown, host: CliHost): ExitCode {
  if (thrown instanceof CommanderError) return thrown.exitCode === 0 ? exitCodes.ok : exitCodes.usage;
  const debug = host.env.CAUSEWAY_DEBUG === '1';
  const message = thrown instanceof Error ? thrown.message : String(thrown);
  host.err(`${host.name}: ${message}\n`);
  if (debug && thrown instanceof Error) host.err(`${thrown.stack ?? ''}\n${causes(thrown)}`);
  if (thrown instanceof CliError) return thrown.code;
  if (!debug && !isExplained(thrown)) host.err('CAUSEWAY_DEBUG=1 shows where this came from.\n');
  return exitCodes.failed;
}

/** Failures by reason and errors of system calls say enough by themselves. */
function isExplained(thrown: unknown): boolean {
  return thrown instanceof FailureError || (thrown instanceof Error && 'syscall' in thrown);
}

function causes(error: Error): string {
  return error.cause instanceof Error ? `caused by ${error.cause.stack ?? error.cause.message}\n` : '';
}
