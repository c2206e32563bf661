/** The clusters of a schedule, running. */

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { formatVersion } from '../../src/brokers/nats/server-binary.ts';
import { freePorts } from '../../src/lib/free-ports.ts';
import { binaries } from './each-server.ts';
import { NatsCluster, type NatsServer, startNats } from './nats-launcher.ts';
import { linesOf, type PlannedCluster, type Schedule } from './nemesis-schedule.ts';
import { type TempDir, tempDir } from './temp.ts';
import { until } from './until.ts';
import { type ClusterSpec, type StreamSpec, World } from './world.ts';

const user = { CAUSEWAY_NEMESIS_USER: 'causeway', CAUSEWAY_NEMESIS_PASSWORD: 'secret' };
const clock = pathToFileURL(join(import.meta.dirname, 'shifted-clock.mjs'));

export interface NemesisLane {
  /** link/from/to */
  readonly id: string;
  readonly from: string;
  readonly to: string;
  /** Carries only what was published at its source. */
  readonly ownOnly: boolean;
}

/** The one stream that a cluster has here. */
interface Place {
  readonly stream: string;
  /** First token of its subjects. */
  readonly root: string;
}

/** Users of a server: applications may everything, the daemon everything but to publish to these subjects. */
function usersWithout(denied: readonly string[]): string {
  const permissions = denied.length === 0 ? '' : `, permissions: { publish: { deny: ${JSON.stringify(denied)} } }`;
  return [
    'no_auth_user: app',
    `authorization { users = [ { user: app, password: app }, { user: causeway, password: secret${permissions} } ] }`,
  ].join('\n');
}

export class NemesisWorld implements AsyncDisposable {
  readonly schedule: Schedule;
  readonly lanes: readonly NemesisLane[];
  readonly #dir: TempDir;
  readonly #triple: readonly NatsServer[];
  #world: World | undefined;

  private constructor(schedule: Schedule, dir: TempDir, triple: readonly NatsServer[]) {
    this.schedule = schedule;
    this.lanes = lanesOf(schedule);
    this.#dir = dir;
    this.#triple = triple;
  }

