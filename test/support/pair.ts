/** Two daemons for one cluster of a world: the one it has, and a second one with the same file but for its addresses. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { freePorts } from '../../src/lib/free-ports.ts';
import type { StandbyStatus } from '../../src/ops/status.ts';
import { ChaosProxy } from './chaos-proxy.ts';
import { DaemonProcess } from './daemon-process.ts';
import { until } from './until.ts';
import type { World } from './world.ts';

/** One of the two. */
export interface Twin {
  readonly name: string;
  readonly daemon: DaemonProcess;
  /** Its way to the NATS servers. */
  readonly nats: ChaosProxy;
}

export class Pair implements AsyncDisposable {
  readonly twins: readonly [Twin, Twin];

  private constructor(twins: readonly [Twin, Twin]) {
    this.twins = twins;
  }

  /** Writes both files, and those of the peers that dial the cluster. No daemon runs yet. */
  static async of(world: World, name: string, dialledBy: readonly string[]): Promise<Pair> {
    const cluster = world.cluster(name);
    const ports = await freePorts(2);
    const [host, port] = new URL(cluster.server.url).host.split(':');
    const listens = [String(cluster.topology.listen), `127.0.0.1:${ports[0]}`];
    const monitors = [String(cluster.topology.monitor), `127.0.0.1:${ports[1]}`];
    const common = { ...cluster.topology, standby: true };
    const twin = async (i: 0 | 1): Promise<Twin & { readonly topology: object }> => {
      const nats = await ChaosProxy.start({ host: host!, port: Number(port) });
      const servers = [`nats://127.0.0.1:${nats.address.port}`];
      const topology = { ...common, listen: listens[i], monitor: monitors[i], nats: { servers } };
      if (i === 0) await cluster.write(topology);
      const file = join(world.dir, `${name}-2.yaml`);
      const monitorPort = ports[1]!;
      const logFile = join(world.dir, `${name}-2.log`);
      const daemon = i === 0 ? cluster.daemon : new DaemonProcess({ cluster: name, file, monitorPort, logFile });
      return { name: `${name}-${i + 1}`, daemon, nats, topology };
    };
    const [first, second] = [await twin(0), await twin(1)];
    await writeFile(join(world.dir, `${name}-2.yaml`), JSON.stringify(second.topology));
    for (const other of dialledBy) {
      const peer = world.cluster(other);
      const peers = { ...(peer.topology.peers as object), [name]: { dial: listens } };
      await peer.edit({ peers });
    }
    return new Pair([first, second]);
  }

  other(twin: Twin): Twin {
    return twin === this.twins[0] ? this.twins[1] : this.twins[0];
  }

  /** Waits until one of the two shows this state. */
  async shows({ name, daemon }: Twin, state: StandbyStatus['state']): Promise<StandbyStatus> {
    let last: StandbyStatus | undefined;
    await until(
      async () => {
        last = (await daemon.status()).standby;
        return last?.state === state;
      },
      { what: () => `${name} to be ${state}: ${JSON.stringify(last)}\n${daemon.log()}`, deadlineMs: 60_000 },
    );
    return last!;
  }

  /** Waits until one is active and the other stands by, and returns the one that is active. */
  async active(): Promise<Twin> {
    const states = async () =>
      Promise.all(this.twins.map(async ({ daemon }) => (await daemon.status()).standby?.state));
    let last: readonly (string | undefined)[] = [];
    await until(
      async () => {
        last = await states();
        return last.toSorted().join() === 'active,standby';
      },
      { what: () => `one to be active and one to stand by: ${last}`, deadlineMs: 60_000 },
    );
    return this.twins[last.indexOf('active')]!;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.twins.map(({ daemon }) => daemon.kill()));
    await Promise.all(this.twins.map(({ nats }) => nats.stop()));
  }
}
