import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { newest } from '../brokers/nats/server-binary.ts';
import { formatCount } from '../lib/format.ts';
import { pause } from '../lib/pause.ts';
import { writeCerts } from '../security/make-certs.ts';
import { FailureError } from '../wire/reasons.ts';
import { freePorts, makeFolder, removeFolder, syncsPerSecond } from './folder.ts';
import { readingSubjects } from './reading.ts';
import { openScreen, type Screen } from './screen.ts';
import { Sensors } from './sensors.ts';
import { Site } from './site.ts';
import { type LaneView, laneTable, verdictTable } from './tables.ts';
import { isClean, type LaneVerdict, Tally } from './tally.ts';
import {
  hub,
  hubTopology,
  laneOf,
  plants,
  plantTopology,
  sinkStream,
  sourceStream,
  subjectPrefix,
  trustDomain,
} from './topologies.ts';

export interface DemoOptions {
  /** How long the sensors send. */
  readonly seconds: number;
  /** Records per second of each plant; undefined: what suits the disk. */
  readonly perSecond: number | undefined;
  /** Leave the folder with topology files, certificates, stores and logs. */
  readonly keep: boolean;
  readonly out: (text: string) => void;
  /** Width of the terminal; undefined where there is none. */
  readonly columns: () => number | undefined;
  /** Ends everything. */
  readonly signal: AbortSignal;
}

const maxPerSecond = 1500;
const minPerSecond = 20;
const refreshMs = 250;
const liveLimitMs = 30_000;
/** The rate of the table is that of the last so many milliseconds. */
const rateOverMs = 2000;
/** A lane that drains without any progress for so long will not. */
const stuckMs = 30_000;
const orderlyEndMs = 10_000;
/** Whoever presses Ctrl-C does not want to wait for farewells. */
const hurriedEndMs = 1000;

/**
 * The whole demo: three clusters, sensors, two outages, the verdict. True if every lane is clean. Whatever happens, no process is
 * left, nor the folder unless it is to be kept.
 */
export async function runDemo(options: DemoOptions): Promise<boolean> {
  const { out, signal, keep } = options;
  if ((await newest()) === undefined) {
    throw new FailureError('embedded-down', 'no nats-server found: put one on PATH, or name it in NATS_SERVER');
  }
  const dir = await makeFolder();
  const sites: Site[] = [];
  const killNow = (): void => {
    for (const site of sites) site.killNow();
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
    await Promise.all(sites.map((site) => site.end(signal.aborted ? hurriedEndMs : orderlyEndMs)));
    process.off('exit', killNow);
    // What went wrong can be seen in the logs and streams only.
    const kept = keep || (clean === false && !signal.aborted);
    if (kept) out(`kept ${dir}: topology files, certificates, stores, and the log of each daemon\n`);
    else await removeFolder(dir);
  }
}

class Demo {
  readonly #options: DemoOptions;
  readonly #dir: string;
  readonly #sites: Site[];
  readonly #screen: Screen;
  readonly #signal: AbortSignal;
  readonly #sensors = new Map<string, Sensors>();
  /** Per plant: how much was stored when, within the last moments. */
  readonly #history = new Map<string, { readonly atMs: number; readonly stored: number }[]>();
  #begunMs = 0;

  constructor(options: DemoOptions, dir: string, sites: Site[]) {
    this.#options = options;
    this.#dir = dir;
    this.#sites = sites;
    this.#signal = options.signal;
    this.#screen = openScreen(options);
  }

