import { expect, test } from 'vitest';
import { windowOf } from '../../test/support/memory.ts';
import type { Source, SourceEvents } from '../brokers/broker.ts';
import type { Channel } from '../transport/channel.ts';
import { BatchBuilder, decodeBatch } from '../wire/batch.ts';
import { decodeFrame, type Frame, type Opening } from '../wire/frame.ts';
import type { Position } from '../wire/position.ts';
import { LaneStats } from './lane-stats.ts';
import { SendingEnd } from './sending-end.ts';

const opening: Opening = {
  epoch: 1,
  cursor: { incarnation: 'i', sequence: 0 },
  witnesses: [],
  creditLimit: 1 << 20,
  maxFrameBytes: 1 << 20,
};
const plan = {} as ConstructorParameters<typeof LaneStats>[0];

/** A sending end whose source and channel are the test's own. */
function rig() {
  const sent: Frame[] = [];
  const settled: Position[] = [];
  const observed: number[] = [];
  let events!: SourceEvents;
  const source: Source = {
    open: (_opening, given) => {
      events = given;
    },
    pull: () => {},
    settle: (position) => settled.push(position),
    close: () => {},
  };
  const channel = {
    send: (frame: Buffer, taken?: () => void) => {
      sent.push(decodeFrame(frame)!);
      taken?.();
    },
    end: () => {},
  } as unknown as Channel;
  const stats = new LaneStats(plan, { batch: ({ records }) => observed.push(records) }, 0);
  const end = new SendingEnd({
    channel,
    source,
    stats,
    opening,
    outbox: windowOf(1 << 20),
    line: undefined,
    live: () => {},
    ended: () => {},
  });
  end.start();
  events.opened(opening.cursor!);
  const ack = (sequence: number) =>
    end.frame({
      kind: 'ack',
      epoch: 1,
      stored: { incarnation: 'i', sequence },
      creditLimit: 1 << 20,
      arrivedBytes: 0,
      arrivedMs: 0,
    });
  return { sent, settled, observed, events, stats, end, ack };
}

function batch(after: number, ...records: readonly ('kept' | 'left out' | 'sourced')[]): BatchBuilder {
  const builder = new BatchBuilder('i', after, 1000);
  for (const [i, record] of records.entries()) {
    const sequence = after + i + 1;
    const why = record === 'sourced' ? 'sourced' : 'elsewhere';
    if (record !== 'kept') builder.pass(sequence, 1000 + sequence, 0, Buffer.from('p'), why);
    else builder.append(sequence, 1000 + sequence, 0, Buffer.from('s'), new Uint8Array(), Buffer.from('p'));
  }
  return builder;
}

test('records that were left out count as loop drops once they are passed, and move the cursor', () => {
  const { events, stats, sent, settled, observed, ack } = rig();
  events.batch(batch(0, 'left out', 'kept', 'left out'));
  events.batch(batch(3, 'left out', 'left out', 'left out'));
  events.head(6);
  expect(stats.loopDrops).toBe(0);
  expect(sent).toMatchObject([
    { kind: 'batch', batch: { firstSequence: 1, lastSequence: 3, count: 1 } },
    { kind: 'batch', batch: { firstSequence: 4, lastSequence: 6, count: 0, frame: 2 } },
  ]);
  ack(3);
  expect(stats).toMatchObject({ loopDrops: 2, records: 1, lag: 3, oldestMs: 1_004_000 });
  ack(6);
  expect(stats).toMatchObject({ loopDrops: 5, records: 1, lag: 0, oldestMs: undefined });
  expect(settled.at(-1)).toEqual({ incarnation: 'i', sequence: 6 });
  // A batch without records says nothing about sizes and times of records.
  expect(observed).toEqual([1]);
});

test('what JetStream had copied is counted by itself, and the other end is not told that it began elsewhere', () => {
  const { events, stats, ack } = rig();
  const mixed = () => batch(0, 'sourced', 'kept', 'left out', 'sourced');
  expect(decodeBatch(mixed().frame(1, 1, 0))).toMatchObject({ count: 1, filtered: 1, lastSequence: 4 });
  events.batch(mixed());
  ack(4);
  expect(stats).toMatchObject({ loopDrops: 1, sourcedDrops: 2, records: 1 });
});

test('what was left out and never stored is not counted: the next session leaves it out again', () => {
  const { events, stats, ack, end } = rig();
  events.batch(batch(0, 'left out', 'kept'));
  events.batch(batch(2, 'left out'));
  ack(2);
  end.close();
  expect(stats.loopDrops).toBe(1);
});

test('a drain waits for batches without records too', () => {
  const { events, sent, end, ack } = rig();
  events.batch(batch(0, 'left out'));
  end.drain('draining');
  expect(sent.map(({ kind }) => kind)).toEqual(['batch', 'drain']);
  ack(1);
  expect(sent.map(({ kind }) => kind)).toEqual(['batch', 'drain', 'goodbye']);
});

test('a lane that goes on says how far the source is before anything new is there', async () => {
  const { events, sent, stats, end, ack } = rig();
  events.head(0);
  await Promise.resolve();
  expect(sent).toMatchObject([
    { kind: 'batch', batch: { firstSequence: 1, lastSequence: 0, count: 0, headSequence: 0 } },
  ]);
  ack(0);
  expect(stats).toMatchObject({ lag: 0, oldestMs: undefined });
  events.head(1);
  events.batch(batch(0, 'kept'));
  expect(sent.slice(1)).toMatchObject([{ kind: 'batch', batch: { frame: 2, count: 1 } }]);
  ack(1);
  end.drain('draining');
  expect(sent.at(-1)?.kind).toBe('goodbye');
});

test('a head that turns out to be less far is told, where the lane goes on', async () => {
  const { events, sent, stats, ack } = rig();
  events.head(9);
  events.batch(batch(0, 'kept', 'kept'));
  ack(2);
  await Promise.resolve();
  expect(sent.length).toBe(1);
  expect(stats.lag).toBe(7);
  events.head(2);
  await Promise.resolve();
  expect(sent.slice(1)).toMatchObject([
    { kind: 'batch', batch: { incarnation: 'i', firstSequence: 3, lastSequence: 2, count: 0, headSequence: 2 } },
  ]);
  expect(stats).toMatchObject({ lag: 0, backlogSinceMs: undefined });
});

test('what was known to be in an incarnation that is gone is lost; the head of the next one is not told as its own', async () => {
  const { events, sent, stats } = rig();
  events.head(3);
  events.gap(opening.cursor!, { incarnation: 'j', sequence: 0 }, 'recreated');
  await Promise.resolve();
  expect(sent.map(({ kind }) => kind)).toEqual(['gap']);
  expect(stats).toMatchObject({ gaps: 1, lost: 0 });

  const known = rig();
  known.events.head(5);
  await Promise.resolve();
  known.events.gap(opening.cursor!, { incarnation: 'j', sequence: 0 }, 'recreated');
  expect(known.stats).toMatchObject({ gaps: 1, lost: 5 });
});
