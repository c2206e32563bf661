import { expect, test } from 'vitest';
import { SpareTime, spareTime } from './spare-time.ts';

test('there is time to spare as long as the last look showed some, and one look does for half a second', () => {
  let [nowMs, part, looks] = [1000, 0.2, 0];
  const busyPart = () => {
    looks++;
    return part;
  };
  const time = new SpareTime({ nowMs: () => nowMs, busyPart });
  expect(time.has()).toBe(true);
  part = 0.9;
  nowMs += 499;
  expect([time.has(), looks]).toEqual([true, 1]);
  nowMs += 1;
  expect([time.has(), time.has(), looks]).toEqual([false, false, 2]);
  part = 0.6;
  nowMs += 500;
  expect(time.has()).toBe(true);
});

test('a main thread that does nothing else than ask has none', async () => {
  spareTime.has();
  await new Promise<void>((resolve) => {
    setImmediate(() => {
      const endMs = performance.now() + 1500;
      while (performance.now() < endMs) spareTime.has();
      setImmediate(resolve);
    });
  });
  expect(spareTime.has()).toBe(false);
});
