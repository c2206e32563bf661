/** Topology files that change under running daemons. */
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import type { DaemonStatus } from '../../src/ops/status.ts';
import { until } from './until.ts';
import type { TestCluster } from './world.ts';

type Topology = Readonly<Record<string, unknown>>;

/** Changes keys of the file, has the daemon read it at once, and waits until it runs on that. */
export async function reload(cluster: TestCluster, change: Topology): Promise<void> {
  await cluster.edit(change);
  cluster.daemon.hangUp();
  await taken(cluster);
}

/** Waits until the daemon runs on its file as it is now. */
export async function taken({ name, file, daemon }: TestCluster): Promise<DaemonStatus> {
  const hash = createHash('sha256')
    .update(await readFile(file))
    .digest('hex');
  let last: DaemonStatus['file'] | undefined;
  return until(
    async () => {
      const status = await daemon.status();
      last = status.file;
      return last.hash === hash && last.error === undefined && status;
    },
    { what: () => `${name} to run on its file: ${JSON.stringify(last)}` },
  );
}

/** Waits until both ends know what the other runs on, and that the other has answered what they run on. */
export async function acquainted(a: TestCluster, b: TestCluster): Promise<void> {
  let last = '';
  await until(
    async () => {
      const [here, there] = await Promise.all([a.daemon.status(), b.daemon.status()]);
      const seen = (status: DaemonStatus, other: DaemonStatus) => {
        const peer = status.peers.find(({ peer: name }) => name === other.cluster);
        return {
          hash: peer?.fileHash === other.file.hash,
          generation: peer?.generation === other.file.generation,
          answered: peer?.answeredGeneration === status.file.generation,
        };
      };
      const all = [seen(here, there), seen(there, here)];
      last = JSON.stringify([all, here.file.generation, there.file.generation, here.peers, there.peers]);
      return all.every(({ hash, generation, answered }) => hash && generation && answered);
    },
    { what: () => `${a.name} and ${b.name} to know each other's files: ${last}` },
  );
}

/** How often a lane has become live in the present run of a daemon. */
export function timesLive({ daemon }: TestCluster, lane: string): number {
  const lines = daemon.lastRun().split('\n');
  return lines.filter((line) => line.includes('"event":"lane-live"') && line.includes(`"lane":"${lane}"`)).length;
}
