import { chmod, mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { newest, type ServerBinary } from '../src/brokers/nats/server-binary.ts';
import { ChaosProxy } from '../test/support/chaos-proxy.ts';
import type { Command, PacketLine } from '../test/support/packet-line.ts';

/** Where the processes of a cluster run. */
export interface Place {
  /** Address on which its servers listen, and under which this process reaches them. */
  readonly host: string;
  /** The command line that runs a command there. */
  command(...line: Command): Command;
}

/** What lies between plant and hub. */
export interface Line {
  readonly plant: Place;
  readonly hub: Place;
  /** Address on which the hub listens for the plant. */
  readonly listenHost: string;
  /** Where the plant reaches a port of the hub. */
  reach(port: number): Promise<{ readonly host: string; readonly port: number }>;
}

/** `reset`: connections are reset, and so is each new one. `silent`: nothing arrives any more, and nobody is told. */
export type Cut = 'reset' | 'silent';

export interface BreakableLine extends Line {
  cut(kind: Cut): Promise<void>;
  restore(): Promise<void>;
  stop(): Promise<void>;
}

const loopback: Place = { host: '127.0.0.1', command: (...line) => line };

/** Nothing but the loopback device. */
export const direct: Line = {
  plant: loopback,
  hub: loopback,
  listenHost: loopback.host,
  reach: (port) => Promise.resolve({ host: loopback.host, port }),
};

/** TCP proxies on the loopback device. What is sent into a silent line arrives when it is restored. */
export function proxyLine(): BreakableLine {
  const proxies: ChaosProxy[] = [];
  const each = (work: (proxy: ChaosProxy) => void): Promise<void> => {
    for (const proxy of proxies) work(proxy);
    return Promise.resolve();
  };
  return {
    ...direct,
    reach: async (port) => {
      const proxy = await ChaosProxy.start({ host: loopback.host, port });
      proxies.push(proxy);
      return proxy.address;
    },
    cut: (kind) =>
      each((proxy) => {
        if (kind === 'reset') {
          proxy.cutOff();
          return;
        }
        proxy.freeze();
        proxy.swallowNew();
      }),
    restore: () =>
      each((proxy) => {
        proxy.thaw();
        proxy.restore();
      }),
    stop: async () => {
      await Promise.all(proxies.map((proxy) => proxy.stop()));
    },
  };
}

/** Real TCP between two network namespaces. It can only be silent. */
export function packetLine(line: PacketLine): BreakableLine {
  return {
    plant: line.near,
    hub: line.far,
    listenHost: line.far.address,
    reach: (port) => Promise.resolve({ host: line.far.address, port }),
    cut: () => line.cut(),
    restore: () => line.restore(),
    stop: () => line.stop(),
  };
}

/** The newest nats-server, as a program that runs at `place`. `dir` takes what is needed for that. */
export async function serverAt(place: Place, dir: string): Promise<ServerBinary> {
  const found = await newest();
  if (found === undefined) throw new Error('there is no nats-server');
  const [command, args] = place.command(found.path, []);
  if (command === found.path) return found;
  // Under the server's own name: the file in which it writes down its ports is named after it.
  const path = join(dir, place.host, 'nats-server');
  await mkdir(dirname(path), { recursive: true });
  const quoted = [command, ...args].map((word) => `'${word.replaceAll("'", `'\\''`)}'`).join(' ');
  await writeFile(path, `#!/bin/sh\nexec ${quoted} "$@"\n`);
  await chmod(path, 0o755);
  return { ...found, path };
}
