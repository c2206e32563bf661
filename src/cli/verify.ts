import { Command, InvalidArgumentError } from 'commander';
import type { VerifyItem, VerifyProgress, VerifyReport, VerifyResult } from '../daemon/verify-verb.ts';
import { formatCount } from '../lib/format.ts';
import { type AdminOptions, callAdmin, withAdminOptions } from './admin-client.ts';
import { parseDurationMs } from './arguments.ts';
import { type Cli, CliError } from './cli.ts';
import { exitCodes } from './exit-codes.ts';
import { renderTable } from './table.ts';

const help = `
Has the daemon compare lanes with the daemon at their other end: each reads its own stream again, and only digests cross. LANES is
LINK, LINK/PEER or LINK/FROM/TO; it has to begin or end at the daemon that is asked. Lanes may run meanwhile: what is compared ends at
what the sink has stored when it begins. Every record that is missing, differs, is extra or stands there twice is named.

--since and --until speak of records at the source: a sequence, a time such as 2026-05-01T12:00:00Z, or how long ago (90m).

Exit code 0 if every lane is equal, 1 if one differs, 2 if one could not be verified, 5 if no daemon answers.

Examples:
  causeway verify telemetry
  causeway verify orders/plant-a --since 24h
  causeway verify telemetry/plant-a/hub --sample 5 --json
`;

type Limit = { readonly sequence: number } | { readonly timeMs: number };

interface VerifyOptions extends AdminOptions {
  readonly since?: Limit;
  readonly until?: Limit;
  readonly sample?: number;
  readonly json?: boolean;
}

/** `causeway verify`: whether what the source of a lane holds is in its sink, once and unchanged. */
export function verifyCommand(cli: Cli): Command {
  return withAdminOptions(new Command('verify').description('compare lanes end to end').argument('<LANES>'))
    .option('--since <WHEN>', 'from this record of the source on', parseLimit)
    .option('--until <WHEN>', 'up to this record of the source', parseLimit)
    .option('--sample <PERCENT>', 'look at a share of the records, at random places', parseShare)
    .option('--json', 'print one JSON object per difference and lane')
    .addHelpText('after', help)
    .action((lanes: string, options: VerifyOptions) => verify(cli, lanes, options));
}

async function verify(cli: Cli, lanes: string, options: VerifyOptions): Promise<void> {
  const { since, until, sample, json } = options;
  const reports: VerifyReport[] = [];
  const progress = new ProgressLine(cli);
  const args = { lanes, ...limitArgs('since', since), ...limitArgs('until', until), ...sampleArgs(sample) };
  let result: VerifyResult;
  try {
    result = (await callAdmin(cli, options, {
      verb: 'verify',
      args,
      onProgress: (value) => progress.show(value as VerifyProgress),
      onItem: (value) => {
        const item = value as VerifyItem;
        progress.clear();
        if (json) cli.out(`${JSON.stringify(item)}\n`);
        else if ('difference' in item) cli.out(`${differenceText(item.difference)}\n`);
        if ('report' in item) reports.push(item.report);
      },
    })) as VerifyResult;
  } catch (error) {
    // That it could not be done is not that records differ.
    if (error instanceof CliError && error.code === exitCodes.failed)
      throw new CliError(exitCodes.usage, error.message, { cause: error });
    throw error;
  } finally {
    progress.clear();
  }
  if (!json) cli.out(renderReports(reports, sample));
  if (result.unverified > 0) cli.finish(exitCodes.usage);
  else if (result.different > 0) cli.finish(exitCodes.failed);
}

function differenceText(difference: Extract<VerifyItem, { readonly difference: unknown }>['difference']): string {
  const { kind, lane, origin, sequence, timeMs, position, sinkSequences } = difference;
  const at = sinkSequences.length === 0 ? '' : `, in the sink at ${sinkSequences.join(', ')}`;
  const on = position === undefined || position === sequence ? '' : `, position ${position}`;
  return `${kind} ${lane}: ${origin} ${sequence} of ${new Date(timeMs).toISOString()}${on}${at}`;
}

const columns = ['LANE', 'VERDICT', 'FROM', 'UP TO', 'RECORDS', 'MISSING', 'DIFFER', 'EXTRA', 'REPEATED'];

