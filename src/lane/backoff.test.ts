import { expect, test } from 'vitest';
import type { Failure } from '../wire/reasons.ts';
import { Backoff } from './backoff.ts';

const lost: Failure = { reason: 'connection-lost', detail: '' };
const most = () => 0.999999;

function longest(backoff: Backoff, failure: Failure, fromMs: number, attempts: number): number {
  let wait = 0;
  for (let i = 0; i < attempts; i++) wait = Math.max(wait, backoff.down(failure, fromMs));
  return wait;
}

test('the cap is 1 s for two minutes of outage, 5 s for an hour, then 30 s', () => {
  const backoff = new Backoff(most);
  expect(longest(backoff, lost, 0, 10)).toBe(1000);
  expect(longest(backoff, lost, 3 * 60_000, 10)).toBe(5000);
  expect(longest(backoff, lost, 2 * 3_600_000, 20)).toBe(30_000);
});

test('a connection that dies young does not reset the schedule', () => {
  const backoff = new Backoff(most);
  longest(backoff, lost, 0, 10);
  backoff.up(1000);
  expect(backoff.down(lost, 2000)).toBe(1000);
  backoff.up(3000);
  expect(backoff.down(lost, 8000)).toBe(250);
});

test('a planned end redials at once, once', () => {
  const backoff = new Backoff(most);
  const planned: Failure = { reason: 'rotated', detail: '' };
  expect(backoff.down(planned, 0)).toBe(0);
  expect(backoff.down(planned, 1)).toBeGreaterThan(0);
});

test("a peer's retry-after overrides, and what somebody has to mend is tried slowly", () => {
  const backoff = new Backoff(() => 0);
  expect(backoff.down({ reason: 'overloaded', detail: '', retryAfterMs: 7000 }, 0)).toBe(7000);
  expect(longest(new Backoff(most), { reason: 'not-granted', detail: '' }, 0, 10)).toBe(15_000);
});
