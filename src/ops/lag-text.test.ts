import { expect, it } from 'vitest';
import { laneStatus, nowMs } from '../../test/support/daemon-status.ts';
import { lagText } from './lag-text.ts';

it.each([
  [{}, '0'],
  [{ lagRecords: 1_500, lagSeconds: 65 }, '1,500 / 1m 5s'],
  [{ lagRecords: 5, lagSeconds: undefined }, '5 / unknown'],
  [{ lagRecords: undefined, lagSeconds: undefined }, 'unknown'],
  [{ lagRecords: 5, lagSeconds: 90, headAtMs: nowMs - 60_000, state: 'disconnected' as const }, '>=5 / 1m 30s'],
  [{ lagRecords: 0, lagSeconds: 0, headAtMs: nowMs - 60_000, state: 'disconnected' as const }, '>=0 / 0ms'],
  [{ lagRecords: 5, lagSeconds: 90, headAtMs: nowMs - 60_000, state: 'catching-up' as const }, '5 / 1m 30s'],
  [
    { lagRecords: 5, lagSeconds: 90, retention: { seconds: 7_200, limit: 'max_age' } },
    '5 / 1m 30s, retention loses data in 2h (max_age)',
  ],
  [
    { lagRecords: 5, lagSeconds: 90, retention: { seconds: 0, limit: 'max_msgs' } },
    '5 / 1m 30s, retention loses data (max_msgs)',
  ],
])('%o is %s', (change, text) => {
  expect(lagText(laneStatus(change), nowMs)).toBe(text);
});
