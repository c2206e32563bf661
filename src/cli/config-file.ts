import { resolve } from 'node:path';
import { type Cli, CliError } from './cli.ts';
import { exitCodes } from './exit-codes.ts';

export const defaultFile = '/etc/causeway/topology.yaml';

/** The topology file of the daemon: as it was given, or CAUSEWAY_CONFIG, or the usual one. */
export function chooseFile(cli: Cli, argument: string | undefined, option: string | undefined): string {
  if (argument !== undefined && option !== undefined && resolve(argument) !== resolve(option)) {
    throw new CliError(exitCodes.usage, `two files were given: ${argument} and --config ${option}`);
  }
  // An empty variable is what is left of one that somebody forgot to set.
  return argument ?? option ?? (cli.env.CAUSEWAY_CONFIG || defaultFile);
}
