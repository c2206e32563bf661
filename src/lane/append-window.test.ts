import { expect, it } from 'vitest';
import { AppendWindow } from './append-window.ts';

/** Sends as much as the window allows, to a server that stores `perMs` and answers all of it at its end; returns the waits. */
function rounds(window: AppendWindow, perMs: number, count: number, limit = 4096): number[] {
  let [nowMs, sent] = [0, 0];
  return Array.from({ length: count }, () => {
    const inFlight = Math.min(window.records, limit);
    window.sent(sent + inFlight, sent, nowMs);
    const tookMs = inFlight / perMs;
    sent += inFlight;
    nowMs += tookMs;
    window.answered(sent, nowMs);
    return tookMs;
  });
}

it('opens within a few round trips for a fast server', () => {
  const window = new AppendWindow();
  rounds(window, 50, 4);
  expect(window.records).toBeGreaterThanOrEqual(4096);
});

it('closes for a slow one until an answer takes about a second, and opens again when it is fast', () => {
  const window = new AppendWindow();
  const waits = rounds(window, 0.2, 6);
  expect(waits.slice(1).every((ms) => ms < 1500)).toBe(true);
  expect(window.records).toBeLessThan(300);
  rounds(window, 50, 6);
  expect(window.records).toBeGreaterThanOrEqual(4096);
});

it('closes when nothing is answered, and never for good', () => {
  const window = new AppendWindow();
  rounds(window, 50, 5);
  for (let n = 0; n < 20; n++) window.unanswered(Math.min(window.records, 4096));
  expect(window.records).toBe(64);
});

it('does not grow by windows that were not used', () => {
  const window = new AppendWindow();
  for (let n = 0; n < 20; n++) {
    window.sent(n + 1, n, n);
    window.answered(n + 1, n);
  }
  expect(window.records).toBe(512);
});
