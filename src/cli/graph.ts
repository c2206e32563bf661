import { writeFile } from 'node:fs/promises';
import { extname } from 'node:path';
import { Command, Option } from 'commander';
import { checkGraph } from '../topology/check.ts';
import { formatProblem, inReadingOrder } from '../topology/problem.ts';
import { type GraphFormat, graphFormats, renderGraph } from '../topology/render-graph.ts';
import { type Cli, CliError } from './cli.ts';
import { exitCodes } from './exit-codes.ts';
import { loadFiles } from './load-files.ts';

const help = `
Draws the topology that the files make together: clusters with their streams, links in the direction of the records, groups
as one box, and who dials. A peer without a file among those given is dashed. What "causeway check" would find is marked in
the picture and told on standard error, and the exit code is the same.

svg is a drawing that follows the light or dark scheme of whoever looks at it; mermaid goes into Markdown between three
backticks; dot is for Graphviz; json is the same for programs. The same files give the same bytes.

Examples:
  causeway graph topologies/*.yaml --output topology.svg
  causeway graph hub.yaml plant-a.yaml --format mermaid
  causeway graph topologies/*.yaml --format json | jq '.edges[] | select(.problems != [])'
`;

interface GraphOptions {
  readonly format?: GraphFormat;
  readonly output?: string;
  readonly title?: string;
}

/** `causeway graph FILE...`: a picture of topology files. */
export function graphCommand(cli: Cli): Command {
  return new Command('graph')
    .description('draw topology files as one graph')
    .argument('<FILE...>', 'topology files, of one cluster or of many')
    .addOption(
      new Option('--format <FORMAT>', 'what to write; default: by the name of --output, or svg').choices(graphFormats),
    )
    .option('-o, --output <FILE>', 'write to a file instead of standard output')
    .option('--title <TEXT>', 'title of the picture; default: the clusters')
    .addHelpText('after', help)
    .action((files: readonly string[], options: GraphOptions) => graph(cli, files, options));
}

async function graph(cli: Cli, named: readonly string[], options: GraphOptions): Promise<void> {
  const { output, title } = options;
  const format = options.format ?? formatOf(output);
  const { plans, files, standIns, ...loaded } = loadFiles(named);
  const used = [...plans.values()];
  const problems = inReadingOrder([...loaded.problems, ...checkGraph(used)]);
  for (const problem of problems) cli.err(`${formatProblem(problem)}\n`);
  for (const [file, cluster] of standIns)
    cli.err(`${file}: its certificate is not here; drawn as the cluster ${cluster}\n`);
  if (used.length > 0) {
    const text = await renderGraph(format, used, problems, title);
    if (output === undefined) cli.out(text);
    else await writeFile(output, text);
  }
  const leftOut = files.length - plans.size;
  if (leftOut > 0) cli.err(`drawn without ${leftOut} of ${files.length} files\n`);
  if (problems.some(({ severity }) => severity === 'error')) cli.finish(exitCodes.topologyInvalid);
}

const extensions: Readonly<Record<string, GraphFormat>> = {
  '.svg': 'svg',
  '.dot': 'dot',
  '.gv': 'dot',
  '.mmd': 'mermaid',
  '.mermaid': 'mermaid',
  '.json': 'json',
};

function formatOf(output: string | undefined): GraphFormat {
  if (output === undefined) return 'svg';
  const format = extensions[extname(output).toLowerCase()];
  if (format === undefined)
    throw new CliError(exitCodes.usage, `--output ${output} does not tell the format: give --format`);
  return format;
}
