/** What goes wrong in a run, and when: drawn from the seed. */
import type { Seed } from '../support/seed.ts';
import type { Simulation } from './simulation.ts';

export const faultKinds = [
  'wire-cut',
  'wire-freeze',
  'channel-cut',
  'rotate',
  'kill',
  'stop',
  'broker-crash',
  'line-cut',
  'line-freeze',
  'sink-refuses',
  'store-slow',
  'store-fails',
  'foreign',
  'clock-jump',
  'source-expires',
  'source-purged',
  'source-deletes',
  'source-recreated',
  'source-loses-tail',
  'sink-loses-tail',
] as const;
export type FaultKind = (typeof faultKinds)[number];

/** What a fault of this kind does to the world. */
export function strike(kind: FaultKind, world: Simulation, random: Seed): void {
  const { clock, watch } = world;
  const sources = world.streams.filter(({ spec }) => spec.feed !== undefined);
  const sinks = world.streams.filter(({ spec }) =>
    world.lanePlans.some(({ to, sinkStream }) => to === spec.cluster && sinkStream === spec.stream),
  );
  const say = (text: string) => watch.say(() => `--- ${kind} ${text}`);
  const late = () => (world.lateness && random.next() < 0.5 ? random.between(50, 4000) : 0);
  switch (kind) {
    case 'wire-cut': {
      const wire = random.pick(world.wires);
      wire.keptDownUntilMs = clock.nowMs + random.between(0, 4000);
      say('');
      wire.cut();
      break;
    }
    case 'wire-freeze': {
      const forMs = random.pick([300, 3000, 15_000]);
      say(`${forMs}`);
      random.pick(world.wires).freeze(forMs);
      break;
    }
    case 'channel-cut':
      say('');
      random.pick(world.wires).cutChannel();
      break;
    case 'rotate': {
      // No fault, but a change at any moment, also while the one before is under way.
      const drainMs = random.pick([20, 500, 10_000]);
      const wire = random.pick(world.wires);
      const times = random.between(1, 4);
      say(`${times} times, ${drainMs}`);
      for (let i = 0; i < times; i++) clock.after(random.next() * 400 * i, undefined, () => wire.rotate(drainMs));
      break;
    }
    case 'kill': {
      const site = random.pick(world.sites);
      say(site.daemon?.name ?? 'nobody');
      world.kill(site, late(), random.between(1, 4000));
      break;
    }
    case 'stop': {
      const site = random.pick(world.sites);
      say(site.daemon?.name ?? 'nobody');
      world.stop(site, random.between(1, 2000));
      break;
    }
    case 'broker-crash': {
      const broker = random.pick(world.brokers);
      const forMs = random.between(20, 5000);
      say(`${broker.cluster} ${forMs}`);
      world.crash(broker, forMs);
      break;
    }
    case 'line-cut': {
      const line = world.someLink(random);
      const lateMs = late();
      say(`${line?.owner} ${line?.which} ${lateMs}`);
      line?.link.cut(lateMs);
      break;
    }
    case 'line-freeze': {
      const line = world.someLink(random);
      const [forMs, lateMs] = [random.pick([200, 2000, 20_000]), late()];
      say(`${line?.owner} ${line?.which} ${forMs} ${lateMs}`);
      line?.link.freeze(forMs, lateMs);
      break;
    }
    case 'sink-refuses': {
      const { broker } = random.pick(sinks);
      const forMs = random.next() < 0.2 ? 30_000 : random.between(20, 7000);
      const answering = random.pick(['nobody', 'error', 'silent'] as const);
      say(`${broker.cluster} ${answering} ${forMs}`);
      broker.refuse(answering, forMs);
      break;
    }
    case 'store-slow':
    case 'store-fails': {
      const health = world.health.get(random.pick(world.brokers).cluster)!;
      const what = kind === 'store-slow' ? 'slow' : 'failing';
      health[what] = true;
      say('');
      world.later(random.between(500, 8000), () => {
        health[what] = false;
      });
      break;
    }
    case 'foreign': {
      const { spec, stream, broker } = random.pick(sinks);
      const count = random.between(1, 6);
      say(`${spec.cluster}/${spec.stream} ${count}`);
      world.excuses.unordered.add(`${spec.cluster}/${spec.stream}`);
      for (let i = 0; i < count; i++) {
        clock.after(random.next() * 300, undefined, () => {
          if (broker.up)
            broker.store(spec.stream, stream.subjects[0]!.replace('>', 'foreign'), `foreign:${clock.serial()} `);
        });
      }
      break;
    }
    case 'clock-jump': {
      const byMs = random.pick([-3_600_000, -5000, 5000, 86_400_000]);
      say(`${byMs}`);
      clock.wallOffsetMs += byMs;
      break;
    }
    case 'source-expires': {
      const { spec, stream } = random.pick(sources);
      const count = random.between(0, stream.list.length);
      say(`${spec.cluster}/${spec.stream} ${count}`);
      stream.expire(count, clock.nowMs);
      break;
    }
    case 'source-purged': {
      const { spec, stream } = random.pick(sources);
      say(`${spec.cluster}/${spec.stream}`);
      stream.expire(stream.list.length, clock.nowMs);
      break;
    }
    case 'source-deletes': {
      const { spec, stream } = random.pick(sources);
      // Numbers in use again, and the very record gone that would tell: nobody can know.
      if (world.excuses.shrunk.has(`${spec.cluster}/${spec.stream}`)) break;
      if (stream.list.length > 0) stream.deleteAt(random.pick(stream.list).sequence);
      break;
    }
    case 'source-recreated': {
      const { spec, broker } = random.pick(sources);
      say(`${spec.cluster}/${spec.stream}`);
      world.excuses.shrunk.add(`${spec.cluster}/${spec.stream}`);
      // Of a sink nobody notices that before the connection is lost, or something is appended.
      if (sinks.some((one) => one.spec === spec)) world.crash(broker, 20);
      broker.recreate(spec.stream);
      break;
    }
    case 'source-loses-tail':
    case 'sink-loses-tail': {
      const { spec, stream, broker } = random.pick(kind === 'sink-loses-tail' ? sinks : sources);
      // Of an empty stream there is nothing by which its numbers could be known again.
      if (stream.list.length < 2) break;
      const count = random.between(1, Math.floor(stream.list.length / 2));
      const forMs = random.between(20, 3000);
      say(`${spec.cluster}/${spec.stream} ${count} behind ${stream.last - count}`);
      world.excuses.shrunk.add(`${spec.cluster}/${spec.stream}`);
      world.crash(broker, forMs);
      stream.loseTail(count);
      break;
    }
  }
}
