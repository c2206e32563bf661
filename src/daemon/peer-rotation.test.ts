import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import type { LogFields, Logger } from '../lib/logger.ts';
import type { Channel, ChannelEvents, Dialer } from '../transport/channel.ts';
import { type MemoryChannel, memoryPair } from '../transport/memory.ts';
import { decodeControl, encodeControl } from '../wire/control.ts';
import type { Failure } from '../wire/reasons.ts';
import { ControlSession } from './control-session.ts';
import { Peer } from './peer.ts';

/** Two peers, and connections between them that are made anew every minute. */

const rotateMs = 60_000;
const unreachable: Failure = { reason: 'unreachable', detail: 'nobody there' };
const lost: Failure = { reason: 'connection-lost', detail: 'cut' };

beforeEach(() => {
  vi.useFakeTimers();
  vi.spyOn(Math, 'random').mockReturnValue(0.5);
});
afterEach(() => {
  vi.useRealTimers();
  vi.restoreAllMocks();
});

interface End {
  readonly peer: Peer;
  /** What happened, in order: logged events, and what its owner was told. */
  readonly story: string[];
  readonly logged: LogFields[];
}

/** Control streams that were opened, the newest last; the dialling end of each. */
interface Opened {
  readonly near: MemoryChannel;
  readonly anew: boolean;
  over: boolean;
}

class Rig {
  readonly opened: Opened[] = [];
  readonly ends: Record<string, End> = {};
  /** Why no connection can be made at present. */
  failure: Failure | undefined;
  /** Streams reach the other end only when the test says so. */
  holds = false;
  readonly #held: (() => void)[] = [];

  /** `dials`: the clusters that dial the other one. */
  constructor(dials: readonly ('a' | 'b')[]) {
    for (const [name, other] of [
      ['a', 'b'],
      ['b', 'a'],
    ] as const)
      this.ends[name] = this.end(name, other, `node-${name}`, dials.includes(name));
  }

  end(self: string, other: string, node: string, dials: boolean): End {
    const story: string[] = [];
    const logged: LogFields[] = [];
    const say = (event: string, fields: LogFields = {}) => {
      story.push(event);
      logged.push(fields);
    };
    const log = { debug: say, info: say, warn: say, error: say, child: () => log } as unknown as Logger;
    const peer: Peer = new Peer({
      plan: { cluster: other, dial: [] },
      self,
      dialer: dials ? this.#dialer(self, other) : undefined,
      rotateMs,
      greeting: () => ({ cluster: self, node, software: 's', fileHash: '', generation: 1, file: '' }),
      log,
      changed: (up, failure) => {
        story.push(up ? 'up' : `down ${failure?.reason}`);
        if (up) peer.send({ kind: 'declaration', generation: 1, fileHash: '', links: [] });
      },
      rotated: () => {
        story.push('moved');
        peer.send({ kind: 'declaration', generation: 1, fileHash: '', links: [] });
      },
      left: () => undefined,
      lastSeenMs: () => undefined,
      declaration: () => story.push('declared'),
      verdicts: () => undefined,
      verify: () => undefined,
    });
    return { peer, story, logged };
  }

  #dialer(self: string, other: string): Dialer {
    const open =
      (anew: boolean) =>
      (_method: unknown, events: ChannelEvents): Channel => {
        const [near, far] = memoryPair({ method: 'control', clusters: [self, other] });
        const opened: Opened = { near, anew, over: false };
        this.opened.push(opened);
        near.attach({
          frame: events.frame,
          ended: (end) => {
            opened.over = true;
            events.ended(end);
          },
        });
        const reach = () => far.attach(this.ends[other]!.peer.accept(far));
        if (this.failure !== undefined) near.abort(this.failure);
        else if (this.holds) this.#held.push(reach);
        else reach();
        return near;
      };
    return {
      address: undefined,
      open: open(false),
      openAnew: open(true),
      abandon: () => undefined,
      stop: () => Promise.resolve(),
      close: () => undefined,
    };
  }

  release(): void {
    for (const reach of this.#held.splice(0)) reach();
  }

  /** Starts, and waits until both are connected; forgets how that went. */
  async connect(): Promise<{ readonly a: End; readonly b: End }> {
    const { a, b } = this.ends as { a: End; b: End };
    a.peer.start();
    b.peer.start();
    await vi.advanceTimersByTimeAsync(3000);
    expect([a.peer.isUp, b.peer.isUp]).toEqual([true, true]);
    for (const { story, logged } of [a, b]) {
      story.length = 0;
      logged.length = 0;
    }
    return { a, b };
  }

  get live(): number {
    return this.opened.filter(({ over }) => !over).length;
  }
}