  /** Everything runs; that daemons have found each other is not waited for. */
  static async make(schedule: Schedule): Promise<NemesisWorld> {
    const found = await binaries();
    if (found.length === 0) throw new Error('no nats-server found');
    const binaryOf = ({ version }: PlannedCluster) => found[Math.floor(version * found.length)]!;
    const dir = await tempDir('nemesis');
    const triple = schedule.clusters.find(({ nodes }) => nodes === 3);
    // The first of three is started by the world, like the only one of other clusters.
    const ports = await freePorts(triple === undefined ? 0 : 3);
    const routes = ports.map((port) => `nats-route://127.0.0.1:${port}`);
    const config = usersWithout([]);
    const node = (index: number) => ({
      binary: binaryOf(triple!),
      name: `${triple!.name}-${index + 1}`,
      config,
      cluster: { name: triple!.name, port: ports[index]!, routes },
    });
    const more = triple === undefined ? [] : await Promise.all([1, 2].map((index) => startNats(node(index))));
    const made = new NemesisWorld(schedule, dir, more);
    try {
      const specs = Object.fromEntries(
        schedule.clusters.map((cluster): [string, ClusterSpec] => {
          const server = cluster.nodes === 3 ? node(0) : { binary: binaryOf(cluster), config };
          return [cluster.name, { ...made.#spec(cluster.name), server }];
        }),
      );
      made.#world = await World.make(specs, { lines: true });
      await made.#begin();
      return made;
    } catch (error) {
      await made[Symbol.asyncDispose]();
      throw error;
    }
  }

  async #begin(): Promise<void> {
    for (const { name, nodes } of this.schedule.clusters) {
      const cluster = this.world.cluster(name);
      const servers = this.servers(name);
      if (nodes === 3) await together(servers);
      const { stream, root } = this.place(name);
      const spec: StreamSpec = {
        subjects: [`${root}.>`],
        // Shorter than any outage: nothing may depend on the server's own memory of message ids. In nanoseconds.
        duplicate_window: 1e8,
        // A stream that is full refuses.
        discard: 'new' as StreamSpec['discard'],
        num_replicas: nodes,
      };
      await until(() => cluster.addStream(stream, spec).then(() => true), { what: `stream ${stream} at ${name}` });
      await cluster.edit({
        nats: {
          servers: servers.map(({ url }) => url),
          user: { env: 'CAUSEWAY_NEMESIS_USER' },
          password: { env: 'CAUSEWAY_NEMESIS_PASSWORD' },
        },
      });
    }
    await this.world.start();
  }

  get world(): World {
    if (this.#world === undefined) throw new Error('the world is not made yet');
    return this.#world;
  }

  place(cluster: string): Place {
    const { shape, clusters } = this.schedule;
    return shape === 'fan-in' && cluster === clusters[0]!.name
      ? { stream: 'FLEET', root: 'fleet' }
      : { stream: 'ORDERS', root: 'orders' };
  }

  /** Subjects of what the application of a cluster publishes in one generation, without the last token. */
  own(cluster: string, generation: number): string {
    return `${this.place(cluster).root}.${cluster}.g${generation}`;
  }

  servers(cluster: string): readonly NatsServer[] {
    const first = this.world.cluster(cluster).server;
    const { nodes } = this.schedule.clusters.find(({ name }) => name === cluster)!;
    return nodes === 3 ? [first, ...this.#triple] : [first];
  }

  /** Takes permissions from the daemon of a cluster; an empty list gives them back. */
  async deny(cluster: string, subjects: readonly string[]): Promise<void> {
    for (const server of this.servers(cluster)) await server.reconfigure(usersWithout(subjects));
  }

  /** Sets the clock of a cluster's daemon so far off, now and after its next start. */
  shiftClock(cluster: string, byMs: number): void {
    writeFileSync(this.#clockFile(cluster), String(byMs));
  }

  /** Servers as they came out, for the report. */
  describe(): string {
    return this.schedule.clusters
      .map(({ name }) => `${name} ${formatVersion(this.world.cluster(name).server.binary.version)}`)
      .join(', ');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#world?.[Symbol.asyncDispose]();
    await Promise.all(this.#triple.map((server) => server.dispose()));
    await this.#dir.remove();
  }

  #clockFile(cluster: string): string {
    return join(this.#dir.path, `${cluster}.clock`);
  }

  #env(cluster: string): Readonly<Record<string, string>> {
    const jumps = this.schedule.faults.some(({ kind, target }) => kind === 'clock-jumps' && target === cluster);
    if (!jumps) return user;
    this.shiftClock(cluster, 0);
    return { ...user, NODE_OPTIONS: `--import ${clock.href}`, CAUSEWAY_NEMESIS_CLOCK: this.#clockFile(cluster) };
  }

  #spec(name: string): ClusterSpec {
    const { shape, clusters } = this.schedule;
    const dial = linesOf(this.schedule).flatMap(([from, to]) => (from === name ? [to] : []));
    const common = { dial, env: this.#env(name) };
    const names = clusters.map((cluster) => cluster.name);
    const [first = '', ...others] = names;
    const orders = { stream: 'ORDERS' };
    switch (shape) {
      case 'fan-in': {
        if (name !== first) return { ...common, grants: [{ to: first, read: orders }] };
        const from = { cluster: others, ...orders };
        const to = { stream: 'FLEET', subject: 'fleet.{origin}.{subject}' };
        return { ...common, links: { up: { kind: 'fan-in', from, to, start: 'all' } } };
      }
      case 'fan-out': {
        if (name !== first) return { ...common, grants: [{ to: first, append: orders }] };
        const to = { cluster: others, ...orders };
        return { ...common, links: { down: { kind: 'fan-out', from: orders, to, start: 'all' } } };
      }
      case 'replicate':
        return { ...common, links: { all: { kind: 'replicate', between: names, ...orders, start: 'all' } } };
      case 'chain': {
        const index = names.indexOf(name);
        const [before, next] = [names[index - 1], names[index + 1]];
        const to = { cluster: next, ...orders };
        return {
          ...common,
          links: next === undefined ? {} : { [`to-${next}`]: { kind: 'fan-out', from: orders, to, start: 'all' } },
          grants: before === undefined ? [] : [{ to: before, append: orders, origins: ['*'] }],
        };
      }
    }
  }
}

/** Old servers may start without ever agreeing on a leader; one that starts again then does it. */
async function together(servers: readonly NatsServer[]): Promise<void> {
  const cluster = new NatsCluster(servers);
  try {
    await cluster.ready();
  } catch (error) {
    console.warn(`${error}: started again`);
    await servers[0]!.restart();
    await cluster.ready();
  }
}

function lanesOf({ shape, clusters }: Schedule): NemesisLane[] {
  const names = clusters.map(({ name }) => name);
  const [first = '', ...others] = names;
  const lane = (link: string, from: string, to: string) => ({
    id: `${link}/${from}/${to}`,
    from,
    to,
    ownOnly: shape === 'replicate',
  });
  switch (shape) {
    case 'fan-in':
      return others.map((name) => lane('up', name, first));
    case 'fan-out':
      return others.map((name) => lane('down', first, name));
    case 'replicate':
      return names.flatMap((from) => names.filter((to) => to !== from).map((to) => lane('all', from, to)));
    case 'chain':
      return others.map((name, index) => lane(`to-${name}`, names[index]!, name));
  }
}
