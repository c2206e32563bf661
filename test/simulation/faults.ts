/** What goes wrong in a run, and when: drawn from the seed. */
import type { Seed } from '../support/seed.ts';
import type { Answering } from './sim-broker.ts';
import type { StoreHealth } from './sim-store.ts';
import type { Placed, Simulation } from './simulation.ts';

interface Struck {
  readonly world: Simulation;
  readonly random: Seed;
  /** Streams that applications write, and those that lanes end in. */
  readonly sources: readonly Placed[];
  readonly sinks: readonly Placed[];
  /** After how many ms comes what a lost connection still held, when nobody expects it any more; 0: at once. */
  readonly late: () => number;
}

/** What happened, for the trace; undefined if there was nothing to strike. */
type Strike = (struck: Struck) => string | undefined;

/** The sink answers badly for a while. */
function answers(...how: readonly Answering[]): Strike {
  return ({ sinks, random }) => {
    const { broker } = random.pick(sinks);
    const forMs = random.next() < 0.2 ? 30_000 : random.between(20, 7000);
    const answering = random.pick(how);
    broker.refuse(answering, forMs);
    return `${broker.cluster} ${answering} ${forMs}`;
  };
}

/** The KV buckets of a cluster do badly for a while. */
function store(how: keyof StoreHealth): Strike {
  return ({ world, random }) => {
    const { cluster } = random.pick(world.brokers);
    const health = world.health.get(cluster)!;
    health[how] = true;
    world.later(random.between(500, 8000), () => {
      health[how] = false;
    });
    return cluster;
  };
}

/** A power cut takes what was stored last, or an older copy is restored. */
function loses(which: 'sources' | 'sinks'): Strike {
  return ({ world, random, [which]: streams }) => {
    const placed = random.pick(streams);
    const { stream, broker } = placed;
    // Of an empty stream there is nothing by which its numbers could be known again.
    if (stream.list.length < 2) return undefined;
    const count = random.between(1, Math.floor(stream.list.length / 2));
    const forMs = random.between(20, 3000);
    world.shrunk.add(nameOf(placed));
    world.crash(broker, forMs);
    stream.loseTail(count, world.clock.nowMs);
    return `${nameOf(placed)} ${count} behind ${stream.last}`;
  };
}

