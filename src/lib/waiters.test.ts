import { getEventListeners } from 'node:events';
import { expect, test } from 'vitest';
import { Waiters } from './waiters.ts';

test('everybody goes on at a release, or by an own signal; nothing stays behind', async () => {
  const waiters = new Waiters();
  const [one, two] = [new AbortController(), new AbortController()];
  const happened: string[] = [];
  const wait = (name: string, { signal }: AbortController) => waiters.wait(signal).then(() => happened.push(name));
  const first = wait('given up', one);
  const others = [wait('released', two), wait('released', two)];
  expect(waiters.count).toBe(3);
  one.abort();
  await first;
  expect([happened, waiters.count]).toEqual([['given up'], 2]);
  waiters.release();
  await Promise.all(others);
  expect([happened, waiters.count]).toEqual([['given up', 'released', 'released'], 0]);
  expect(getEventListeners(two.signal, 'abort')).toEqual([]);
  await wait('too late', one);
  expect(happened).toHaveLength(4);
});
