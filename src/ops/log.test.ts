import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { createLogger, isLogLevel, type LogOptions, type RootLogger } from './log.ts';

interface Line {
  readonly level: string;
  readonly event: string;
  readonly [field: string]: unknown;
}

function open(options: LogOptions = {}): { readonly log: RootLogger; readonly lines: () => Line[] } {
  const written: string[] = [];
  const log = createLogger({ ...options, write: (line) => written.push(line) });
  return { log, lines: () => written.map((line) => JSON.parse(line) as Line) };
}

beforeEach(() => {
  vi.useFakeTimers({ now: Date.UTC(2026, 0, 2) });
});
afterEach(() => {
  vi.useRealTimers();
});

describe('createLogger', () => {
  it('writes one JSON line per event, with level, time and fields', () => {
    const { log, lines } = open();
    log.child({ cluster: 'hub' }).child({ lane: 'a/b/c' }).info('lane-live', { records: 3 });
    expect(lines()).toEqual([
      {
        level: 'info',
        time: '2026-01-02T00:00:00.000Z',
        event: 'lane-live',
        cluster: 'hub',
        lane: 'a/b/c',
        records: 3,
      },
    ]);
  });

  it('keeps to its level', () => {
    const { log, lines } = open({ level: 'warn' });
    log.debug('a');
    log.info('b');
    log.warn('c');
    log.error('d');
    expect(lines().map((line) => line.event)).toEqual(['c', 'd']);
    expect(['silent', 'debug', 'loud'].map(isLogLevel)).toEqual([true, true, false]);
  });

  it('redacts, and keeps fields that would clash with its own', () => {
    const { log, lines } = open();
    log.error('nats-down', { password: 'x', level: 9, event: 'y' });
    expect(lines()[0]).toMatchObject({
      level: 'error',
      event: 'nats-down',
      password: '[redacted]',
      level_: 9,
      event_: 'y',
    });
  });

  it('survives a field that throws', () => {
    const { log, lines } = open();
    const trap = Object.defineProperty({}, 'x', {
      enumerable: true,
      get: () => {
        throw new Error('trap');
      },
    });
    log.info('lane-live', { trap });
    expect(lines()[0]).toMatchObject({ event: 'log-failed', of: 'lane-live' });
  });

  it('limits repeats per lane, and ends with the newest one and a count', () => {
    const { log, lines } = open({ burst: 2, windowMs: 1_000 });
    for (let i = 0; i < 10; i += 1) log.info('lane-state', { lane: 'a', i });
    log.info('lane-state', { lane: 'b' });
    log.info('peer-up', { lane: 'a' });
    expect(lines().map(({ event, lane, i }) => [event, lane, i])).toEqual([
      ['lane-state', 'a', 0],
      ['lane-state', 'a', 1],
      ['lane-state', 'b', undefined],
      ['peer-up', 'a', undefined],
    ]);
    vi.advanceTimersByTime(1_000);
    expect(lines().at(-1)).toMatchObject({ event: 'lane-state', i: 9, suppressed: 7, at: '2026-01-02T00:00:00.000Z' });
    log.info('lane-state', { lane: 'a', i: 10 });
    expect(lines()).toHaveLength(5);
    vi.advanceTimersByTime(1_000);
    expect(lines().at(-1)).toMatchObject({ i: 10, suppressed: 0 });
    vi.advanceTimersByTime(1_000);
    log.info('lane-state', { lane: 'a', i: 11 });
    expect(lines().at(-1)).toMatchObject({ i: 11 });
  });

  it('writes what is held when it is flushed', () => {
    const { log, lines } = open({ burst: 1 });
    for (let i = 0; i < 3; i += 1) log.warn('x', { i });
    log.flush();
    expect(lines().map((line) => line.i)).toEqual([0, 2]);
    vi.advanceTimersByTime(60_000);
    expect(lines()).toHaveLength(2);
  });

  it('writes lines for people, at once and without a worker', () => {
    const written: string[] = [];
    createLogger({ pretty: true, write: (line) => written.push(line) }).warn('lane-blocked', { lane: 'a', n: 1 });
    expect(written).toHaveLength(1);
    expect(written[0]).toMatch(/^\[\d\d:\d\d:00\.000\] WARN: lane-blocked \{"lane":"a","n":1\}\n$/);
  });
});
