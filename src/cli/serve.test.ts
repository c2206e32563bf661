import { EventEmitter } from 'node:events';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { Logger } from '../lib/logger.ts';
import { silentLogger } from '../lib/logger.ts';
import { type Served, serve } from './serve.ts';

class Scene {
  readonly signals = new EventEmitter();
  readonly events: string[] = [];
  readonly log: Logger;

  constructor() {
    const note = (event: string): void => void this.events.push(event);
    this.log = { ...silentLogger, info: note, warn: note, error: note };
  }

  daemon(change: Partial<Served> = {}): Served {
    return {
      drain: async (deadlineMs) => void this.events.push(`drain ${deadlineMs}`),
      stop: async () => void this.events.push('stop'),
      ...change,
    };
  }

  serve(start: () => Promise<Served> = async () => this.daemon()): Promise<number> {
    return serve(start, { log: this.log, drainTimeoutMs: 2_000, signals: this.signals });
  }
}

let scene: Scene;
beforeEach(() => {
  vi.useFakeTimers();
  scene = new Scene();
});
afterEach(() => {
  vi.useRealTimers();
});

const never = (): Promise<never> => new Promise(() => undefined);

describe('serve', () => {
  it.each(['SIGTERM', 'SIGINT'])('drains, stops and ends with 0 on %s', async (signal) => {
    const code = scene.serve();
    await vi.advanceTimersByTimeAsync(10_000);
    expect(scene.events).toEqual([]);
    scene.signals.emit(signal, signal);
    expect(await code).toBe(0);
    expect(scene.events).toEqual(['stopping', 'drain 2000', 'stop', 'stopped']);
    expect(scene.signals.eventNames()).toEqual([]);
  });

  it('ends in time although the drain does not', async () => {
    const code = scene.serve(async () => scene.daemon({ drain: never, stop: never }));
    scene.signals.emit('SIGTERM', 'SIGTERM');
    await vi.advanceTimersByTimeAsync(8_000);
    expect(await code).toBe(0);
    expect(scene.events).toEqual(['stopping', 'drain-incomplete', 'stop-incomplete', 'stopped']);
  });

  it('ends at once on the second signal, with 1', async () => {
    const code = scene.serve(async () => scene.daemon({ drain: never }));
    scene.signals.emit('SIGINT', 'SIGINT');
    scene.signals.emit('SIGINT', 'SIGINT');
    expect(await code).toBe(1);
    expect(scene.events).toContain('stopping-at-once');
  });

  it('drains what has started after the signal, and gives up what does not start', async () => {
    let started: (served: Served) => void = () => undefined;
    const late = scene.serve(() => new Promise((resolve) => (started = resolve)));
    scene.signals.emit('SIGTERM', 'SIGTERM');
    await vi.advanceTimersByTimeAsync(500);
    started(scene.daemon());
    expect(await late).toBe(0);
    expect(scene.events).toContain('stop');

    scene = new Scene();
    const stuck = scene.serve(never);
    scene.signals.emit('SIGTERM', 'SIGTERM');
    await vi.advanceTimersByTimeAsync(2_000);
    expect(await stuck).toBe(0);
    expect(scene.events).toEqual(['stopping', 'stopped-while-starting']);
  });

  it('passes on why it cannot start', async () => {
    await expect(scene.serve(() => Promise.reject(new Error('port taken')))).rejects.toThrow('port taken');
    expect(scene.signals.eventNames()).toEqual([]);
  });

  it('logs an exception that nobody caught, and ends', async () => {
    const code = scene.serve();
    scene.signals.emit('uncaughtException', new Error('defect'));
    expect(await code).toBe(1);
    expect(scene.events).toEqual(['internal-error']);
  });

  it('logs a rejection that nobody waited for, and goes on', async () => {
    const code = scene.serve();
    scene.signals.emit('unhandledRejection', new Error('defect'));
    await vi.advanceTimersByTimeAsync(1_000);
    expect(scene.events).toEqual(['internal-error']);
    scene.signals.emit('SIGTERM', 'SIGTERM');
    expect(await code).toBe(0);
  });

  it('fails when stopping fails', async () => {
    const stop = () => Promise.reject(new Error('defect'));
    const code = scene.serve(async () => scene.daemon({ stop }));
    scene.signals.emit('SIGTERM', 'SIGTERM');
    expect(await code).toBe(1);
    expect(scene.events).toContain('internal-error');
  });
});
