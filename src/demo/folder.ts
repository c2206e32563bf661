import { closeSync, fsyncSync, openSync, rmSync, writeSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Where all of one run lies. */
export async function makeFolder(): Promise<string> {
  return mkdtemp(join(tmpdir(), 'causeway-demo-'));
}

/** Removes it; files that a process wrote in its last moment are no obstacle. */
export async function removeFolder(dir: string): Promise<void> {
  await rm(dir, { recursive: true, force: true, maxRetries: 10, retryDelay: 50 });
}

const probeMs = 100;

/** How many small synchronous writes a second the disk under a folder takes. */
export function syncsPerSecond(dir: string): number {
  const path = join(dir, 'probe');
  const file = openSync(path, 'w');
  try {
    const begunMs = performance.now();
    let count = 0;
    while (performance.now() - begunMs < probeMs) {
      writeSync(file, 'a record of about two hundred bytes '.repeat(6));
      fsyncSync(file);
      count++;
    }
    return (count * 1000) / (performance.now() - begunMs);
  } finally {
    closeSync(file);
    rmSync(path, { force: true });
  }
}
