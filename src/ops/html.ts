/** Pieces of HTML for the status page. What they are given as cells is HTML, what as text is not. */

const entities: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
};

/** Text for a place between tags or in an attribute. */
export function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (character) => entities[character] ?? character);
}

interface Rest {
  readonly rows: readonly (readonly string[])[];
  /** Empty if there is none. */
  readonly summary: string;
}

/** One section of the page. */
export interface Table {
  readonly title: string;
  readonly columns: readonly string[];
  readonly rows: readonly (readonly string[])[];
  /** Rows that are folded away until somebody wants them. */
  readonly rest?: Rest;
}

/** A heading and its rows; `none` without any. What is folded keeps its state over refreshes by its id. */
export function table({ title, columns, rows, rest }: Table): string {
  const parts = rows.length === 0 ? [] : [grid(columns, rows)];
  if (rest !== undefined && rest.summary !== '') {
    const id = `${title.toLowerCase()}-rest`;
    parts.push(
      `<details id="${id}"><summary>${escapeHtml(rest.summary)}</summary>${grid(columns, rest.rows)}</details>`,
    );
  }
  return `<section><h2>${title}</h2>${parts.length === 0 ? '<p class="none">none</p>' : parts.join('\n')}</section>`;
}

/** The cells are HTML; the column's name goes into each, for narrow screens. */
function grid(columns: readonly string[], rows: readonly (readonly string[])[]): string {
  const head = columns.map((column) => `<th scope="col">${column}</th>`).join('');
  const body = rows.map(
    (row) => `<tr>${row.map((cell, i) => `<td data-label="${columns[i]}">${cell}</td>`).join('')}</tr>`,
  );
  return `<table><thead><tr>${head}</tr></thead><tbody>\n${body.join('\n')}\n</tbody></table>`;
}
