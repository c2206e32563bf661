import { Command } from 'commander';
import { healthz } from '../ops/health.ts';
import type { DaemonStatus } from '../ops/status.ts';
import { parseMonitor } from './arguments.ts';
import { type Cli, CliError } from './cli.ts';
import { exitCodes } from './exit-codes.ts';
import { renderStatus } from './status-text.ts';

const timeoutMs = 5_000;
const defaultMonitor = 'http://127.0.0.1:7444';

const help = `
Asks the monitor address of a running daemon and shows its groups, peers and lanes. What the daemon does not know is shown as
unknown, never as zero; a lag with >= may be larger, since the source was last heard of a while ago. STATE and REASON are
explained in docs/operations.md.

A list of more than 20 peers or lanes is shown without those that are in order, which are counted; --all shows every one. ANSWERED
tells of a peer that has not answered the topology file as it runs here: which generation of which.

Exit code 0 if the daemon is healthy, 4 if it is not, 5 if none answers.

Examples:
  causeway status
  causeway status --monitor http://10.0.0.5:7444
  causeway status --all
  causeway status --json | jq '.lanes[] | select(.state != "live")'
`;

interface StatusOptions {
  readonly monitor: URL;
  readonly json?: boolean;
  readonly all?: boolean;
}

/** `causeway status`: what a running daemon says of itself. */
export function statusCommand(cli: Cli): Command {
  return new Command('status')
    .description('show groups, peers and lanes of a running daemon')
    .option('--monitor <URL>', 'monitor address of the daemon', parseMonitor, parseMonitor(defaultMonitor))
    .option('--json', 'print the status as JSON')
    .option('--all', 'show all of long lists')
    .addHelpText('after', help)
    .action(async ({ monitor, json, all }: StatusOptions) => {
      const status = await fetchStatus(monitor);
      const health = healthz(status);
      cli.out(json ? `${JSON.stringify(status, null, 2)}\n` : renderStatus(status, health, { all }));
      if (!health.ok) cli.finish(exitCodes.unhealthy);
    });
}

async function fetchStatus(monitor: URL): Promise<DaemonStatus> {
  const url = new URL('statusz', monitor);
  let value: unknown;
  try {
    const response = await fetch(url, { redirect: 'error', signal: AbortSignal.timeout(timeoutMs) });
    if (!response.ok) throw new Error(`HTTP ${response.status}`);
    value = await response.json();
  } catch (thrown) {
    throw new CliError(exitCodes.unreachable, `no daemon answers at ${url}: ${why(thrown)}`, { cause: thrown });
  }
  if (!isStatus(value)) throw new CliError(exitCodes.unreachable, `what answers at ${url} is not a Causeway daemon`);
  return value;
}

/** `fetch` says "fetch failed"; what happened is in its cause. */
function why(thrown: unknown): string {
  if (!(thrown instanceof Error)) return String(thrown);
  if (thrown.name === 'TimeoutError') return `nothing within ${timeoutMs / 1000} s`;
  const { cause } = thrown;
  if (!(cause instanceof Error)) return thrown.message;
  return cause.message || ('code' in cause ? String(cause.code) : cause.name);
}

/** Enough to tell a daemon from anything else that speaks HTTP. */
function isStatus(value: unknown): value is DaemonStatus {
  if (typeof value !== 'object' || value === null) return false;
  const { cluster, nowMs, nats, served, peers, groups, links, lanes } = value as Partial<
    Record<keyof DaemonStatus, unknown>
  >;
  return (
    typeof cluster === 'string' &&
    typeof nowMs === 'number' &&
    typeof nats === 'object' &&
    nats !== null &&
    [served, peers, groups, links, lanes].every(Array.isArray)
  );
}
