import { Command } from 'commander';
import type { GapItem } from '../daemon/gap-verbs.ts';
import { formatCount, orUnknown } from '../lib/format.ts';
import { type AdminOptions, callAdmin, withAdminOptions } from './admin-client.ts';
import type { Cli } from './cli.ts';
import { renderTable } from './table.ts';

const help = `
Goes to the admin socket of a running daemon, which the topology file names: --config, or CAUSEWAY_CONFIG, or
/etc/causeway/topology.yaml. LANES is LINK, LINK/PEER or LINK/FROM/TO.

A gap that is acknowledged stays in the ledger and raises no alarm any more.

Examples:
  causeway gaps list --open
  causeway gaps list telemetry/plant-a --json | jq .records
  causeway gaps ack telemetry/plant-a --note "plant was flooded, see ticket 4711"
  causeway gaps ack --id 3f2a9c01de --dry-run
`;

interface ListOptions extends AdminOptions {
  readonly json?: boolean;
  readonly open?: boolean;
}

interface AckOptions extends AdminOptions {
  readonly id?: readonly string[];
  readonly all?: boolean;
  readonly note?: string;
  readonly by?: string;
  readonly dryRun?: boolean;
  readonly json?: boolean;
}

/** `causeway gaps`: what will never arrive, as the ledger at the sinks has it. */
export function gapsCommand(cli: Cli): Command {
  return new Command('gaps')
    .description('list and acknowledge what was lost at the source')
    .addHelpText('after', help)
    .addCommand(
      withAdminOptions(new Command('list').description('list the gaps that the ledger holds').argument('[LANES]'))
        .option('--open', 'only those that nobody acknowledged')
        .option('--json', 'print one JSON object per gap and line')
        .action((lanes: string | undefined, options: ListOptions) => list(cli, lanes, options)),
    )
    .addCommand(
      withAdminOptions(new Command('ack').description('say that gaps are known').argument('[LANES]'))
        .option('--id <ID>', 'one of them, by its id; may be repeated', (id: string, ids: readonly string[] = []) => [
          ...ids,
          id,
        ])
        .option('--all', 'all of them')
        .option('--note <TEXT>', 'what there is to say about them')
        .option('--by <NAME>', 'who says so (default: the user of this shell)')
        .option('--dry-run', 'only show what would be acknowledged')
        .option('--json', 'print one JSON object per gap and line')
        .action((lanes: string | undefined, options: AckOptions) => ack(cli, lanes, options)),
    );
}

async function list(cli: Cli, lanes: string | undefined, options: ListOptions): Promise<void> {
  const args = { ...(lanes === undefined ? {} : { lanes }), ...(options.open ? { open: true } : {}) };
  const items = await show(cli, options, 'gaps list', args);
  if (!options.json && items === 0) cli.out(options.open ? 'no gaps that wait to be acknowledged\n' : 'no gaps\n');
}

async function ack(cli: Cli, lanes: string | undefined, options: AckOptions): Promise<void> {
  const { id, all, note, by, dryRun = false, json } = options;
  const args = {
    ...(lanes === undefined ? {} : { lanes }),
    ...(id === undefined ? {} : { ids: id }),
    ...(all ? { all } : {}),
    ...(note === undefined ? {} : { note }),
    by: by ?? userOf(cli),
  };
  const count = await show(cli, options, 'gaps ack', args, dryRun);
  if (json) return;
  const gaps = count === 1 ? '1 gap' : `${formatCount(count)} gaps`;
  cli.out(
    count === 0 ? 'nothing to acknowledge\n' : `${gaps} ${dryRun ? 'would be' : ''} acknowledged\n`.replace('  ', ' '),
  );
}

/** Prints the gaps that a verb tells, and returns how many there were. */
async function show(
  cli: Cli,
  options: AdminOptions & { readonly json?: boolean },
  verb: string,
  args: Readonly<Record<string, unknown>>,
  dryRun = false,
): Promise<number> {
  const items: GapItem[] = [];
  let count = 0;
  const onItem = (item: unknown): void => {
    count++;
    if (options.json) cli.out(`${JSON.stringify(item)}\n`);
    else items.push(item as GapItem);
  };
  await callAdmin(cli, options, { verb, args, dryRun, onItem });
  if (items.length > 0) cli.out(renderTable(columns, items.map(row)));
  return count;
}

/** Behind sudo, who was there before. */
function userOf({ env }: Cli): string {
  return env.SUDO_USER || env.USER || env.LOGNAME || 'unknown';
}

const columns = ['ID', 'LANE', 'REASON', 'RECORDS', 'AFTER', 'UP TO', 'SINCE', 'ACKNOWLEDGED'];

function row(gap: GapItem): string[] {
  const { acknowledged } = gap;
  const known =
    acknowledged === undefined
      ? ''
      : [`${acknowledged.at} by ${acknowledged.by}`, acknowledged.note].filter((part) => part !== undefined).join(': ');
  return [gap.id, gap.lane, gap.reason, orUnknown(gap.records, formatCount), gap.after, gap.upTo, gap.at, known];
}
