import { Command } from 'commander';
import type { GapItem } from '../daemon/gap-verbs.ts';
import { formatCount, orUnknown } from '../lib/format.ts';
import { type AdminOptions, callAdmin, withAdminOptions } from './admin-client.ts';
import type { Cli } from './cli.ts';
import { renderTable } from './table.ts';

const help = `
Goes to the admin socket of a running daemon, which the topology file names: --config, or CAUSEWAY_CONFIG, or
/etc/causeway/topology.yaml. LANES is LINK, LINK/PEER or LINK/FROM/TO.

Examples:
  causeway gaps list
  causeway gaps list telemetry/plant-a --config hub.yaml
  causeway gaps list --json | jq .lane
`;

interface ListOptions extends AdminOptions {
  readonly json?: boolean;
}

/** `causeway gaps`: what will never arrive, as the ledger at the sinks has it. */
export function gapsCommand(cli: Cli): Command {
  return new Command('gaps')
    .description('list what was lost at the source')
    .addHelpText('after', help)
    .addCommand(
      withAdminOptions(new Command('list').description('list the gaps that the ledger holds').argument('[LANES]'))
        .option('--json', 'print one JSON object per gap and line')
        .action((lanes: string | undefined, options: ListOptions) => list(cli, lanes, options)),
    );
}

async function list(cli: Cli, lanes: string | undefined, options: ListOptions): Promise<void> {
  const items: GapItem[] = [];
  await callAdmin(cli, options, {
    verb: 'gaps list',
    args: lanes === undefined ? {} : { lanes },
    onItem: (item) => {
      if (options.json) cli.out(`${JSON.stringify(item)}\n`);
      else items.push(item as GapItem);
    },
  });
  if (options.json) return;
  cli.out(items.length === 0 ? 'no gaps\n' : renderTable(columns, items.map(row)));
}

const columns = ['ID', 'LANE', 'REASON', 'RECORDS', 'AFTER', 'UP TO', 'SINCE'];

function row(gap: GapItem): string[] {
  return [gap.id, gap.lane, gap.reason, orUnknown(gap.records, formatCount), gap.after, gap.upTo, gap.at];
}
