import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { windowOf } from '../../test/support/memory.ts';
import type { Channel } from '../transport/channel.ts';
import { BatchBuilder } from '../wire/batch.ts';
import { type Ack, decodeFrame } from '../wire/frame.ts';
import { LaneStats } from './lane-stats.ts';
import { ReceivingEnd } from './receiving-end.ts';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

/** A receiving end whose sink stores what the test says. */
function rig(tellsArrival: boolean) {
  const acks: Ack[] = [];
  const send = (bytes: Buffer) => void acks.push(decodeFrame(bytes) as Ack);
  const end = new ReceivingEnd({
    channel: { send, end: () => undefined } as unknown as Channel,
    sink: {
      epoch: 1,
      cursor: { incarnation: 'i', sequence: 0 },
      witnesses: [],
      append: () => undefined,
      gap: () => undefined,
      close: () => undefined,
      released: () => Promise.resolve(),
    },
    stats: new LaneStats({} as ConstructorParameters<typeof LaneStats>[0], { batch: () => undefined }, 0),
    memory: windowOf(10_000),
    batchBytes: 100,
    creditLimit: 9_900,
    tellsArrival,
    ended: () => undefined,
  });
  let sequence = 0;
  const arrive = (): number => {
    const batch = new BatchBuilder('i', sequence++, 1000);
    batch.append(sequence, 1, 1, Buffer.from('s'), new Uint8Array(), Buffer.alloc(100));
    const { rawBytes } = batch;
    end.frame(decodeFrame(Buffer.from(batch.frame(1, sequence, 0)))!);
    return rawBytes;
  };
  const store = (bytes: number) => {
    const position = { incarnation: 'i', sequence };
    end.stored({
      type: 'stored',
      lane: 'l',
      epoch: 1,
      position,
      bytes,
      records: 1,
      duplicates: 0,
      loops: 0,
      quarantined: 0,
    });
  };
  return { acks, arrive, store, end };
}

test('what has arrived is told while the sink stands still, and when it came; together if more comes soon', async () => {
  const { acks, arrive } = rig(true);
  const bytes = arrive();
  arrive();
  const lastMs = Math.round(performance.now());
  expect(acks).toEqual([]);
  await vi.advanceTimersByTimeAsync(50);
  expect(acks).toMatchObject([{ arrivedBytes: 2 * bytes, arrivedMs: lastMs, stored: { sequence: 0 } }]);
  await vi.advanceTimersByTimeAsync(5000);
  expect(acks).toHaveLength(1);
});

test('it is told with what is stored where that goes on, and then not again', async () => {
  const { acks, arrive, store } = rig(true);
  const bytes = arrive();
  store(bytes);
  await vi.advanceTimersByTimeAsync(1);
  expect(acks).toMatchObject([{ arrivedBytes: bytes, stored: { sequence: 1 } }]);
  await vi.advanceTimersByTimeAsync(1000);
  expect(acks).toHaveLength(1);
});

test('a peer of an older version hears of what is stored only, and nobody of anything after the end', async () => {
  const old = rig(false);
  old.arrive();
  const ended = rig(true);
  ended.arrive();
  ended.end.close();
  await vi.advanceTimersByTimeAsync(1000);
  expect([...old.acks, ...ended.acks]).toEqual([]);
});
