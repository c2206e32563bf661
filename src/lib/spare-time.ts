import { performance } from 'node:perf_hooks';

/** A look shows what was done since the last one, and one does for so long, in ms. */
const lookMs = 500;
/** A process whose main thread is busy for more than this part of the time has none to spare. */
const busyPart = 0.6;

export interface SpareTimeDriver {
  nowMs(): number;
  /** The part of the time since it was last asked in which the main thread was busy, 0 to 1. */
  busyPart(): number;
}

/** Whether the main thread of this process could do more than it does. Where others have the processor, it counts as busy while it waits for it. */
export class SpareTime {
  readonly #driver: SpareTimeDriver;
  #lookedMs = Number.NEGATIVE_INFINITY;
  #has = true;

  constructor(driver: SpareTimeDriver) {
    this.#driver = driver;
  }

  has(): boolean {
    const nowMs = this.#driver.nowMs();
    if (nowMs - this.#lookedMs >= lookMs) {
      this.#lookedMs = nowMs;
      this.#has = this.#driver.busyPart() <= busyPart;
    }
    return this.#has;
  }
}

function eventLoop(): SpareTimeDriver {
  let last = performance.eventLoopUtilization();
  return {
    nowMs: () => performance.now(),
    busyPart: () => {
      const now = performance.eventLoopUtilization();
      const { utilization } = performance.eventLoopUtilization(now, last);
      last = now;
      return utilization;
    },
  };
}

/** Of this process. */
export const spareTime = new SpareTime(eventLoop());
