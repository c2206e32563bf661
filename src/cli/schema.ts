import { Command } from 'commander';
import { jsonSchemaText } from '../topology/json-schema.ts';
import type { Cli } from './cli.ts';

const help = `
Editors that know JSON Schema complete and check topology files with it.

Examples:
  causeway schema > causeway.schema.json
  # then, in the first line of a topology file:
  # yaml-language-server: $schema=causeway.schema.json
`;

/** `causeway schema`: the JSON Schema of the topology file. */
export function schemaCommand(cli: Cli): Command {
  return new Command('schema')
    .description('print the JSON Schema of the topology file')
    .addHelpText('after', help)
    .action(() => cli.out(jsonSchemaText()));
}
