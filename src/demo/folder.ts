import { closeSync, fsyncSync, openSync, rmSync, writeSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
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

/** Below the ports that systems lend to outgoing connections: ours must still be free when a killed server comes back. */
const firstPort = 20_000;
const portCount = 12_000;

/** Ports of 127.0.0.1 that were free a moment ago. */
export async function freePorts(count: number): Promise<number[]> {
  const found = new Set<number>();
  for (let tries = 0; found.size < count; tries++) {
    if (tries > 1000) throw new Error(`no ${count} free ports from ${firstPort} on`);
    const port = firstPort + Math.floor(Math.random() * portCount);
    if (!found.has(port) && (await isFree(port))) found.add(port);
  }
  return [...found];
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'EADDRINUSE' || error.code === 'EACCES') resolve(false);
      else reject(error);
    });
    server.listen({ port, host: '127.0.0.1', exclusive: true }, () => server.close(() => resolve(true)));
  });
}
