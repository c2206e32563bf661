import { expect, test } from 'vitest';
import { SinkWorld, type WorldLane } from '../../test/support/sink-world.ts';

const [a, b] = ['l/a/h', 'm/b/h'] as const;

/** Lanes of sources without holes, settled. */
function settled(lanes: readonly WorldLane[], total: number): SinkWorld {
  const world = new SinkWorld(lanes, total, { shared: true });
  world.holes = false;
  world.settle();
  return world;
}

test('what is known by origin does not grow with the records that a sender leaves out, or that began elsewhere', () => {
  const lanes: WorldLane[] = [
    { id: a, leftOut: (n) => n % 2 === 0, beganElsewhere: true },
    { id: b, origin: (n) => `c/S/i/${n}/1000000000${n}` },
  ];
  const world = settled(lanes, 200);
  expect(world.index.size.intervals).toBeLessThan(30);
  expect(world.index.space('a/S/i').set.intervals).toBe(1);
});

test('I3: what the source itself deleted may still come over another lane, and is stored then', () => {
  const world = new SinkWorld([{ id: a }], 30);
  world.settle();
  // Of a batch with positions of which nothing is known, none is passed over.
  for (let n = 7; n <= 28; n += 7) expect(world.index.space('a/S/i').has(n)).toBe(false);
});

test('I3: what one lane has claimed and not stored is not passed over for another', () => {
  const relayed = { id: b, origin: (n: number) => `a/S/i/${n}/${1000 + n}${String(n).padStart(9, '0')}` };
  const world = new SinkWorld([{ id: a }, relayed], 5, { shared: true });
  world.holes = false;
  world.read();
  for (const lane of [b, a]) world.openLane(lane);
  for (const lane of [b, a]) world.feed(lane, 5);
  // Those of b are lost with their connection and its session; a holds the same ones as copies.
  world.cut(5);
  world.step({ type: 'unsure', failure: { reason: 'nats-unreachable', detail: '' }, chainBroken: false });
  world.closeLane(b);
  world.read();
  for (let i = 0; i < 20; i++) {
    world.sink.serve(10);
    world.answer();
  }
  expect(new Set(world.sink.stored.map(({ sequence }) => sequence))).toEqual(new Set([1, 2, 3, 4, 5]));
});
