import { expect, test } from 'vitest';
import { until } from '../../test/support/until.ts';
import { silentLogger as log } from '../lib/logger.ts';
import { WriteBehind } from './write-behind.ts';

test('each key is written as often as it changed while it was not under way, one after the other', async () => {
  const written: string[] = [];
  let underWay = 0;
  const write = async (key: string): Promise<void> => {
    expect(++underWay).toBe(1);
    await Promise.resolve();
    underWay--;
    written.push(key);
  };
  const writes = new WriteBehind({ write, failed: 'failed', log, signal: new AbortController().signal });
  for (const key of ['a', 'b', 'a', 'b']) writes.mark(key);
  await writes.settle(10_000);
  // The first was taken at once, and has changed since.
  expect(written).toEqual(['a', 'b', 'a']);
  writes.mark('c');
  await writes.settle(10_000);
  expect(written.at(-1)).toBe('c');
});

test('what cannot be written is tried again until it can, and nobody who ends waits for it', async () => {
  const stopped = new AbortController();
  const written: string[] = [];
  let tries = 0;
  const write = async (key: string): Promise<void> => {
    if (++tries < 2) throw new Error('no servers');
    written.push(key);
  };
  const writes = new WriteBehind({ write, failed: 'failed', log, signal: stopped.signal });
  writes.mark('a');
  await writes.settle(60_000);
  expect(written).toEqual([]);
  await until(() => written.length === 1, { what: 'the second attempt' });
  await writes.settle(60_000);
  stopped.abort();
});