function renderReports(reports: readonly VerifyReport[], sample: number | undefined): string {
  const rows = reports.map((report): string[] => {
    if (report.verdict === 'unverified') return [report.lane, report.verdict, ...columns.slice(2).map(() => '-')];
    const { lane, verdict, positions, records, missing, differing, extra, repeated } = report;
    const range = positions === undefined ? ['-', '-'] : [formatCount(positions.from), formatCount(positions.upTo)];
    return [lane, verdict, ...range, ...[records, missing, differing, extra, repeated].map(formatCount)];
  });
  const notes = reports.flatMap(notesOn);
  if (sample !== undefined && sample < 100) notes.unshift(`only ${sample} % of the records were looked at`);
  return `${renderTable(columns, rows)}${notes.map((note) => `${note}\n`).join('')}`;
}

/** What the columns do not say. */
function notesOn(report: VerifyReport): string[] {
  const { lane } = report;
  if (report.verdict === 'unverified') return [`${lane}: could not be verified: ${report.reason}: ${report.detail}`];
  const { positions, expired, gone, gaps, lost } = report;
  const notes: string[] = [];
  if (positions === undefined) notes.push('there is nothing to compare');
  if (expired > 0) notes.push(`${formatCount(expired)} no longer in the sink, by its limits or a purge`);
  if (gone > 0) notes.push(`${formatCount(gone)} no longer at the source`);
  if (gaps > 0)
    notes.push(`lost at the source before: ${formatCount(lost)} in ${formatCount(gaps)} gaps (causeway gaps list)`);
  return notes.map((note) => `${lane}: ${note}`);
}

function limitArgs(name: 'since' | 'until', limit: Limit | undefined): Readonly<Record<string, number>> {
  if (limit === undefined) return {};
  return 'sequence' in limit ? { [`${name}Sequence`]: limit.sequence } : { [`${name}TimeMs`]: limit.timeMs };
}

function sampleArgs(sample: number | undefined): Readonly<Record<string, number>> {
  return sample === undefined ? {} : { samplePercent: sample };
}

/** A sequence, a time, or how long ago. */
function parseLimit(text: string): Limit {
  if (/^\d{1,15}$/.test(text)) return { sequence: Number(text) };
  if (/^\d+(ms|s|m|h)$/.test(text)) return { timeMs: Math.max(0, Date.now() - parseDurationMs(text)) };
  const timeMs = /^\d{4}-\d\d-\d\d/.test(text) ? Date.parse(text) : Number.NaN;
  if (!(timeMs >= 0))
    throw new InvalidArgumentError('Write a sequence, a time such as 2026-05-01T12:00:00Z, or how long ago, as 90m.');
  return { timeMs };
}

function parseShare(text: string): number {
  const percent = /^\d{1,3}%?$/.test(text) ? Number.parseInt(text, 10) : 0;
  if (percent < 1 || percent > 100) throw new InvalidArgumentError('Write a whole number of percent, from 1 to 100.');
  return percent;
}

/** How often a place that keeps everything is told how far it is. */
const plainEveryMs = 5000;
const steps = { source: 'reading the source', sink: 'reading the sink', records: 'comparing records' } as const;

/** How far it is, on standard error: one line that changes on a terminal, a line now and then anywhere else. */
class ProgressLine {
  readonly #cli: Cli;
  #isShown = false;
  #shownMs = performance.now();

  constructor(cli: Cli) {
    this.#cli = cli;
  }

  show({ lane, step, read, total }: VerifyProgress): void {
    const share = total === 0 ? '' : ` ${Math.floor((100 * read) / total)} %`;
    const text = `${lane}: ${steps[step]}${share}`;
    if (this.#cli.stderrIsTerminal) {
      this.#cli.err(`\r\x1b[K${text}`);
      this.#isShown = true;
    } else if (performance.now() - this.#shownMs >= plainEveryMs) {
      this.#shownMs = performance.now();
      this.#cli.err(`${text}\n`);
    }
  }

  clear(): void {
    if (this.#isShown) this.#cli.err('\r\x1b[K');
    this.#isShown = false;
  }
}
