import { setTimeout as delay } from 'node:timers/promises';

export interface UntilOptions {
  /** How long the condition may take; a generous bound, since it costs nothing when things work. Default 20 s. */
  readonly deadlineMs?: number;
  /** What was waited for, for the message; a function can say how things stand when time is up. */
  readonly what: string | (() => string);
  readonly everyMs?: number;
}

/**
 * Polls until `condition` gives something other than undefined, null or false, and returns that. A condition that
 * throws counts as not met yet. Throws with `what` and the last state or error when the deadline passes.
 */
export async function until<T>(
  condition: () => T | Promise<T>,
  options: UntilOptions,
): Promise<Exclude<T, undefined | null | false>> {
  const { deadlineMs = 20_000, everyMs = 10 } = options;
  const deadline = performance.now() + deadlineMs;
  for (;;) {
    let last: string;
    let cause: unknown;
    try {
      const value = await condition();
      if (value !== undefined && value !== null && value !== false)
        return value as Exclude<T, undefined | null | false>;
      last = `last: ${String(value)}`;
    } catch (error) {
      cause = error;
      last = `last: ${error instanceof Error ? error.message : String(error)}`;
    }
    if (performance.now() > deadline) {
      const what = typeof options.what === 'function' ? options.what() : options.what;
      throw new Error(`waited ${deadlineMs} ms for ${what} (${last})`, { cause });
    }
    await delay(everyMs);
  }
}
