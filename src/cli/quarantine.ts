import { Command } from 'commander';
import type { QuarantineItem } from '../daemon/quarantine-verbs.ts';
import { formatCount } from '../lib/format.ts';
import { type AdminOptions, callAdmin, withAdminOptions } from './admin-client.ts';
import { type Cli, CliError } from './cli.ts';
import { exitCodes } from './exit-codes.ts';
import { renderTable } from './table.ts';

const help = `
Goes to the admin socket of a running daemon, which the topology file names: --config, or CAUSEWAY_CONFIG, or
/etc/causeway/topology.yaml. LANES is LINK, LINK/PEER or LINK/FROM/TO.

Examples:
  causeway quarantine list
  causeway quarantine show --id 3f2a9c01de --json | jq -r .payload | base64 -d
  causeway quarantine retry orders/plant-a
  causeway quarantine drop --id 3f2a9c01de --dry-run
`;

interface ListOptions extends AdminOptions {
  readonly json?: boolean;
}

interface ChooseOptions extends ListOptions {
  readonly id?: readonly string[];
  readonly all?: boolean;
  readonly dryRun?: boolean;
}

/** `causeway quarantine`: records that the sinks of the daemon's clusters refused for good. */
export function quarantineCommand(cli: Cli): Command {
  const choosing = (name: string, description: string) =>
    withAdminOptions(new Command(name).description(description).argument('[LANES]'))
      .option('--id <ID>', 'one of them, by its id; may be repeated', (id: string, ids: readonly string[] = []) => [
        ...ids,
        id,
      ])
      .option('--all', 'all of them')
      .option('--json', 'print one JSON object per record and line');
  return new Command('quarantine')
    .description('look after records that a sink refused for good')
    .addHelpText('after', help)
    .addCommand(
      withAdminOptions(new Command('list').description('list them').argument('[LANES]'))
        .option('--json', 'print one JSON object per record and line')
        .action(async (lanes: string | undefined, options: ListOptions) => {
          const items = await told(cli, options, 'quarantine list', lanes === undefined ? {} : { lanes });
          if (options.json) return;
          cli.out(items.length === 0 ? 'no records in quarantine\n' : renderTable(columns, items.map(row)));
        }),
    )
    .addCommand(
      choosing('show', 'show them with headers and payload').action(
        async (lanes: string | undefined, options: ChooseOptions) => {
          const items = await told(cli, options, 'quarantine show', choice(lanes, options));
          if (!options.json) for (const item of items) cli.out(shown(item));
        },
      ),
    )
    .addCommand(
      choosing('retry', 'store them in their sinks again, marked and out of order')
        .option('--dry-run', 'only show which')
        .action((lanes: string | undefined, options: ChooseOptions) =>
          change(cli, 'quarantine retry', lanes, options, ['stored again', 'would be stored again']),
        ),
    )
    .addCommand(
      choosing('drop', 'take them out for good: nobody has them then but the source, if it does')
        .option('--dry-run', 'only show which')
        .action((lanes: string | undefined, options: ChooseOptions) =>
          change(cli, 'quarantine drop', lanes, options, ['dropped', 'would be dropped']),
        ),
    );
}

function choice(lanes: string | undefined, { id, all }: ChooseOptions): Readonly<Record<string, unknown>> {
  return {
    ...(lanes === undefined ? {} : { lanes }),
    ...(id === undefined ? {} : { ids: id }),
    ...(all ? { all } : {}),
  };
}

/** Prints what a verb did; fails if some of it failed. */
async function change(
  cli: Cli,
  verb: string,
  lanes: string | undefined,
  options: ChooseOptions,
  [done, wouldBe]: readonly [string, string],
): Promise<void> {
  const items = await told(cli, options, verb, choice(lanes, options), options.dryRun);
  const failed = items.filter((item) => item.failed !== undefined);
  if (!options.json) {
    if (items.length > 0)
      cli.out(
        renderTable(
          [...columns, 'RESULT'],
          items.map((item) => [...row(item), result(item)]),
        ),
      );
    const count = items.length - failed.length;
    cli.out(`${count === 1 ? '1 record' : `${formatCount(count)} records`} ${options.dryRun ? wouldBe : done}\n`);
  }
  if (failed.length > 0) throw new CliError(exitCodes.failed, `${formatCount(failed.length)} stay in quarantine`);
}

/** What a verb tells; with --json it is printed as it comes, and nothing is returned but what failed. */
async function told(
  cli: Cli,
  { json, ...options }: ListOptions,
  verb: string,
  args: Readonly<Record<string, unknown>>,
  dryRun = false,
): Promise<readonly QuarantineItem[]> {
  const items: QuarantineItem[] = [];
  const onItem = (value: unknown): void => {
    const item = value as QuarantineItem;
    if (json) cli.out(`${JSON.stringify(item)}\n`);
    if (!json || item.failed !== undefined) items.push(item);
  };
  await callAdmin(cli, options, { verb, args, dryRun, onItem });
  return items;
}

const columns = ['ID', 'LANE', 'POSITION', 'SUBJECT', 'BYTES', 'REASON', 'SINCE'];

function row({ id, lane, position, subject, payloadBytes, reason, at }: QuarantineItem): string[] {
  return [id, lane, position, subject, formatCount(payloadBytes), reason, at];
}

function result({ storedAt, stream, failed, failedDetail }: QuarantineItem): string {
  if (failed !== undefined) return `${failed}: ${failedDetail}`;
  return storedAt === undefined ? '' : `${stream} ${storedAt}`;
}

function shown(item: QuarantineItem): string {
  const { id, lane, position, origin, stream, subject, target, reason, detail, at } = item;
  const text = (base64 = '') => Buffer.from(base64, 'base64').toString('utf8');
  const lines = [
    `${id}  ${lane} ${position}, since ${at}`,
    `refused by ${stream}: ${reason}, ${detail}`,
    `subject ${subject}${target === undefined ? ', which cannot be mapped' : target === subject ? '' : `, as ${target}`}`,
    `first seen at ${origin}`,
  ];
  // What comes from elsewhere is shown without its control characters.
  const body = [text(item.headers), text(item.payload)].map((part) => part.replaceAll(/(?![\n\t])\p{Cc}/gu, '.'));
  return `${[...lines, ...body.filter((part) => part !== '')].join('\n')}\n\n`;
}
