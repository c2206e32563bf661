import { join } from 'node:path';
import { jetstreamManager, StorageType } from '@nats-io/jetstream';
import { connect } from 'nats';
import { writeCerts } from '../src/security/make-certs.ts';
import { endpointText } from '../src/topology/endpoint.ts';
import { type NatsServer, startNats } from '../test/support/nats-launcher.ts';
import { tempDir } from '../test/support/temp.ts';
import { until } from '../test/support/until.ts';
import { direct, type Line, serverAt } from './line.ts';
import { type Role, type System, sinkStream, sourceStream } from './system.ts';

const trustDomain = 'bench';

export interface SourcesOptions {
  /** A leaf node without TLS, which is less work than Causeway does. */
  readonly plainLeaf: boolean;
  /** Default: the loopback device. */
  readonly line?: Line;
}

/**
 * What NATS has of its own: the plant's server is a leaf node of the hub's, with a JetStream domain of its own, and a
 * stream of the hub sources the plant's. With mutual TLS between them, as Causeway has it.
 */
export async function startSources({ plainLeaf, line = direct }: SourcesOptions): Promise<System> {
  const dir = await tempDir('sources');
  const servers: NatsServer[] = [];
  const end = async (): Promise<void> => {
    await Promise.all(servers.map((server) => server.dispose()));
    await dir.remove();
  };
  try {
    const clusters = ['hub', 'plant'].map((cluster) => ({ cluster, hosts: [line.listenHost] }));
    await writeCerts(dir.path, { trustDomain, clusters });
    const tls = (cluster: string): string => {
      if (plainLeaf) return '';
      const file = (name: string): string => JSON.stringify(join(dir.path, name));
      return `tls { cert_file: ${file(`${cluster}.crt`)}, key_file: ${file(`${cluster}.key`)}, ca_file: ${file('ca.crt')}, verify: true }`;
    };
    const hub = await startNats({
      name: 'hub',
      host: line.hub.host,
      binary: await serverAt(line.hub, dir.path),
      jetstream: { domain: 'hub' },
      config: `leafnodes { listen: "${line.listenHost}:-1", no_advertise: true, ${tls('hub')} }`,
    });
    servers.push(hub);
    const scheme = plainLeaf ? 'nats-leaf' : 'tls';
    const reached = endpointText(await line.reach(leafPort(hub)));
    const plant = await startNats({
      name: 'plant',
      host: line.plant.host,
      binary: await serverAt(line.plant, dir.path),
      jetstream: { domain: 'plant' },
      config: `leafnodes { reconnect: "1s", remotes: [ { url: "${scheme}://${reached}", ${tls('plant')} } ] }`,
    });
    servers.push(plant);
    await until(async () => (await leafCount(hub)) === 1, { what: 'the leaf node to connect' });
    const pids = (): ReadonlyMap<Role, number> =>
      new Map([
        ['source server', plant.pid],
        ['sink server', hub.pid],
      ]);
    return {
      name: 'sources',
      source: plant,
      sink: hub,
      begin: () => makeSourcingStream(hub.url),
      pids,
      check: () => checkServers(servers),
      logs: () => serverLogs(servers),
      end,
      [Symbol.asyncDispose]: end,
    };
  } catch (error) {
    await end();
    throw error;
  }
}

/** Throws when one of them does not run. */
export function checkServers(servers: readonly NatsServer[]): void {
  const ended = servers.find((server) => !server.running);
  if (ended !== undefined) throw new Error(`the server ${ended.name} has ended`);
}

export function serverLogs(servers: readonly NatsServer[]): string {
  return servers
    .map((server) => [`--- server ${server.name}`, ...server.logs.filter(isComplaint).slice(-15)].join('\n'))
    .join('\n');
}

function isComplaint(line: string): boolean {
  return !line.includes('[INF]');
}

/** Without subjects of its own: over the leaf node it would also hear what is published at the plant. */
async function makeSourcingStream(url: string): Promise<void> {
  const connection = await connect({ servers: url });
  try {
    const manager = await jetstreamManager(connection);
    await manager.streams.add({
      name: sinkStream,
      storage: StorageType.File,
      sources: [{ name: sourceStream, external: { api: '$JS.plant.API', deliver: '' } }],
    });
  } finally {
    await connection.close();
  }
}

function leafPort(server: NatsServer): number {
  for (const line of server.logs) {
    const port = /Listening for leafnode connections on \S+:(\d+)$/.exec(line)?.[1];
    if (port !== undefined) return Number(port);
  }
  throw new Error('the log does not say where leaf nodes connect');
}

async function leafCount(server: NatsServer): Promise<number> {
  const answer = (await (await fetch(`${server.monitorUrl}/leafz`)).json()) as { readonly leafnodes: number };
  return answer.leafnodes;
}
