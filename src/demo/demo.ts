import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { newest } from '../brokers/nats/server-binary.ts';
import { formatCount } from '../lib/format.ts';
import { freePorts } from '../lib/free-ports.ts';
import { pause } from '../lib/pause.ts';
import { writeCerts } from '../security/make-certs.ts';
import { FailureError } from '../wire/reasons.ts';
import { makeFolder, removeFolder, syncsPerSecond } from './folder.ts';
import { applications, writesPerReading } from './lanes.ts';
import { openScreen, type Screen } from './screen.ts';
import { Site } from './site.ts';
import { type LaneView, laneTable } from './tables.ts';
import { clusters, hub, links, picture, plants, streamsOf, topologyOf, trustDomain } from './topologies.ts';
import { judge } from './verdict.ts';
import { verify } from './verify.ts';
import { Watch } from './watch.ts';
import { Writer } from './writer.ts';

export interface DemoOptions {
  /** How long the applications write. */
  readonly seconds: number;
  /** Readings a second of each plant, the other applications in proportion; undefined: what suits the disk. */
  readonly perSecond: number | undefined;
  /** Leave the folder with topology files, certificates, stores and logs. */
  readonly keep: boolean;
  readonly out: (text: string) => void;
  /** Width of the terminal; undefined where there is none. */
  readonly columns: () => number | undefined;
  /** Ends everything. */
  readonly signal: AbortSignal;
}

const maxPerSecond = 1000;
const minPerSecond = 20;
/** Of the writes that a disk takes when nobody else asks anything of it. */
const usedShare = 0.4;
const refreshMs = 250;
const liveLimitMs = 30_000;
/** A lane that drains without any progress for so long will not. */
const stuckMs = 30_000;
const orderlyEndMs = 10_000;
/** Whoever presses Ctrl-C does not want to wait for farewells. */
const hurriedEndMs = 1000;

/**
 * The whole demo: three clusters, a link of each kind, applications, three outages, the verdict. True if every lane is clean.
 * Whatever happens, no process is left, nor the folder unless it is to be kept or something went wrong.
 */
export async function runDemo(options: DemoOptions): Promise<boolean> {
  const { out, signal, keep } = options;
  if ((await newest()) === undefined) {
    throw new FailureError('embedded-down', 'no nats-server found: put one on PATH, or name it in NATS_SERVER');
  }
  const dir = await makeFolder();
  const sites = new Map<string, Site>();
  const killNow = (): void => {
    for (const site of sites.values()) site.killNow();
  };
  process.once('exit', killNow);
  let clean: boolean | undefined;
  try {
    const demo = new Demo(options, dir, sites);
    clean = await demo.run();
    return clean;
  } catch (error) {
    if (!signal.aborted) throw error;
    out('\nended before the verdict\n');
    return false;
  } finally {
    await Promise.all([...sites.values()].map((site) => site.end(signal.aborted ? hurriedEndMs : orderlyEndMs)));
    process.off('exit', killNow);
    // What went wrong can be seen in the logs and streams only.
    const kept = keep || (clean !== true && !signal.aborted);
    if (kept) out(`kept ${dir}: topology files, certificates, stores, and the log of each daemon\n`);
    else await removeFolder(dir);
  }
}

class Demo {
  readonly #options: DemoOptions;
  readonly #dir: string;
  /** By cluster. */
  readonly #sites: Map<string, Site>;
  readonly #screen: Screen;
  readonly #signal: AbortSignal;
  /** By application. */
  readonly #writers = new Map<string, Writer>();
  readonly #watch: Watch;
  #begunMs = 0;

  constructor(options: DemoOptions, dir: string, sites: Map<string, Site>) {
    this.#options = options;
    this.#dir = dir;
    this.#sites = sites;
    this.#signal = options.signal;
    this.#screen = openScreen(options);
    this.#watch = new Watch(sites, ({ from }) => this.#writers.get(from.name)?.sent ?? 0);
  }

