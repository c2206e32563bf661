import { expect, test } from 'vitest';
import { endBytes } from '../topology/memory-rules.ts';
import { laneLimits } from './lane-set.ts';
import { memoryBytes, openMemoryBudget, usualBytes } from './memory.ts';

const MiB = 1024 * 1024;

test.each([
  ['a machine without a limit', 8192, 0, 1024],
  ['a container', 8192, 128, 32],
  ['a limit beyond what there is', 512, 2 ** 43, 128],
  ['next to nothing', 8192, 32, 16],
])('%s: a quarter, within bounds', (_name, total, constrained, expected) => {
  expect(usualBytes(total * MiB, constrained * MiB)).toBe(expected * MiB);
});

test('what the file says holds, and else what the machine allows', () => {
  expect(openMemoryBudget(7 * MiB).bytes).toBe(7 * MiB);
  expect(memoryBytes(undefined)).toBeGreaterThanOrEqual(16 * MiB);
});

test('what the check of a file takes for the least of an end is what the end takes', () => {
  const budget = openMemoryBudget(0);
  const { windowBytes, outboxBytes, prefetchBytes } = laneLimits;
  budget.share(windowBytes);
  expect(budget.usedBytes).toBe(endBytes.receiving);
  budget.share(outboxBytes);
  budget.share(prefetchBytes);
  expect(budget.usedBytes).toBe(endBytes.receiving + endBytes.sending);
});
