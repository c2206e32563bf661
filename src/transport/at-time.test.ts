import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { atTime } from './at-time.ts';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

const dayMs = 24 * 3600 * 1000;

it('runs at a time beyond the range of timers, once', () => {
  const action = vi.fn();
  atTime(Date.now() + 100 * dayMs, action);
  vi.advanceTimersByTime(99 * dayMs);
  expect(action).not.toHaveBeenCalled();
  vi.advanceTimersByTime(2 * dayMs);
  expect(action).toHaveBeenCalledTimes(1);
});

it('runs soon when the time has passed, and not once cancelled', () => {
  const [past, cancelled] = [vi.fn(), vi.fn()];
  atTime(Date.now() - 1, past);
  atTime(Date.now() + 60 * dayMs, cancelled)();
  vi.advanceTimersByTime(100 * dayMs);
  expect(past).toHaveBeenCalledTimes(1);
  expect(cancelled).not.toHaveBeenCalled();
});
