import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { freePorts } from '../src/lib/free-ports.ts';
import { writeCerts } from '../src/security/make-certs.ts';
import { type NatsServer, startNats } from '../test/support/nats-launcher.ts';
import { tempDir } from '../test/support/temp.ts';
import { DaemonProcess } from './daemon-process.ts';
import { makeStream } from './fill.ts';
import { checkServers, serverLogs } from './sources.ts';
import { type Role, type System, sinkStream, sourceStream } from './system.ts';

const trustDomain = 'bench';

export interface CausewayOptions {
  /** Folder where each daemon leaves a CPU profile when it ends. */
  readonly profileDir?: string;
}

/**
 * Two clusters of one server each, and the daemons beside them as they are deployed: mutual TLS, exactly once, metrics on.
 * The plant's daemon starts, and dials, in `begin`.
 */
export async function startCauseway({ profileDir }: CausewayOptions): Promise<System> {
  const dir = await tempDir('causeway');
  const servers: NatsServer[] = [];
  const daemons: DaemonProcess[] = [];
  const end = async (): Promise<void> => {
    await Promise.all(daemons.map((daemon) => daemon.end()));
    await Promise.all(servers.map((server) => server.dispose()));
    await dir.remove();
  };
  const daemon = async (cluster: string, monitorPort: number): Promise<void> => {
    const file = join(dir.path, `${cluster}.yaml`);
    const profile =
      profileDir === undefined
        ? []
        : ['--cpu-prof', `--cpu-prof-dir=${profileDir}`, `--cpu-prof-name=${cluster}.cpuprofile`];
    daemons.push(await DaemonProcess.start({ cluster, file, monitorPort, dir: dir.path, nodeOptions: profile }));
  };
  try {
    for (const name of ['plant', 'hub']) servers.push(await startNats({ name }));
    const [plant, hub] = servers as [NatsServer, NatsServer];
    const [listen, hubMonitor, plantMonitor] = (await freePorts(3)) as [number, number, number];
    await writeCerts(dir.path, { trustDomain, clusters: ['hub', 'plant'].map((cluster) => ({ cluster })) });
    await writeFile(join(dir.path, 'hub.yaml'), hubTopology(hub.url, listen, hubMonitor));
    await writeFile(join(dir.path, 'plant.yaml'), plantTopology(plant.url, listen, plantMonitor));
    await makeStream(hub.url, sinkStream);
    await daemon('hub', hubMonitor);
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
      begin: () => daemon('plant', plantMonitor),
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

function hubTopology(url: string, listenPort: number, monitorPort: number): string {
  return `version: 1
cluster: hub
trustDomain: ${trustDomain}
tls: { cert: hub.crt, key: hub.key, ca: ca.crt }
nats: { servers: ["${url}"] }
listen: 127.0.0.1:${listenPort}
monitor: 127.0.0.1:${monitorPort}
peers: { plant: {} }
links:
  telemetry:
    kind: fan-in
    from: { cluster: plant, stream: ${sourceStream} }
    to: { stream: ${sinkStream} }
`;
}

function plantTopology(url: string, hubPort: number, monitorPort: number): string {
  return `version: 1
cluster: plant
trustDomain: ${trustDomain}
tls: { cert: plant.crt, key: plant.key, ca: ca.crt }
nats: { servers: ["${url}"] }
monitor: 127.0.0.1:${monitorPort}
peers:
  hub: { dial: ["127.0.0.1:${hubPort}"] }
grants:
  - { to: hub, read: { stream: ${sourceStream} } }
`;
}