test('a connection is made anew without either end going down, and both say again what they declare', async () => {
  const rig = new Rig(['a']);
  const { a, b } = await rig.connect();
  const since = [a.peer.status().sinceMs, b.peer.status().sinceMs];
  await vi.advanceTimersByTimeAsync(rotateMs);
  expect(rig.opened.map(({ anew }) => anew)).toEqual([false, true]);
  expect(a.story).toEqual(['rotated', 'moved', 'declared']);
  expect(b.story).toEqual(['rotated', 'moved', 'declared']);
  await vi.advanceTimersByTimeAsync(3 * rotateMs);
  for (const [index, { peer }] of [a, b].entries())
    expect(peer.status()).toMatchObject({ connected: true, rotationsTotal: 4, sinceMs: since[index] });
  expect(rig.live).toBe(1);
});

test('one that cannot be made anew stays, says why, and is tried again before long', async () => {
  const rig = new Rig(['a']);
  const { a, b } = await rig.connect();
  rig.failure = unreachable;
  await vi.advanceTimersByTimeAsync(rotateMs);
  expect(a.story).toEqual(['rotation-failed']);
  expect(a.logged).toEqual([{ ...unreachable, nextMs: rotateMs / 10 }]);
  rig.failure = undefined;
  await vi.advanceTimersByTimeAsync(rotateMs / 10);
  expect(a.story).toEqual(['rotation-failed', 'rotated', 'moved', 'declared']);
  expect(b.story).toEqual(['rotated', 'moved', 'declared']);
  expect(rig.live).toBe(1);
});

test('a listener that does not answer over the new connection is given up after a while; the old one goes on', async () => {
  const rig = new Rig(['a']);
  const { a, b } = await rig.connect();
  rig.holds = true;
  await vi.advanceTimersByTimeAsync(rotateMs + 30_000);
  expect([a.peer.isUp, b.peer.isUp]).toEqual([true, true]);
  rig.holds = false;
  await vi.advanceTimersByTimeAsync(rotateMs / 2);
  const failed = a.story.filter((event) => event === 'rotation-failed');
  expect(failed.length).toBeGreaterThan(1);
  expect(a.story).toEqual([...failed, 'rotated', 'moved', 'declared']);
  expect(b.story).toEqual(['rotated', 'moved', 'declared']);
});

test('if the old connection breaks meanwhile, the new one is the next attempt', async () => {
  const rig = new Rig(['a']);
  const { a } = await rig.connect();
  rig.holds = true;
  await vi.advanceTimersByTimeAsync(rotateMs);
  rig.opened[0]!.near.abort(lost);
  await vi.advanceTimersByTimeAsync(5);
  expect(a.peer.isUp).toBe(false);
  rig.holds = false;
  rig.release();
  await vi.advanceTimersByTimeAsync(5);
  expect(a.story).toEqual(['peer-disconnected', 'down connection-lost', 'peer-connected', 'up', 'declared']);
  await vi.advanceTimersByTimeAsync(10_000);
  expect(rig.opened).toHaveLength(2);
  expect(a.peer.status()).toMatchObject({ connected: true, rotationsTotal: 0 });
});

