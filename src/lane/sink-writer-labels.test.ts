import { expect, test } from 'vitest';
import { SinkWorld } from '../../test/support/sink-world.ts';
import { BatchBuilder, decodeBatch } from '../wire/batch.ts';

const [one, two, begun] = ['l/a/h', 'm/a/h', 'n/a/h'] as const;
const none = new Uint8Array();

/** Feeds what a source holds behind `after`, as [sequence, second], under the label that the lane gave it; all of it is answered. */
function feed(
  world: SinkWorld,
  lane: string,
  label: string,
  after: number,
  records: readonly [number, number][],
): void {
  const builder = new BatchBuilder(label, after, 8192);
  for (const [sequence, second] of records)
    builder.append(sequence, second, sequence, Buffer.from('s'), none, Buffer.from(`${second}`));
  const epoch = world.open.get(lane)!;
  world.step({ type: 'batch', lane, epoch, batch: decodeBatch(builder.frame(epoch, 1, 0)) });
  for (let i = 0; i < 30; i++) {
    world.sink.serve(10);
    world.answer();
  }
}

/** The lane's source goes on elsewhere, under a new label. */
function gap(world: SinkWorld, lane: string, from: string, after: number, to: string, upTo: number): void {
  const epoch = world.open.get(lane)!;
  const [before, behind] = [
    { incarnation: from, sequence: after },
    { incarnation: to, sequence: upTo },
  ];
  world.step({ type: 'gap', lane, epoch, after: before, upTo: behind, reason: 'regressed' });
  world.step({ type: 'gap-recorded', lane, epoch });
}

const range = (first: number, last: number, shift = 0) =>
  Array.from({ length: last - first + 1 }, (_, i): [number, number] => [first + i, 1000 + first + i + shift]);

test.each([true, false])(
  'I3, I4: lanes that notice at different places that their source used numbers again store its records once; shared: %s',
  (shared) => {
    const world = new SinkWorld([one, two, begun], 0, { shared });
    world.read();
    for (const lane of [one, two, begun]) world.openLane(lane);
    feed(world, one, 'old', 0, range(1, 20));
    feed(world, two, 'old', 0, range(1, 12));
    expect(world.sink.stored.length).toBe(20);
    // What followed 10 was lost, and other records took those numbers. The last witness that fits is of 8, and of 5.
    const now = [...range(1, 10), ...range(11, 25, 500)];
    gap(world, one, 'old', 20, 'new', 8);
    feed(world, one, 'new', 8, now.slice(8));
    gap(world, two, 'old', 12, 'other', 5);
    feed(world, two, 'other', 5, now.slice(5));
    feed(world, begun, 'third', 0, now);
    expect(world.sink.stored.map(({ sequence }) => sequence)).toEqual(
      [...range(1, 20), ...range(11, 25)].map(([n]) => n),
    );
  },
);
