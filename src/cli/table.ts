/** Text that came from elsewhere, fit for a terminal: on one line and without control characters. */
export function printable(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what this takes out.
  return text.replace(/[\u0000-\u001f\u007f-\u009f]+/g, ' ');
}

/** Columns under their headings, two spaces apart; a column that is empty in every row is left out. */
export function renderTable(columns: readonly string[], rows: readonly (readonly string[])[]): string {
  const cells = rows.map((row) => row.map(printable));
  const shown = columns.map((_, i) => i).filter((i) => cells.some((row) => row[i] !== ''));
  const widths = columns.map((column, i) => Math.max(column.length, ...cells.map((row) => row[i]?.length ?? 0)));
  const line = (row: readonly string[]): string =>
    shown
      .map((i) => (row[i] ?? '').padEnd(widths[i] ?? 0))
      .join('  ')
      .trimEnd();
  return `${[columns, ...cells].map(line).join('\n')}\n`;
}
