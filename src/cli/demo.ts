import { Command } from 'commander';
import { parseWhole } from './arguments.ts';
import type { Cli } from './cli.ts';
import { exitCodes } from './exit-codes.ts';

const help = `
Starts a hub and two plants on this machine, each with a nats-server of its own and certificates made for the occasion:
telemetry of the plants comes in (fan-in), recipes of the hub go out (fan-out), and orders are kept alike in all three
(replicate). Applications write, servers and daemons are killed in the middle, and at the end every sink is read to see
whether each record is there once and in order. Needs a nats-server: on PATH, or named in NATS_SERVER.

Exit code 0 only if every lane is clean. Ctrl-C ends everything.

Examples:
  causeway demo
  causeway demo --seconds 120 --rate 200
  causeway demo --keep                  # leaves topology files, certificates, stores and logs to look at
`;

interface DemoCommandOptions {
  readonly seconds: number;
  readonly rate?: number;
  readonly keep?: boolean;
}

/** `causeway demo`: a link of each kind, outages, and the verdict. */
export function demoCommand(cli: Cli): Command {
  return new Command('demo')
    .description('show links of every kind between three clusters, with outages and a verdict')
    .option('--seconds <N>', 'how long the applications write', parseWhole(3, 86_400), 20)
    .option(
      '--rate <N>',
      'records a second of the sensors at each plant; default: up to 1000, as the disk allows',
      parseWhole(1, 20_000),
    )
    .option('--keep', 'leave the folder of the run')
    .addHelpText('after', help)
    .action((options: DemoCommandOptions) => demo(cli, options));
}

async function demo(cli: Cli, { seconds, rate, keep = false }: DemoCommandOptions): Promise<void> {
  const { runDemo } = await import('../demo/demo.ts');
  const ending = new AbortController();
  const end = (): void => ending.abort();
  const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'];
  for (const signal of signals) cli.signals.on(signal, end);
  try {
    const { out, stdoutColumns: columns } = cli;
    const clean = await runDemo({ seconds, perSecond: rate, keep, out, columns, signal: ending.signal });
    if (!clean) cli.finish(exitCodes.failed);
  } finally {
    for (const signal of signals) cli.signals.off(signal, end);
  }
}