  async run(): Promise<boolean> {
    const { seconds, out } = this.#options;
    out(
      'Two plants send what their sensors measure to a hub: three clusters, each with a nats-server and a Causeway daemon.\n',
    );
    // A disk that is busy at this moment may be idle at another: the best of three looks counts.
    const probe = (): number => syncsPerSecond(this.#dir);
    let syncs = probe();
    await this.#start();
    syncs = Math.max(syncs, probe());
    await this.#waitUntilLive();
    const perSecond = this.#options.perSecond ?? suitableRate(Math.max(syncs, probe()));
    this.#introduce(perSecond);

    this.#begunMs = performance.now();
    for (const plant of plants) {
      const { client } = this.#site(plant);
      this.#sensors.set(plant, new Sensors({ plant, client, perSecond, signal: this.#signal }));
    }
    await this.#watchUntil(0.3 * seconds);
    this.#event(`${hub}: nats-server and daemon killed (-9). The sensors go on.`);
    await this.#site(hub).kill();
    await this.#watchUntil(0.55 * seconds);
    this.#event(`${hub}: daemon started again; it starts its nats-server.`);
    await this.#whileWatching(this.#site(hub).start(this.#signal));
    await this.#watchUntil(0.8 * seconds);
    const [, second] = plants;
    this.#event(`${second}: nats-server killed (-9). Its daemon starts another.`);
    await this.#site(second).killServer();
    await this.#watchUntil(seconds);
    this.#event('The sensors stop.');
    await this.#whileWatching(Promise.all([...this.#sensors.values()].map((sensors) => sensors.stop())));
    await this.#drain();
    return this.#judge();
  }

  async #start(): Promise<void> {
    const signal = this.#signal;
    signal.throwIfAborted();
    const [listenPort, ...ports] = (await freePorts(1 + 2 * (1 + plants.length))) as [number, ...number[]];
    await writeCerts(this.#dir, {
      trustDomain,
      clusters: [hub, ...plants].map((cluster) => ({ cluster })),
      days: 2,
    });
    for (const [i, cluster] of [hub, ...plants].entries()) {
      const own = { nats: ports[2 * i]!, monitor: ports[2 * i + 1]! };
      const text = cluster === hub ? hubTopology(own, listenPort) : plantTopology(cluster, own, listenPort);
      await writeFile(join(this.#dir, `${cluster}.yaml`), text);
      this.#sites.push(new Site({ cluster, dir: this.#dir, ports: own }));
    }
    await Promise.all(
      this.#sites.map(async (site) => {
        await site.start(signal);
        if (site.cluster === hub) await site.client.make(sinkStream, ['fleet.>']);
        else await site.client.make(sourceStream, [readingSubjects]);
      }),
    );
  }

  #introduce(perSecond: number): void {
    const { out } = this.#options;
    out('\n');
    for (const { cluster, natsUrl, monitorUrl } of this.#sites) {
      const stream = cluster === hub ? sinkStream : sourceStream;
      out(`  ${cluster.padEnd(8)} ${natsUrl}  stream ${stream.padEnd(9)}  ${monitorUrl}/\n`);
    }
    out(`
Look in while it runs: open a page above, or  nats --server ${this.#site(hub).natsUrl} sub 'fleet.>'
Every record is on disk before it counts as stored; each plant sends ${formatCount(perSecond)} a second. Ctrl-C ends everything.

`);
  }

  async #waitUntilLive(): Promise<void> {
    const untilMs = performance.now() + liveLimitMs;
    for (;;) {
      const views = await Promise.all(plants.map((plant) => this.#view(plant)));
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
      if (views.every(({ sent, stored }) => stored === sent)) return;
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

  /** Reads the hub's stream from its first record to its last. */
  async #judge(): Promise<boolean> {
    const { out } = this.#options;
    this.#screen.settle();
    const tallies = [...this.#sensors].map(([plant, { sent, reading }]) => ({
      sent,
      tally: new Tally({ lane: laneOf(plant), subjectPrefix: subjectPrefix(plant), reading }),
    }));
    let strange = 0;
    await this.#site(hub).client.readAll(sinkStream, (subject, payload) => {
      if (!tallies.some(({ tally }) => tally.observe(subject, payload))) strange++;
    });
    const verdicts = tallies.map(({ tally, sent }) => tally.verdict(sent));
    const clean = strange === 0 && verdicts.every(isClean);
    out(`\nThe verdict, by reading ${sinkStream} at the hub from its first record to its last:\n\n`);
    out(`${verdictTable(verdicts).join('\n')}\n\n`);
    if (strange > 0) out(`${formatCount(strange)} records there belong to no lane.\n`);
    out(clean ? 'Every record is there once, in order, unchanged.\n' : `${complaint(verdicts)}\n`);
    return clean;
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
    const views = await Promise.all(plants.map((plant) => this.#view(plant)));
    this.#screen.show(laneTable(this.#clock(), views));
    return views;
  }

  /** As the plant's daemon sees its lane: it knows what the hub has stored also while the hub is away. */
  async #view(plant: string): Promise<LaneView> {
    const lane = laneOf(plant);
    const status = await this.#site(plant).status();
    const found = status?.lanes.find((one) => one.lane === lane);
    const before = this.#history.get(plant) ?? [];
    const stored = found?.storedSequence ?? before.at(-1)?.stored;
    // A record may be stored at the hub before the sensors hear that it is at the plant.
    const sent = Math.max(this.#sensors.get(plant)?.sent ?? 0, stored ?? 0);
    return {
      lane,
      sent,
      stored,
      perSecond: stored === undefined ? undefined : this.#rate(plant, before, stored),
      state:
        found === undefined ? undefined : [found.state, found.reason].filter((word) => word !== undefined).join(': '),
    };
  }

  #rate(plant: string, before: readonly { readonly atMs: number; readonly stored: number }[], stored: number): number {
    const atMs = performance.now();
    const history = [...before.filter((moment) => atMs - moment.atMs <= rateOverMs), { atMs, stored }];
    this.#history.set(plant, history);
    const first = history[0]!;
    return atMs - first.atMs < refreshMs ? 0 : ((stored - first.stored) * 1000) / (atMs - first.atMs);
  }

  #event(text: string): void {
    this.#screen.event(`${this.#clock()}  ${text}`);
  }

  #clock(): string {
    return `${((performance.now() - this.#begunMs) / 1000).toFixed(1).padStart(5)} s`;
  }

  #check(): void {
    for (const site of this.#sites) site.check();
    for (const sensors of this.#sensors.values()) sensors.check();
  }

  #site(cluster: string): Site {
    return this.#sites.find((site) => site.cluster === cluster)!;
  }
}

/** Embedded servers sync every record, at the plant and at the hub, and a backlog has to drain as well. */
function suitableRate(syncs: number): number {
  return Math.min(maxPerSecond, Math.max(minPerSecond, Math.floor(syncs / 5 / 10) * 10));
}

function complaint(verdicts: readonly LaneVerdict[]): string {
  const wrong = verdicts.filter((verdict) => !isClean(verdict)).map(({ lane }) => lane);
  return `NOT CLEAN: ${wrong.join(', ')}. This must not happen: please report it, with the logs.`;
}
