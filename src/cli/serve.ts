import type { Logger } from '../lib/logger.ts';
import type { SignalSource } from './cli.ts';
import { type ExitCode, exitCodes } from './exit-codes.ts';

/** What is served: anything that drains and stops. */
export interface Served {
  /** Resolves when everything in flight is settled, or at the deadline. */
  drain(deadlineMs: number): Promise<void>;
  stop(): Promise<void>;
  /** SIGHUP: read again what it was started with. */
  reload?(): void;
}

export interface ServeOptions {
  readonly log: Logger;
  readonly drainTimeoutMs: number;
  readonly signals: SignalSource;
}

/** Beyond its deadline, a drain that does not come back is left behind. */
const drainGraceMs = 1_000;
const stopTimeoutMs = 5_000;

/**
 * Starts something and keeps it until a signal: SIGTERM or SIGINT drains and stops it, a second one ends at once. An
 * exception that nobody caught leaves a state that nobody knows, so that ends at once too; whoever supervises the
 * process starts it again, and the sinks know where to go on. A promise that nobody waited for is logged only: what it
 * was for has failed as a value, or health will show that it does not move.
 */
export async function serve(start: () => Promise<Served>, options: ServeOptions): Promise<ExitCode> {
  const { log, signals, drainTimeoutMs } = options;
  const asked = deferred<void>();
  const atOnce = deferred<ExitCode>();
  let served: Served | undefined;
  let count = 0;
  const onSignal = (signal: unknown): void => {
    count += 1;
    if (count > 1) {
      log.warn('stopping-at-once', { signal });
      atOnce.resolve(exitCodes.failed);
      return;
    }
    log.info('stopping', { signal, drainTimeoutMs });
    asked.resolve();
  };
  const onHangUp = (): void => {
    served?.reload?.();
  };
  const onException = (error: unknown): void => {
    log.error('internal-error', { kind: 'uncaught-exception', error });
    atOnce.resolve(exitCodes.failed);
  };
  const onRejection = (error: unknown): void => log.error('internal-error', { kind: 'unhandled-rejection', error });
  const listeners: readonly (readonly [string, (value: unknown) => void])[] = [
    ['SIGTERM', onSignal],
    ['SIGINT', onSignal],
    ['SIGHUP', onHangUp],
    ['uncaughtException', onException],
    ['unhandledRejection', onRejection],
  ];
  const started = async (): Promise<Served> => {
    served = await start();
    return served;
  };
  for (const [event, listener] of listeners) signals.on(event, listener);
  try {
    return await Promise.race([atOnce.promise, life(started, asked.promise, options)]);
  } finally {
    for (const [event, listener] of listeners) signals.off(event, listener);
  }
}

async function life(start: () => Promise<Served>, asked: Promise<void>, options: ServeOptions): Promise<ExitCode> {
  const { log, drainTimeoutMs } = options;
  const starting = start();
  // Somebody who stops a daemon that is still starting waits no longer than for one that drains.
  const givenUp = asked
    .then(() => settlesWithin(starting, drainTimeoutMs))
    .then((done) => (done ? starting : undefined));
  const served = await Promise.race([starting, givenUp]);
  if (served === undefined) {
    log.warn('stopped-while-starting');
    return exitCodes.ok;
  }
  await asked;
  let code: ExitCode = exitCodes.ok;
  try {
    const drained = await settlesWithin(served.drain(drainTimeoutMs), drainTimeoutMs + drainGraceMs);
    if (!drained) log.warn('drain-incomplete', { drainTimeoutMs });
    const stopped = await settlesWithin(served.stop(), stopTimeoutMs);
    if (!stopped) log.warn('stop-incomplete', { stopTimeoutMs });
  } catch (error) {
    log.error('internal-error', { kind: 'stop-failed', error });
    code = exitCodes.failed;
  }
  log.info('stopped');
  return code;
}

/** False when the time is over first; rejects as the promise does. */
async function settlesWithin(promise: Promise<unknown>, ms: number): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined;
  const timeout = new Promise<false>((resolve) => {
    timer = setTimeout(resolve, ms, false);
  });
  try {
    return await Promise.race([promise.then(() => true as const), timeout]);
  } finally {
    clearTimeout(timer);
  }
}

interface Deferred<T> {
  readonly promise: Promise<T>;
  readonly resolve: (value: T) => void;
}

function deferred<T>(): Deferred<T> {
  let resolve: (value: T) => void = () => undefined;
  const promise = new Promise<T>((settle) => {
    resolve = settle;
  });
  return { promise, resolve };
}
