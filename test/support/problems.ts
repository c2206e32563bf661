import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { loadTopology } from '../../src/topology/load.ts';
import { formatProblem } from '../../src/topology/problem.ts';

/** Every problem of a topology file with this text, or every warning if it has none, as a user sees it; the file is called f.yaml. */
export function problemsOf(text: string | Uint8Array): string[] {
  const folder = mkdtempSync(join(tmpdir(), 'causeway-wrong-'));
  try {
    const path = join(folder, 'f.yaml');
    writeFileSync(path, text);
    const loaded = loadTopology(path);
    const problems = loaded.ok ? loaded.warnings : loaded.problems;
    return problems.map((problem) => formatProblem({ ...problem, file: 'f.yaml' }));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** A wrong file: what is wrong, its text, and all that is said about it. */
export type WrongFile = readonly [what: string, text: string, ...expected: string[]];