const strikes = {
  'wire-cut': ({ world, random }) => {
    const wire = random.pick(world.wires);
    wire.keptDownUntilMs = world.clock.nowMs + random.between(0, 4000);
    if (!wire.isUp) return undefined;
    wire.cut();
    return '';
  },
  'wire-half-open': ({ world, random }) => {
    const lateMs = random.between(100, 9000);
    return random.pick(world.wires).cutHalf(lateMs) ? `${lateMs}` : undefined;
  },
  'wire-freeze': ({ world, random }) => {
    const forMs = random.pick([300, 3000, 15_000]);
    return random.pick(world.wires).freeze(forMs) ? `${forMs}` : undefined;
  },
  rotate: ({ world, random }) => {
    // No fault, but a change at any moment, also while the one before is under way.
    const [drainMs, times] = [random.pick([20, 500, 10_000]), random.between(1, 4)];
    const wire = random.pick(world.wires);
    for (let i = 0; i < times; i++) world.clock.after(random.next() * 400 * i, undefined, () => wire.rotate(drainMs));
    return `${times} times, ${drainMs}`;
  },
  'channel-cut': ({ world, random }) => (random.pick(world.wires).cutChannel() ? '' : undefined),
  kill: ({ world, random, late }) => {
    const site = random.pick(world.sites);
    const name = site.daemon?.name;
    world.kill(site, late(), random.between(1, 4000));
    return name;
  },
  'kill-at-await': ({ world, random, late }) => {
    const site = random.pick(world.sites);
    const { daemon } = site;
    if (daemon === undefined) return undefined;
    const [waits, lateMs, againMs] = [random.between(0, 80), late(), random.between(1, 2000)];
    daemon.doom(waits, () => world.kill(site, lateMs, againMs));
    return `${daemon.name} ${waits}`;
  },
  stop: ({ world, random }) => {
    const site = random.pick(world.sites);
    const name = site.daemon?.name;
    world.stop(site, random.between(1, 2000));
    return name;
  },
  'broker-crash': ({ world, random }) => {
    const broker = random.pick(world.brokers);
    const forMs = random.between(20, 5000);
    world.crash(broker, forMs);
    return `${broker.cluster} ${forMs}`;
  },
  'line-cut': ({ world, random, late }) => {
    const line = world.someLink(random);
    const lateMs = late();
    return line?.link.cut(lateMs) === true ? `${line.owner} ${line.which} ${lateMs}` : undefined;
  },
  'line-freeze': ({ world, random, late }) => {
    const line = world.someLink(random);
    const [forMs, lateMs] = [random.pick([200, 2000, 20_000]), late()];
    return line?.link.freeze(forMs, lateMs) === true ? `${line.owner} ${line.which} ${forMs} ${lateMs}` : undefined;
  },
  'sink-refuses': answers('nobody', 'error', 'silent'),
  'sink-slow': answers('slow'),
  'sink-stumbles': answers('stumbling'),
  'acks-lost': answers('mute'),
  'store-slow': store('slow'),
  'store-fails': store('failing'),
  foreign: ({ world, random, sinks }) => {
    const placed = random.pick(sinks);
    const { spec, broker } = placed;
    const count = random.between(1, 6);
    for (let i = 0; i < count; i++)
      world.clock.after(random.next() * 300, undefined, () => broker.up && broker.foreign(spec.stream));
    return `${nameOf(placed)} ${count}`;
  },
  poison: ({ world, random }) => {
    const count = random.between(1, 4);
    world.poisonous += count;
    return `${count}`;
  },
  'clock-jump': ({ world, random }) => {
    const byMs = random.pick([-3_600_000, -5000, 5000, 86_400_000]);
    world.clock.wallOffsetMs += byMs;
    return `${byMs}`;
  },
  'source-expires': ({ world, random, sources }) => {
    const placed = random.pick(sources);
    const { stream } = placed;
    if (stream.list.length === 0) return undefined;
    const count = random.between(1, stream.list.length);
    stream.expire(count, world.clock.nowMs);
    return `${nameOf(placed)} ${count}`;
  },
  'source-purged': ({ world, random, sources }) => {
    const placed = random.pick(sources);
    const { stream } = placed;
    if (stream.list.length === 0) return undefined;
    stream.expire(stream.list.length, world.clock.nowMs);
    return nameOf(placed);
  },
  'source-deletes': ({ world, random, sources }) => {
    const placed = random.pick(sources);
    const { stream } = placed;
    // Numbers in use again, and the very record gone that would tell: nobody can know.
    if (world.shrunk.has(nameOf(placed)) || stream.list.length === 0) return undefined;
    const { sequence } = random.pick(stream.list);
    stream.deleteAt(sequence);
    return `${nameOf(placed)} ${sequence}`;
  },
  'source-recreated': ({ world, random, sources, sinks }) => {
    const placed = random.pick(sources);
    const { broker, spec } = placed;
    world.shrunk.add(nameOf(placed));
    // Of a sink nobody notices that before the connection is lost, or something is appended.
    if (sinks.includes(placed)) world.crash(broker, 20);
    broker.recreate(spec.stream);
    return nameOf(placed);
  },
  'source-loses-tail': loses('sources'),
  'sink-loses-tail': loses('sinks'),
} as const satisfies Readonly<Record<string, Strike>>;

export type FaultKind = keyof typeof strikes;
export const faultKinds = Object.keys(strikes) as readonly FaultKind[];

/** Does to the world what a fault of this kind does. False if there was nothing to strike at this moment. */
export function strike(kind: FaultKind, world: Simulation, random: Seed): boolean {
  const sources = world.streams.filter(({ spec }) => spec.feed !== undefined);
  const sinks = world.streams.filter(({ spec }) =>
    world.lanePlans.some(({ to, sinkStream }) => to === spec.cluster && sinkStream === spec.stream),
  );
  const late = () => (world.lateness && random.next() < 0.5 ? random.between(50, 4000) : 0);
  const happened = strikes[kind]({ world, random, sources, sinks, late });
  if (happened === undefined) return false;
  world.watch.say(() => `--- ${kind} ${happened}`);
  return true;
}

function nameOf({ spec }: Placed): string {
  return `${spec.cluster}/${spec.stream}`;
}