  async run(): Promise<boolean> {
    const { seconds, out } = this.#options;
    out(`A hub and two plants, each with a nats-server and a Causeway daemon:\n${picture}`);
    // A disk that is busy at this moment may be idle at another: the best of three looks counts.
    const probe = (): number => syncsPerSecond(this.#dir);
    let syncs = probe();
    await this.#start();
    syncs = Math.max(syncs, probe());
    await this.#waitUntilLive();
    const perSecond = this.#options.perSecond ?? suitableRate(Math.max(syncs, probe()));
    this.#introduce(perSecond);

    this.#begunMs = performance.now();
    this.#startWriters(perSecond);
    await this.#outages(seconds);
    this.#event('The applications stop.');
    await this.#whileWatching(Promise.all([...this.#writers.values()].map((writer) => writer.stop())));
    await this.#drain();

    this.#screen.settle();
    const { clean, lines } = await judge(
      (cluster, stream, observe) => this.#site(cluster).client.readAll(stream, observe),
      this.#writers,
      await this.#verified(),
    );
    out(
      `\nThe verdict, by reading every sink from its first record to its last, and by causeway verify:\n\n${lines.join('\n')}\n`,
    );
    return clean;
  }

  /** What daemons say of each lane when they compare its two ends. Between them, the hub and one plant take part in all. */
  async #verified(): Promise<ReadonlyMap<string, string>> {
    const [plantA] = plants;
    const found = new Map<string, string>();
    for (const [cluster, link] of [...links.map((name) => [hub, name] as const), [plantA, 'orders'] as const])
      for (const [lane, verdict] of await verify(this.#site(cluster).file, link, this.#signal))
        found.set(lane, verdict);
    this.#signal.throwIfAborted();
    return found;
  }

  async #start(): Promise<void> {
    const signal = this.#signal;
    signal.throwIfAborted();
    const ports = await freePorts(2 + 2 * clusters.length);
    const listen = { hub: ports.pop()!, plantA: ports.pop()! };
    await writeCerts(this.#dir, { trustDomain, clusters: clusters.map((cluster) => ({ cluster })), days: 2 });
    for (const cluster of clusters) {
      const own = { nats: ports.pop()!, monitor: ports.pop()! };
      await writeFile(join(this.#dir, `${cluster}.yaml`), topologyOf(cluster, own, listen));
      this.#sites.set(cluster, new Site({ cluster, dir: this.#dir, ports: own }));
    }
    await Promise.all(
      [...this.#sites].map(async ([cluster, site]) => {
        await site.start(signal);
        for (const { stream, subjects } of streamsOf(cluster)) await site.client.make(stream, subjects);
      }),
    );
  }

  #introduce(perSecond: number): void {
    const { out } = this.#options;
    out('\n');
    for (const [cluster, { natsUrl, monitorUrl }] of this.#sites)
      out(`  ${cluster.padEnd(8)} ${natsUrl}  ${monitorUrl}/\n`);
    out(`
Look in while it runs: open a page above; draw the topology files with
  node dist/main.js graph ${join(this.#dir, '*.yaml')} -o picture.svg
Every record is on disk before it counts as stored. Sensors send ${formatCount(perSecond)} a second
at each plant, the other applications a tenth of that. Ctrl-C ends everything.

`);
  }

  #startWriters(perSecond: number): void {
    const signal = this.#signal;
    for (const application of applications) {
      const { client } = this.#site(application.cluster);
      const own = Math.max(1, Math.round(perSecond * application.share));
      this.#writers.set(application.name, new Writer({ application, client, perSecond: own, signal }));
    }
  }

  async #outages(seconds: number): Promise<void> {
    const [plantA, plantB] = plants;
    await this.#watchUntil(0.2 * seconds);
    this.#event(`${hub}: nats-server and daemon killed (-9). The plants go on.`);
    await this.#site(hub).kill();
    await this.#watchUntil(0.4 * seconds);
    this.#event(`${hub}: daemon started again; it starts its nats-server.`);
    await this.#whileWatching(this.#site(hub).start(this.#signal));
    await this.#watchUntil(0.6 * seconds);
    this.#event(`${plantA}: daemon killed (-9). ${hub} and ${plantB} go on.`);
    await this.#site(plantA).killDaemon();
    await this.#watchUntil(0.75 * seconds);
    this.#event(`${plantA}: daemon started again.`);
    await this.#whileWatching(this.#site(plantA).start(this.#signal));
    await this.#watchUntil(0.9 * seconds);
    this.#event(`${plantB}: nats-server killed (-9). Its daemon starts another.`);
    await this.#site(plantB).killServer();
    await this.#watchUntil(seconds);
  }

  async #waitUntilLive(): Promise<void> {
    const untilMs = performance.now() + liveLimitMs;
    for (;;) {
      const views = await this.#watch.look();
      if (views.every(({ state }) => state === 'live')) return;
      this.#check();
      if (performance.now() > untilMs)
        throw new Error(`the lanes do not come up: ${views.map(({ lane, state }) => `${lane} ${state}`).join(', ')}`);
      await pause(50, this.#signal);
      this.#signal.throwIfAborted();
    }
  }

  async #drain(): Promise<void> {
    let storedBefore = -1;
    let movedMs = performance.now();
    for (;;) {
      const views = await this.#refresh();
      if (views.every(({ sent, stored, state }) => stored === sent && state === 'live')) return;
      const stored = views.reduce((sum, view) => sum + (view.stored ?? 0), 0);
      if (stored !== storedBefore) movedMs = performance.now();
      storedBefore = stored;
      if (performance.now() - movedMs > stuckMs) {
        this.#event('The lanes do not drain.');
        return;
      }
      await pause(refreshMs, this.#signal);
    }
  }

  async #watchUntil(second: number): Promise<void> {
    const untilMs = this.#begunMs + second * 1000;
    do {
      await this.#refresh();
      await pause(Math.max(0, Math.min(refreshMs, untilMs - performance.now())), this.#signal);
    } while (performance.now() < untilMs);
  }

  /** Keeps the table going until `work` is done. */
  async #whileWatching(work: Promise<unknown>): Promise<void> {
    let done = false;
    const finished = work.finally(() => {
      done = true;
    });
    const watching = async (): Promise<void> => {
      while (!done) {
        await this.#refresh();
        await pause(refreshMs, this.#signal);
      }
    };
    await Promise.all([finished, watching()]);
  }

  async #refresh(): Promise<LaneView[]> {
    this.#signal.throwIfAborted();
    this.#check();
    const views = await this.#watch.look();
    this.#screen.show(laneTable(this.#clock(), views));
    return views;
  }

  #event(text: string): void {
    this.#screen.event(`${this.#clock()}  ${text}`);
  }

  #clock(): string {
    return `${((performance.now() - this.#begunMs) / 1000).toFixed(1).padStart(5)} s`;
  }

  #check(): void {
    for (const site of this.#sites.values()) site.check();
    for (const writer of this.#writers.values()) writer.check();
  }

  #site(cluster: string): Site {
    return this.#sites.get(cluster)!;
  }
}

/** Embedded servers sync every record wherever it is stored, and a backlog has to drain as well. */
function suitableRate(syncs: number): number {
  const perSecond = (syncs * usedShare) / writesPerReading;
  return Math.min(maxPerSecond, Math.max(minPerSecond, Math.floor(perSecond / 10) * 10));
}
