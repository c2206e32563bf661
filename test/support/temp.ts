import { mkdirSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** The folder of one test run, made and swept by global-setup.ts; below it lies everything that the run leaves behind. */
export const runDirVariable = 'CAUSEWAY_TEST_RUN_DIR';

export interface TempDir extends AsyncDisposable {
  readonly path: string;
  remove(): Promise<void>;
}

/** The run's folder, or the system's for use outside Vitest (bench). */
export function tempRoot(): string {
  const root = process.env[runDirVariable] ?? tmpdir();
  mkdirSync(root, { recursive: true });
  return root;
}

/** A new empty folder, removed by `await using` or `remove()`, at the latest when the test run ends. */
export async function tempDir(name = 'temp'): Promise<TempDir> {
  const path = await mkdtemp(join(tempRoot(), `${name}-`));
  const remove = async (): Promise<void> => {
    // A server that has just been killed may still have a file being written by the kernel's last act.
    await rm(path, { recursive: true, force: true, maxRetries: 5, retryDelay: 50 });
  };
  return { path, remove, [Symbol.asyncDispose]: remove };
}