test('a stream that is still being opened is not taken for a silent peer; one that is open and not greeted is', async () => {
  let taken: (() => void) | undefined;
  let ended: Failure | undefined;
  const nothing = () => undefined;
  const session = new ControlSession({
    greeting: () => ({ cluster: 'a', node: 'n', software: 's', fileHash: '', generation: 1, file: '' }),
    greeted: nothing,
    declaration: nothing,
    verdicts: nothing,
    verify: nothing,
    measured: nothing,
    ended: (failure) => {
      ended = failure;
    },
  });
  const send = (_frame: Buffer, onTaken?: () => void) => {
    taken ??= onTaken;
  };
  session.start({ send, end: nothing, abort: nothing } as unknown as Channel);
  session.greet();
  await vi.advanceTimersByTimeAsync(60_000);
  expect(ended).toBeUndefined();
  taken?.();
  await vi.advanceTimersByTimeAsync(20_000);
  expect(ended?.reason).toBe('peer-silent');
});

test('a Goodbye over the old connection that is faster than the greeting over the new one ends nothing', async () => {
  const rig = new Rig(['a']);
  const { a } = await rig.connect();
  rig.holds = true;
  await vi.advanceTimersByTimeAsync(rotateMs);
  const events = rig.ends.a!;
  expect(events.story).toEqual([]);
  // As the listener does when it has taken the new one.
  rig.ends.b!.peer.stop({ reason: 'superseded', detail: 'the peer opened a newer control stream' });
  await vi.advanceTimersByTimeAsync(5);
  expect(a.peer.isUp).toBe(true);
  rig.ends.b = rig.end('b', 'a', 'node-b', false);
  rig.holds = false;
  rig.release();
  await vi.advanceTimersByTimeAsync(5);
  expect(a.story).toEqual(['rotated', 'moved', 'declared']);
});

test('another daemon behind the same address is a new one: what the old one carried ends', async () => {
  const rig = new Rig(['a']);
  const { a } = await rig.connect();
  rig.ends.b = rig.end('b', 'a', 'node-c', false);
  await vi.advanceTimersByTimeAsync(rotateMs);
  expect(a.story).toEqual(['down superseded', 'peer-connected', 'up', 'declared']);
  expect(a.peer.status()).toMatchObject({ node: 'node-c', rotationsTotal: 0 });
});

test('where both dial one connection is left, and it is made anew by the end that dialled it', async () => {
  const rig = new Rig(['a', 'b']);
  const { a, b } = await rig.connect();
  await vi.advanceTimersByTimeAsync(5 * rotateMs);
  expect(rig.live).toBe(1);
  for (const { peer, story } of [a, b]) {
    expect(peer.status()).toMatchObject({ connected: true, rotationsTotal: 5 });
    expect(story.filter((event) => /peer|up|down|name/.test(event))).toEqual([]);
  }
});

test('a dialler that comes back without having said so has lost its connection, and that is shown', async () => {
  const rig = new Rig(['a']);
  const { b } = await rig.connect();
  const [near, far] = memoryPair({ method: 'control', clusters: ['a', 'b'] });
  const heard: (string | undefined)[] = [];
  near.attach({ frame: (bytes) => heard.push(decodeControl(bytes)?.kind), ended: () => undefined });
  far.attach(b.peer.accept(far));
  const versions = { minVersion: 1, maxVersion: 2, beatMs: 5000 };
  const who = { cluster: 'a', node: 'node-a', software: 's', fileHash: '', generation: 1, file: '' };
  near.send(encodeControl({ kind: 'greeting', ...versions, ...who }));
  await vi.advanceTimersByTimeAsync(5);
  expect(heard).toContain('greeting');
  expect(b.story.slice(0, 2)).toEqual(['peer-connected', 'up']);
  expect(b.peer.status().rotationsTotal).toBe(0);
});

test('one that is stopped does not rotate any more', async () => {
  const rig = new Rig(['a']);
  const { a, b } = await rig.connect();
  rig.holds = true;
  await vi.advanceTimersByTimeAsync(rotateMs);
  a.peer.stop();
  b.peer.stop();
  await vi.advanceTimersByTimeAsync(5 * rotateMs);
  expect(rig.opened).toHaveLength(2);
  expect(rig.opened[0]!.over).toBe(true);
  expect(a.story).not.toContain('rotation-failed');
});
