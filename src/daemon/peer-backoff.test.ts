import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import type { Logger } from '../lib/logger.ts';
import type { ChannelEvents, Dialer } from '../transport/channel.ts';
import { encodeControl } from '../wire/control.ts';
import type { Failure } from '../wire/reasons.ts';
import { Peer } from './peer.ts';

const greeting = {
  cluster: 'hub',
  node: 'n',
  software: 's',
  fileHash: '',
  generation: 1,
  file: '',
};

const quiet = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined };
const log = { ...quiet, child: () => log } as unknown as Logger;

beforeEach(() => {
  vi.useFakeTimers();
  vi.spyOn(Math, 'random').mockReturnValue(0.5);
});
afterEach(() => {
  vi.useRealTimers();
  vi.restoreAllMocks();
});

/** When a peer is dialled whose streams are accepted, and live as long as the test says. */
function dialled(livesMs: number, failure: Failure): { readonly atMs: number[]; stop(): void } {
  const startMs = performance.now();
  const atMs: number[] = [];
  const dialer: Dialer = {
    address: undefined,
    open: (method, events: ChannelEvents) => {
      atMs.push(performance.now() - startMs);
      // Whoever accepts says who it is, and dies a moment later.
      setTimeout(
        () =>
          events.frame(encodeControl({ kind: 'greeting', minVersion: 1, maxVersion: 2, beatMs: 5000, ...greeting })),
        1,
      );
      const beats = setInterval(
        () => events.frame(encodeControl({ kind: 'beat', sentMs: 1, echoMs: 0, heldMs: 0, wallMs: 0 })),
        1000,
      );
      setTimeout(() => {
        clearInterval(beats);
        events.ended({ failure });
      }, livesMs);
      const peer = { trustDomain: 'acme', cluster: 'hub', fingerprint: '', notAfterMs: 0 };
      const nothing = () => undefined;
      return {
        method,
        peer,
        queuedBytes: 0,
        send: nothing,
        pause: nothing,
        resume: nothing,
        end: nothing,
        abort: nothing,
      };
    },
    abandon: () => undefined,
    stop: () => Promise.resolve(),
    close: () => undefined,
  };
  const peer = new Peer({
    plan: { cluster: 'hub', dial: [] },
    self: 'plant',
    dialer,
    rotateMs: 60_000,
    greeting: () => ({ ...greeting, cluster: 'plant' }),
    log,
    changed: () => undefined,
    rotated: () => undefined,
    left: () => undefined,
    lastSeenMs: () => undefined,
    declaration: () => undefined,
    verdicts: () => undefined,
    verify: () => undefined,
  });
  peer.start();
  return { atMs, stop: () => peer.stop() };
}

const waits = (atMs: readonly number[], livesMs: number): number[] =>
  atMs.slice(1).map((at, index) => Math.round(at - atMs[index]! - livesMs));

test('a peer that accepts and dies is not dialled more often for having accepted', async () => {
  const { atMs, stop } = dialled(50, { reason: 'connection-lost', detail: '' });
  await vi.advanceTimersByTimeAsync(30_000);
  stop();
  // Half of the cap, with the chance fixed: the waits grow to a second at most, and never fall back.
  expect(waits(atMs, 50).slice(0, 5)).toEqual([125, 250, 500, 500, 500]);
  expect(Math.min(...waits(atMs, 50).slice(3))).toBe(500);
});

test('one that says it is draining each time is not dialled in a storm', async () => {
  const { atMs, stop } = dialled(50, { reason: 'draining', detail: '' });
  await vi.advanceTimersByTimeAsync(30_000);
  stop();
  expect(waits(atMs, 50)[0]).toBeLessThanOrEqual(1);
  expect(Math.min(...waits(atMs, 50).slice(3))).toBe(500);
});

test('one that stood for a while is dialled soon again', async () => {
  const { atMs, stop } = dialled(6000, { reason: 'connection-lost', detail: '' });
  await vi.advanceTimersByTimeAsync(30_000);
  stop();
  expect(waits(atMs, 6000).slice(0, 3)).toEqual([125, 125, 125]);
});
