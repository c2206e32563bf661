/** A daemon's ends of lanes, the production wiring of them, over simulated connections. Killed, all of it is gone. */
import { NatsBroker } from '../../src/brokers/nats/nats-broker.ts';
import type { SinkStore } from '../../src/brokers/store.ts';
import { type LaneDeps, type LaneLimits, LaneSet } from '../../src/daemon/lane-set.ts';
import type { LocalLane } from '../../src/daemon/links.ts';
import type { LogFields, Logger, LogLevel } from '../../src/lib/logger.ts';
import { MemoryBudget, type MemoryBudgetOptions } from '../../src/lib/memory-budget.ts';
import type { LaneStatus } from '../../src/ops/status.ts';
import type { LanePlan } from '../../src/topology/plan.ts';
import type { Channel, ChannelEvents } from '../../src/transport/channel.ts';
import type { Failure } from '../../src/wire/reasons.ts';
import type { Seed } from '../support/seed.ts';
import type { Owner, VirtualClock } from './clock.ts';
import type { SimBroker } from './sim-broker.ts';
import { SimLink } from './sim-link.ts';
import { SimStore, type StoreHealth } from './sim-store.ts';

export interface SimDaemonOptions {
  readonly clock: VirtualClock;
  readonly random: Seed;
  readonly cluster: string;
  /** Tells this run of this daemon from all others. */
  readonly node: string;
  readonly broker: SimBroker;
  readonly health: StoreHealth;
  readonly lanes: readonly LanePlan[];
  readonly limits: LaneLimits;
  readonly memory: MemoryBudgetOptions;
  readonly open: (from: SimDaemon, peer: string) => ((events: ChannelEvents) => Channel) | undefined;
  readonly log: (daemon: SimDaemon, level: LogLevel, event: string, fields: LogFields) => void;
  /** What the store is like that the daemon is given; a broken variant of the product may wrap it. */
  readonly store: (store: SimStore, daemon: SimDaemon) => SinkStore;
}

export class SimDaemon implements Owner {
  readonly name: string;
  readonly cluster: string;
  dead = false;
  readonly links: { readonly control: SimLink; readonly reader: SimLink; readonly writer: SimLink };
  readonly #options: SimDaemonOptions;
  readonly #clock: VirtualClock;
  readonly #memory: MemoryBudget;
  readonly #lanes: LaneSet;
  readonly #plans: readonly LanePlan[];
  #doom: { left: number; readonly strike: () => void } | undefined;

  constructor(options: SimDaemonOptions) {
    const { clock, random, cluster, node, broker, health } = options;
    this.#options = options;
    this.name = node;
    this.cluster = cluster;
    this.#clock = clock;
    this.#memory = new MemoryBudget(options.memory);
    const link = (): SimLink => new SimLink({ clock, random, owner: this, broker });
    this.links = { control: link(), reader: link(), writer: link() };
    const store = new SimStore({ clock, random, broker, link: this.links.control, health });
    this.#plans = options.lanes.filter(({ from, to }) => from === cluster || to === cluster);
    const { control, reader, writer } = this.links;
    this.#lanes = clock.as(this, () => {
      const lanes = new LaneSet({
        cluster,
        node,
        log: loggerOf((level, event, fields) => options.log(this, level, event, fields)),
        broker: new NatsBroker({
          cluster,
          links: { control: control.asNatsLink, reader: reader.asNatsLink, writer: writer.asNatsLink },
          store: options.store(store, this),
        }),
        metrics: { observeBatch: () => undefined } as unknown as LaneDeps['metrics'],
        maxFrameBytes: 4 * 1024 * 1024,
        memory: this.#memory,
        open: (peer) => options.open(this, peer),
        nodeOf: () => undefined,
        limits: options.limits,
      });
      lanes.set(this.#plans.map((plan) => ({ ...localLane(plan, cluster), rights: allRights })));
      return lanes;
    });
  }

  /** Must run on behalf of the daemon. */
  get lanes(): LaneSet {
    return this.#lanes;
  }

  /** How much of its budget it uses, and how much it may: each end of a lane has its least, and a request of a reader is 16 KiB at least. */
  get memoryBytes(): { readonly used: number; readonly allowed: number } {
    const { bytes, leastBytes } = this.#options.memory;
    return { used: this.#memory.usedBytes, allowed: bytes + this.#plans.length * (3 * leastBytes + 40_000) };
  }

  /** Hears that the peer is there, and that it accepts every link. */
  peerUp(peer: string): void {
    this.#lanes.peerChanged(peer, true, undefined);
    for (const { link, linkHash } of this.#plans) this.#lanes.verdict(peer, link, linkHash, undefined);
  }

  peerDown(peer: string, failure: Failure): void {
    this.#lanes.peerChanged(peer, false, failure);
  }

  status(): LaneStatus[] {
    return this.#clock.as(this, () => this.#lanes.status(this.#clock.wallMs));
  }

  /** Of what it waits for, `waits` more come to pass; at the next one `strike` is called instead. */
  doom(waits: number, strike: () => void): void {
    this.#doom = { left: waits, strike };
  }

  woken(): void {
    const doom = this.#doom;
    if (doom === undefined || doom.left-- > 0) return;
    this.#doom = undefined;
    doom.strike();
  }

  /** The process is gone in this very moment. What it wrote may still arrive in part. */
  kill(lateMs: number): void {
    this.dead = true;
    for (const link of Object.values(this.links)) link.line?.leave(lateMs);
  }

  /** As on SIGTERM. */
  async stop(): Promise<void> {
    await this.#lanes.drain(5000);
    await this.#lanes.stop();
  }
}

const allRights = { allows: () => true, acceptsOrigin: () => true, mayNotCreate: undefined, key: 'all' };

function localLane(plan: LanePlan, cluster: string): LocalLane {
  return plan.from === cluster ? { plan, role: 'sender', peer: plan.to } : { plan, role: 'receiver', peer: plan.from };
}

function loggerOf(write: (level: LogLevel, event: string, fields: LogFields) => void, base: LogFields = {}): Logger {
  const at =
    (level: LogLevel) =>
    (event: string, fields: LogFields = {}) =>
      write(level, event, { ...base, ...fields });
  return {
    debug: at('debug'),
    info: at('info'),
    warn: at('warn'),
    error: at('error'),
    child: (fields) => loggerOf(write, { ...base, ...fields }),
  };
}
