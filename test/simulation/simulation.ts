/** One run: a world, a seed, faults, and a verdict. */
import { createRequire, syncBuiltinESMExports } from 'node:module';
import type { LaneLimits } from '../../src/daemon/lane-set.ts';
import type { MemoryBudgetOptions } from '../../src/lib/memory-budget.ts';
import type { LanePlan } from '../../src/topology/plan.ts';
import { Seed } from '../support/seed.ts';
import { type Break, noBreak } from './breaks.ts';
import { type Owner, replace, VirtualClock } from './clock.ts';
import { drawLimits, drawMemory } from './draw.ts';
import { type FaultKind, faultKinds, strike } from './faults.ts';
import { type JudgedLane, judge, missing } from './oracle.ts';
import { SimBroker } from './sim-broker.ts';
import type { FrameTap } from './sim-channel.ts';
import { SimDaemon } from './sim-daemon.ts';
import type { SimLink } from './sim-link.ts';
import type { StoreHealth } from './sim-store.ts';
import type { SimStream } from './sim-stream.ts';
import { SimWire } from './sim-wire.ts';
import { Watch } from './watch.ts';
import { type StreamSpec, type World, worlds } from './worlds.ts';

const require = createRequire(import.meta.url);
/** By then everything has to have arrived once the faults have ceased, in ms. */
const settleMs = 240_000;

export interface RunOptions {
  readonly world: string;
  readonly seed: number;
  readonly trace?: boolean;
  /** Default: the product as it is. */
  readonly broken?: Break;
}

export interface RunResult {
  readonly world: string;
  readonly seed: number;
  readonly violations: readonly string[];
  readonly trace: readonly string[];
  readonly events: number;
  readonly virtualMs: number;
  readonly faults: readonly string[];
  readonly records: number;
}

/** Where a daemon runs: the present one, if there is one. */
export interface Site {
  readonly cluster: string;
  readonly name: string;
  daemon: SimDaemon | undefined;
  sinceMs: number;
}

export interface Placed {
  readonly spec: StreamSpec;
  readonly stream: SimStream;
  readonly broker: SimBroker;
}

export class Simulation {
  readonly clock: VirtualClock;
  readonly watch: Watch;
  readonly brokers: SimBroker[] = [];
  readonly health = new Map<string, StoreHealth>();
  readonly streams: Placed[] = [];
  readonly sites: Site[] = [];
  readonly wires: SimWire[] = [];
  readonly lanePlans: readonly LanePlan[];
  /** Streams (cluster/stream) that lost their tail, or were made anew. */
  readonly shrunk = new Set<string>();
  /** Whether what a lost connection still held may be stored when nobody expects it any more. */
  readonly lateness: boolean;
  readonly faults: string[] = [];
  /** So many of the next records are such that every sink refuses them for good. */
  poisonous = 0;
  readonly #random: Seed;
  readonly #network: Seed;
  readonly #broken: Break;
  readonly #limits: LaneLimits;
  readonly #memory: MemoryBudgetOptions;
  readonly #lanes = new Map<string, JudgedLane>();
  /** Which lane a session between two daemons is of, by the frames they exchange. */
  #pending: (() => void)[] = [];
  #published = 0;
  #feeding = 0;

