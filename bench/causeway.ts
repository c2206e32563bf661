import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { freePorts } from '../src/lib/free-ports.ts';
import { writeCerts } from '../src/security/make-certs.ts';
import { endpointText } from '../src/topology/endpoint.ts';
import type { Address } from '../src/topology/plan.ts';
import { type NatsServer, startNats } from '../test/support/nats-launcher.ts';
import { tempDir } from '../test/support/temp.ts';
import { DaemonProcess } from './daemon-process.ts';
import { makeStream } from './fill.ts';
import { direct, type Line, serverAt } from './line.ts';
import { checkServers, serverLogs } from './sources.ts';
import { type Role, type System, sinkStream, sourceStream } from './system.ts';

const trustDomain = 'bench';

export interface CausewayOptions {
  /** Options of Node.js for the daemon of a cluster. */
  readonly nodeOptions?: (cluster: string) => readonly string[];
  /** Default: the loopback device. */
  readonly line?: Line;
  /** Stream B refuses what goes beyond that. Default: no limit. */
  readonly sinkMaxBytes?: number;
}

/** Makes the daemon of a cluster leave a CPU profile in `dir` when it ends. */
export function profileInto(dir: string): (cluster: string) => readonly string[] {
  return (cluster) => ['--cpu-prof', `--cpu-prof-dir=${dir}`, `--cpu-prof-name=${cluster}.cpuprofile`];
}

/**
 * Two clusters of one server each, and the daemons beside them as they are deployed: mutual TLS, exactly once, metrics on.
 * The plant's daemon starts, and dials, in `begin`.
 */
export async function startCauseway(options: CausewayOptions = {}): Promise<System> {
  const { nodeOptions = () => [], line = direct, sinkMaxBytes } = options;
  const dir = await tempDir('causeway');
  const servers: NatsServer[] = [];
  const daemons: DaemonProcess[] = [];
  const end = async (): Promise<void> => {
    await Promise.all(daemons.map((daemon) => daemon.end()));
    await Promise.all(servers.map((server) => server.dispose()));
    await dir.remove();
  };
  const daemon = async (cluster: 'plant' | 'hub', monitor: Address): Promise<void> => {
    const file = join(dir.path, `${cluster}.yaml`);
    const place = line[cluster];
    const started = { cluster, file, monitor, place, dir: dir.path, nodeOptions: nodeOptions(cluster) };
    daemons.push(await DaemonProcess.start(started));
  };
  try {
    for (const name of ['plant', 'hub'] as const) {
      servers.push(await startNats({ name, host: line[name].host, binary: await serverAt(line[name], dir.path) }));
    }
    const [plant, hub] = servers as [NatsServer, NatsServer];
    const [port, hubMonitor, plantMonitor] = (await freePorts(3)) as [number, number, number];
    const listen = { host: line.listenHost, port };
    const monitors = {
      hub: { host: line.hub.host, port: hubMonitor },
      plant: { host: line.plant.host, port: plantMonitor },
    };
    await writeCerts(dir.path, { trustDomain, clusters: ['hub', 'plant'].map((cluster) => ({ cluster })) });
    await writeFile(join(dir.path, 'hub.yaml'), hubTopology(hub.url, listen, monitors.hub));
    await writeFile(join(dir.path, 'plant.yaml'), plantTopology(plant.url, await line.reach(port), monitors.plant));
    await makeStream(hub.url, sinkStream, sinkMaxBytes);
    await daemon('hub', monitors.hub);
    const pids = (): ReadonlyMap<Role, number> =>
      new Map<Role, number>([
        ['source server', plant.pid],
        ['source daemon', daemons[1]!.pid],
        ['sink daemon', daemons[0]!.pid],
        ['sink server', hub.pid],
      ]);
    return {
      name: 'causeway',
      source: plant,
      sink: hub,
      begin: () => daemon('plant', monitors.plant),
      pids,
      check: () => {
        checkServers(servers);
        for (const one of daemons) one.check();
      },
      logs: () => [serverLogs(servers), ...daemons.map((one) => one.log())].join('\n'),
      end,
      [Symbol.asyncDispose]: end,
    };
  } catch (error) {
    await end();
    throw error;
  }
}

function hubTopology(url: string, listen: Address, monitor: Address): string {
  return `version: 1
cluster: hub
trustDomain: ${trustDomain}
tls: { cert: hub.crt, key: hub.key, ca: ca.crt }
nats: { servers: ["${url}"] }
listen: ${endpointText(listen)}
monitor: ${endpointText(monitor)}
peers: { plant: {} }
links:
  telemetry:
    kind: fan-in
    from: { cluster: plant, stream: ${sourceStream} }
    to: { stream: ${sinkStream} }
`;
}

function plantTopology(url: string, hub: Address, monitor: Address): string {
  return `version: 1
cluster: plant
trustDomain: ${trustDomain}
tls: { cert: plant.crt, key: plant.key, ca: ca.crt }
nats: { servers: ["${url}"] }
monitor: ${endpointText(monitor)}
peers:
  hub: { dial: ["${endpointText(hub)}"] }
grants:
  - { to: hub, read: { stream: ${sourceStream} } }
`;
}
