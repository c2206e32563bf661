/** What is wrong and how to put it right, without a place. Never carries secrets. */
export interface Fault {
  readonly message: string;
  readonly fix: string;
}

/** A way into a topology file: keys and list indices from the top. */
export type Path = readonly (string | number)[];

/** A fault at a place in a topology file. `on` says which side of `key: value` is meant. */
export interface PathFault extends Fault {
  readonly path: Path;
  readonly on: 'key' | 'value';
}

/** Line and column, from 1. */
export interface Position {
  readonly line: number;
  readonly column: number;
}

/** One thing to put right in one topology file. `line` and `column` are absent when the file as a whole is meant. */
export interface Problem extends Fault {
  readonly severity: 'error' | 'warning';
  /** The file as the user named it. */
  readonly file: string;
  readonly line?: number;
  readonly column?: number;
}

/** One line for a terminal: `file:line:column: message. fix`; a warning says so. */
export function formatProblem(problem: Problem): string {
  const place = problem.line === undefined ? problem.file : `${problem.file}:${problem.line}:${problem.column ?? 1}`;
  const prefix = problem.severity === 'warning' ? 'warning: ' : '';
  return `${place}: ${prefix}${problem.message}. ${problem.fix}`;
}

/** Order of reading: by file as first met, then by place. */
export function inReadingOrder(problems: readonly Problem[]): Problem[] {
  const files = [...new Set(problems.map((problem) => problem.file))];
  return problems.toSorted(
    (a, b) =>
      files.indexOf(a.file) - files.indexOf(b.file) ||
      (a.line ?? 0) - (b.line ?? 0) ||
      (a.column ?? 0) - (b.column ?? 0),
  );
}

/** A text from a file as it may stand in a message: quoted, on one line, and short. */
export function quote(text: string): string {
  return JSON.stringify(text.length > 60 ? `${text.slice(0, 57)}...` : text);
}