  constructor(world: World, options: RunOptions) {
    const random = new Seed(options.seed);
    this.#random = random;
    this.#network = new Seed(random.between(0, 2 ** 30));
    this.#broken = options.broken ?? noBreak;
    this.clock = new VirtualClock((error) =>
      this.watch.violate(`I7: thrown and not caught: ${error instanceof Error ? error.stack : String(error)}`),
    );
    this.watch = new Watch(this.clock, this.#lanes, options.trace ?? false);
    this.lanePlans = world.lanes;
    this.lateness = random.next() < 0.4;
    if (this.lateness) this.faults.push('0 lateness');
    this.#limits = drawLimits(random);
    this.#memory = drawMemory(random);
    SimBroker.resetStamps();
    for (const spec of world.streams) this.#place(spec);
    for (const plan of world.lanes) {
      const find = (cluster: string, stream: string) =>
        this.streams.find(({ spec }) => spec.cluster === cluster && spec.stream === stream)!;
      const sink = find(plan.to, plan.sinkStream);
      this.#lanes.set(plan.id, {
        plan,
        source: find(plan.from, plan.sourceStream).stream,
        sink: sink.stream,
        sinkBroker: sink.broker,
        raced: false,
        beganMs: undefined,
        acknowledged: 0,
      });
    }
    this.#populate();
  }

  #place(spec: StreamSpec): void {
    let broker = this.brokers.find(({ cluster }) => cluster === spec.cluster);
    if (broker === undefined) {
      broker = new SimBroker(spec.cluster, this.clock, this.#network, this.watch);
      this.brokers.push(broker);
      this.health.set(spec.cluster, { slow: false, failing: false });
    }
    this.streams.push({
      spec,
      broker,
      stream: broker.addStream(spec.stream, spec.subjects, 120_000, spec.consumed ?? false),
    });
  }

  /** One daemon for each cluster; sometimes one has two, which then race. */
  #populate(): void {
    const random = this.#random;
    const twin = random.next() < this.#broken.twins ? random.pick(this.brokers).cluster : undefined;
    for (const { cluster } of this.brokers) {
      this.sites.push({ cluster, name: cluster, daemon: undefined, sinceMs: 0 });
      if (cluster !== twin && !(this.#broken.twins === 1)) continue;
      this.sites.push({ cluster, name: `${cluster}2`, daemon: undefined, sinceMs: 0 });
      this.faults.push('0 twins');
      for (const lane of this.#lanes.values()) lane.raced ||= lane.plan.to === cluster;
    }
    const joined = (a: Site, b: Site) =>
      this.lanePlans.some(
        ({ from, to }) => (from === a.cluster && to === b.cluster) || (from === b.cluster && to === a.cluster),
      );
    for (const [i, a] of this.sites.entries()) {
      for (const b of this.sites.slice(i + 1)) {
        if (a.cluster === b.cluster || !joined(a, b)) continue;
        const [dialler, listener] = random.next() < 0.5 ? [a, b] : [b, a];
        this.wires.push(
          new SimWire({
            clock: this.clock,
            random: this.#network,
            ends: [() => dialler.daemon, () => listener.daemon],
            reaches: (daemon, cluster) => this.wires.some((wire) => wire.connects(daemon, cluster)),
            tap: (sender, lane, frame) => this.#tap(sender, lane, frame),
          }),
        );
      }
    }
    for (const site of this.sites) this.clock.after(random.between(0, 500), undefined, () => this.launch(site));
  }

  #tap(sender: Owner, laneId: string | undefined, frame: Buffer): ReturnType<FrameTap> {
    const { says, hears } = this.#broken;
    const said = says?.(frame, laneId ?? '') ?? frame;
    const lane = this.watch.frame(sender.name, laneId, said);
    return { lane, frame: hears?.(said, laneId ?? '') ?? said };
  }

  launch(site: Site): void {
    if (site.daemon !== undefined) return;
    const { cluster } = site;
    const daemon = new SimDaemon({
      clock: this.clock,
      random: this.#network,
      cluster,
      node: `${site.name}#${this.clock.serial()}`,
      broker: this.brokers.find((broker) => broker.cluster === cluster)!,
      health: this.health.get(cluster)!,
      lanes: this.lanePlans,
      limits: this.#limits,
      memory: this.#memory,
      open: (from, peer) => this.#open(from, peer),
      log: (from, level, event, fields) => this.watch.log(from, level, event, fields),
      store: (store, from) => this.#broken.store?.(store, from, this.clock) ?? store,
    });
    site.daemon = daemon;
    site.sinceMs = this.clock.nowMs;
    this.watch.say(() => `${daemon.name} starts`);
  }

  #open(from: SimDaemon, peer: string): ReturnType<SimWire['opener']> {
    for (const wire of this.wires) {
      if (!wire.connects(from, peer)) continue;
      const opener = wire.opener(from);
      if (opener !== undefined) return opener;
    }
    return undefined;
  }

  /** Something that heals by itself, or at the end. */
  later(delayMs: number, heal: () => void): void {
    this.#pending.push(heal);
    this.clock.after(delayMs, undefined, heal);
  }

  kill(site: Site, lateMs: number, againMs: number): void {
    const { daemon } = site;
    if (daemon === undefined) return;
    daemon.kill(lateMs);
    site.daemon = undefined;
    for (const wire of this.wires) wire.left(daemon);
    this.later(againMs, () => this.launch(site));
  }

  stop(site: Site, againMs: number): void {
    const { daemon } = site;
    if (daemon === undefined) return;
    site.daemon = undefined;
    const over = () => {
      this.watch.stopped(daemon);
      daemon.kill(0);
      for (const wire of this.wires) wire.left(daemon);
      this.later(againMs, () => this.launch(site));
    };
    this.clock.as(daemon, () => void daemon.stop().then(over));
  }

  crash(broker: SimBroker, forMs: number): void {
    broker.crash();
    this.later(forMs, () => {
      broker.up = true;
    });
  }

  someLink(random: Seed): { readonly owner: string; readonly which: string; readonly link: SimLink } | undefined {
    const daemon = random.pick(this.sites).daemon;
    const which = random.pick(['control', 'reader', 'writer'] as const);
    return daemon && { owner: daemon.name, which, link: daemon.links[which] };
  }

  async run(): Promise<void> {
    const { clock, watch } = this;
    const random = this.#random;
    const chaosMs = random.between(3000, random.pick([8000, 20_000, 40_000]));
    this.#schedule(chaosMs);
    this.#publish(chaosMs);
    const look = (): void => {
      this.#look();
      clock.after(1000, undefined, look);
    };
    clock.after(1000, undefined, look);
    await clock.run(chaosMs);
    watch.say(() => '--- the faults cease');
    for (const heal of this.#pending.splice(0)) heal();
    for (const broker of this.brokers) broker.heal();
    const wentBy = () => this.#feeding === 0 && [...this.#lanes.values()].every((lane) => missing(lane) === undefined);
    let nextLookMs = 0;
    let settled = false;
    await clock.run(chaosMs + settleMs, () => {
      if (clock.nowMs < nextLookMs) return false;
      nextLookMs = clock.nowMs + 200;
      settled = wentBy();
      return settled;
    });
    if (!settled) this.#tellStuck();
    // What comes late comes now; and a start finds everything as it was left.
    await clock.run(clock.nowMs + 4000);
    for (const site of this.sites) this.kill(site, 0, random.between(1, 300));
    await clock.run(clock.nowMs + 6000);
    const places = this.streams.map(({ spec, stream }) => [`${spec.cluster}/${spec.stream}`, stream] as const);
    for (const wrong of judge([...this.#lanes.values()], places, this.shrunk)) watch.violate(wrong);
  }

  get records(): number {
    return this.#published;
  }

  #tellStuck(): void {
    const stuck = [...this.#lanes.values()].find((lane) => missing(lane) !== undefined);
    const states = this.sites.flatMap(({ daemon }) =>
      (daemon?.status() ?? [])
        .filter(({ lane }) => lane === stuck?.plan.id)
        .map(({ role, state, reason, detail }) => `${daemon?.name} ${role} ${state} ${reason ?? ''} ${detail ?? ''}`),
    );
    this.watch.violate(`I2: not delivered in ${settleMs} ms: ${stuck?.plan.id} (${states.join('; ')})`);
  }

  #schedule(chaosMs: number): void {
    const random = this.#random;
    const kinds = this.#broken.faults ?? random.shuffled(faultKinds).slice(0, random.between(1, 7));
    const count = random.between(1, 12);
    for (let i = 0; i < count; i++) {
      const kind = random.pick(kinds);
      this.clock.after(random.between(200, chaosMs), undefined, () => this.#strike(kind));
    }
  }

  #strike(kind: FaultKind): void {
    if (strike(kind, this, this.#random)) this.faults.push(`${Math.round(this.clock.nowMs)} ${kind}`);
  }

  /** Applications publish in bursts, while their server is there. */
  #publish(chaosMs: number): void {
    const random = this.#random;
    const many = random.pick([8, 25, 60]);
    for (const { spec, broker } of this.streams) {
      if (spec.feed === undefined) continue;
      const feed = spec.feed;
      let left = random.between(3, many);
      let number = 0;
      this.#feeding++;
      const burst = (): void => {
        for (let n = random.between(1, 6); n > 0 && left > 0 && broker.up; n--) {
          left--;
          this.#published++;
          const size = random.next() < 0.05 ? random.between(500, 3000) : random.between(0, 100);
          const last = this.poisonous > 0 ? '!' : '';
          this.poisonous -= last.length;
          broker.store(spec.stream, feed, `${spec.cluster}/${spec.stream}:${++number} `.padEnd(size, '.') + last);
        }
        if (left > 0) this.clock.after(random.next() * (chaosMs / many) * 6, undefined, burst);
        else this.#feeding--;
      };
      this.clock.after(random.between(0, 1500), undefined, burst);
    }
  }

  #look(): void {
    const { clock, watch } = this;
    for (const { daemon, sinceMs, cluster } of this.sites) {
      if (daemon === undefined) continue;
      const broker = this.brokers.find((one) => one.cluster === cluster)!;
      const knows =
        broker.up &&
        broker.answering === 'well' &&
        clock.nowMs - sinceMs > 5000 &&
        daemon.links.control.line !== undefined;
      watch.status(daemon, knows);
      watch.memory(daemon);
    }
    const { prefetchBytes } = this.#limits;
    for (const { spec, broker } of this.streams)
      watch.asked(
        `${spec.cluster}/${spec.stream}`,
        broker.askedBytes(spec.stream),
        Math.max(4 * 1024 * 1024, prefetchBytes),
      );
  }
}

/** Runs one seed. The clocks and random numbers of the process are its own meanwhile. */
export async function simulate(options: RunOptions): Promise<RunResult> {
  const world = worlds[options.world];
  if (world === undefined) throw new Error(`there is no world ${options.world}: ${Object.keys(worlds).join(', ')}`);
  const simulation = new Simulation(world, options);
  const { clock, watch } = simulation;
  const restore = [clock.install(new Seed(options.seed + 1)), ...(options.broken?.patch?.() ?? []), guardDisk(watch)];
  const unhandled = (error: unknown): void =>
    watch.violate(`I7: rejected and not caught: ${error instanceof Error ? error.stack : String(error)}`);
  process.on('unhandledRejection', unhandled);
  const { stackTraceLimit } = Error;
  // Stacks cost more than everything else together; whoever wants to see one takes a trace.
  if (options.trace !== true) Error.stackTraceLimit = 0;
  try {
    await simulation.run();
  } finally {
    Error.stackTraceLimit = stackTraceLimit;
    process.off('unhandledRejection', unhandled);
    for (const back of restore.toReversed()) back();
  }
  const { world: name, seed } = options;
  const { faults, records } = simulation;
  const { violations, trace } = watch;
  return { world: name, seed, violations, trace, events: clock.events, virtualMs: clock.nowMs, faults, records };
}

/** I8: whoever writes to the disk is caught. */
function guardDisk(watch: Watch): () => void {
  const guard = (name: string) => () => {
    watch.violate(`I8: ${name} is called`);
  };
  const names = ['writeFileSync', 'writeFile', 'appendFileSync', 'appendFile', 'createWriteStream'];
  const undo = [
    replace(require('node:fs'), Object.fromEntries(names.map((name) => [name, guard(name)]))),
    replace(require('node:fs/promises'), { writeFile: guard('writeFile'), appendFile: guard('appendFile') }),
  ];
  syncBuiltinESMExports();
  return () => {
    for (const back of undo) back();
    syncBuiltinESMExports();
  };
}
