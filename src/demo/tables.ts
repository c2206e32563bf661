import { formatCount, orUnknown } from '../lib/format.ts';
import type { LaneVerdict } from './tally.ts';

/** One lane at one moment. */
export interface LaneView {
  readonly lane: string;
  readonly sent: number;
  /** As last heard of; undefined before that. */
  readonly stored: number | undefined;
  readonly perSecond: number | undefined;
  /** As a daemon says; undefined while none does. */
  readonly state: string | undefined;
}

const blank = 'no answer';

/** The live table: a line per lane, and `at`, the time, where the others have their heading. */
export function laneTable(at: string, lanes: readonly LaneView[]): string[] {
  const rows = lanes.map(({ lane, sent, stored, perSecond, state }) => [
    lane,
    formatCount(sent),
    orUnknown(stored, formatCount),
    orUnknown(stored, (count) => formatCount(Math.max(0, sent - count))),
    orUnknown(perSecond, formatCount),
    state ?? blank,
  ]);
  return aligned([at, 'sent', 'stored', 'lag', 'per s', 'state'], rows, [7, 7, 7, 7]);
}

/** The verdict: a line per lane. */
export function verdictTable(verdicts: readonly LaneVerdict[]): string[] {
  const withAltered = verdicts.some(({ altered }) => altered > 0);
  const rows = verdicts.map(({ lane, sent, stored, duplicates, outOfOrder, lost, altered, verified = '' }) => [
    lane,
    ...[sent, stored, duplicates, outOfOrder, lost, ...(withAltered ? [altered] : [])].map(formatCount),
    verified,
  ]);
  const columns = ['lane', 'sent', 'stored', 'duplicates', 'out of order', 'lost'];
  return aligned([...columns, ...(withAltered ? ['altered'] : []), 'verified'], rows, [7, 7]);
}

/** First and any column without numbers to the left, numbers to the right. `widths`: at least, from the second column on. */
function aligned(
  columns: readonly string[],
  rows: readonly (readonly string[])[],
  widths: readonly number[],
): string[] {
  const width = columns.map((name, i) =>
    Math.max(name.length, widths[i - 1] ?? 0, ...rows.map((row) => row[i]?.length ?? 0)),
  );
  const toLeft = (i: number): boolean => i === 0 || columns[i] === 'state';
  const line = (row: readonly string[]): string =>
    row
      .map((cell, i) => (toLeft(i) ? cell.padEnd(width[i]!) : cell.padStart(width[i]!)))
      .join('  ')
      .trimEnd();
  return [columns, ...rows].map(line);
}
