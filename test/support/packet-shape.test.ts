import { expect, test } from 'vitest';
import { PacketShaper } from './packet-shape.ts';

const lost = (shaper: PacketShaper, packets: number, bytes = 1500): number[] =>
  Array.from({ length: packets }, (_, i) => i).filter((i) => shaper.arrivalMs(bytes, i) === undefined);

test('loses its share of the packets, the same ones for the same seed', () => {
  const shape = { delayMs: 25, loss: 0.01 };
  const first = lost(new PacketShaper(shape, 1), 100_000);
  expect(first.length).toBeGreaterThan(850);
  expect(first.length).toBeLessThan(1150);
  expect(lost(new PacketShaper(shape, 1), 100_000)).toEqual(first);
  expect(lost(new PacketShaper(shape, 2), 100_000)).not.toEqual(first);
  expect(lost(new PacketShaper({ delayMs: 25, loss: 0 }, 1), 1000)).toEqual([]);
});

test('packets leave one after the other at the rate of the line, and what its queue cannot hold is lost', () => {
  const shaper = new PacketShaper({ delayMs: 25, loss: 0, bitsPerSecond: 1_000_000 }, 1);
  const arrivals = Array.from({ length: 40 }, () => shaper.arrivalMs(1500, 1000));
  // 1500 bytes are 12 ms of a line of 1 Mbit/s; 32 packets wait.
  expect(arrivals.slice(0, 32)).toEqual(Array.from({ length: 32 }, (_, i) => 1000 + 12 * (i + 1) + 25));
  expect(arrivals.slice(32)).toEqual(Array(8).fill(undefined));
  // Half of the queue has been sent.
  expect(shaper.arrivalMs(1500, 1000 + 16 * 12)).toBe(1000 + 33 * 12 + 25);
  shaper.reshape({ delayMs: 5, loss: 0 });
  expect(shaper.arrivalMs(1500, 5000)).toBe(5005);
});
