import { setTimeout as sleep } from 'node:timers/promises';

/** Waits, or returns early when `signal` is aborted. Does not keep the process alive. */
export async function pause(ms: number, signal?: AbortSignal): Promise<void> {
  try {
    await sleep(ms, undefined, { ...(signal === undefined ? {} : { signal }), ref: false });
  } catch (error) {
    if (signal?.aborted !== true) throw error;
  }
}
