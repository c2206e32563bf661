import { createServer } from 'node:net';

/** Below the ports that systems lend to outgoing connections: ours must still be free when what was killed comes back. */
const firstPort = 15_000;
const portCount = 17_000;
const given = new Set<number>();

/** Ports of 127.0.0.1 that were free a moment ago, and that nobody else in this process was given. */
export async function freePorts(count: number): Promise<number[]> {
  const found: number[] = [];
  for (let tries = 0; found.length < count; tries++) {
    if (tries > 1000) throw new Error(`no ${count} free ports from ${firstPort} on`);
    const port = firstPort + Math.floor(Math.random() * portCount);
    if (given.has(port) || !(await isFree(port))) continue;
    given.add(port);
    found.push(port);
  }
  return found;
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
