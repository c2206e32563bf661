/** Virtual time: every timer, clock and random number of a run is drawn from here, so that a seed is all there is to know of it. */
import { createRequire, syncBuiltinESMExports } from 'node:module';
import { nuid } from 'nats';
import type { Seed } from '../support/seed.ts';

const real = { setImmediate, setTimeout, Date, performanceNow: performance.now };
const require = createRequire(import.meta.url);
/** Events that are run for each turn of the real event loop; microtasks run out after each of them all the same. */
const perTurn = 64;

/** A process of the simulated world: what it has scheduled dies with it. */
export interface Owner {
  readonly name: string;
  readonly dead: boolean;
  /** Something that it waits for is about to happen. It may die of that, and then it does not. */
  woken?(): void;
}

interface Task {
  readonly atMs: number;
  readonly order: number;
  readonly owner: Owner | undefined;
  run: (() => void) | undefined;
}

/** What `setTimeout` and its like return. */
class SimTimer {
  task: Task | undefined;
  unref(): this {
    return this;
  }
  ref(): this {
    return this;
  }
  hasRef(): boolean {
    return false;
  }
}

export class VirtualClock {
  /** Monotonic, in ms. */
  nowMs = 0;
  /** What the wall clock is ahead of the monotonic one; it may jump. */
  wallOffsetMs = 1_700_000_000_000;
  /** On whose behalf the present event runs. */
  current: Owner | undefined;
  events = 0;
  readonly #heap: Task[] = [];
  #order = 0;
  #serial = 0;
  readonly #fault: (error: unknown) => void;

  /** `fault`: something was thrown that nobody caught. */
  constructor(fault: (error: unknown) => void) {
    this.#fault = fault;
  }

  /** A number that nothing else has in this run. */
  serial(): number {
    return ++this.#serial;
  }

  get wallMs(): number {
    return Math.floor(this.nowMs + this.wallOffsetMs);
  }

  after(delayMs: number, owner: Owner | undefined, run: () => void): Task {
    const task = { atMs: this.nowMs + Math.max(0, delayMs), order: this.#order++, owner, run };
    this.#push(task);
    return task;
  }

  cancel(task: Task): void {
    task.run = undefined;
  }

  /** Runs something at once on behalf of `owner`. */
  as<T>(owner: Owner | undefined, work: () => T): T {
    const before = this.current;
    this.current = owner;
    try {
      return work();
    } finally {
      this.current = before;
    }
  }

  /** Runs every event up to a time, or until `done` says so; microtasks run out behind each event. */
  run(untilMs: number, done: () => boolean = () => false): Promise<void> {
    return new Promise((resolve) => {
      let over = false;
      const step = (): void => {
        if (over) return;
        const task = this.#next(untilMs);
        if (task === undefined || done()) {
          over = true;
          this.current = undefined;
          if (task !== undefined) this.#push(task);
          else this.nowMs = untilMs;
          resolve();
          return;
        }
        this.nowMs = Math.max(this.nowMs, task.atMs);
        this.current = task.owner;
        this.events++;
        try {
          task.owner?.woken?.();
          if (task.owner?.dead !== true) task.run?.();
        } catch (error) {
          this.#fault(error);
        }
      };
      const turn = (): void => {
        if (over) return;
        for (let i = 0; i < perTurn; i++) real.setImmediate(step);
        real.setImmediate(turn);
      };
      turn();
    });
  }

  #next(untilMs: number): Task | undefined {
    for (;;) {
      const [first] = this.#heap;
      if (first === undefined || first.atMs > untilMs) return undefined;
      this.#pop();
      if (first.run !== undefined && first.owner?.dead !== true) return first;
    }
  }

  #push(task: Task): void {
    const heap = this.#heap;
    let at = heap.push(task) - 1;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!before(task, heap[parent]!)) break;
      heap[at] = heap[parent]!;
      at = parent;
    }
    heap[at] = task;
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop()!;
    if (heap.length === 0) return;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && before(heap[child + 1]!, heap[child]!)) child++;
      if (!before(heap[child]!, last)) break;
      heap[at] = heap[child]!;
      at = child;
    }
    heap[at] = last;
  }

  /** Takes the place of the clocks and random numbers of this realm; returns the way back. */
  install(seed: Seed): () => void {
    const clock = this;
    const timer = (delayMs: number, run: () => void, every: boolean): SimTimer => {
      const made = new SimTimer();
      const owner = clock.current;
      const again = (): void => {
        made.task = clock.after(Math.max(1, delayMs || 0), owner, () => {
          if (every) again();
          run();
        });
      };
      again();
      return made;
    };
    const clear = (made: SimTimer | undefined): void => {
      if (made instanceof SimTimer && made.task !== undefined) clock.cancel(made.task);
    };
    class SimDate extends real.Date {
      constructor(time?: number | string) {
        super(time ?? clock.wallMs);
      }
      static override now(): number {
        return clock.wallMs;
      }
    }
    const bytes = (size: number): Buffer => {
      const made = Buffer.alloc(size);
      for (let i = 0; i < size; i++) made[i] = seed.between(0, 255);
      return made;
    };
    const restores = [
      replace(globalThis, {
        setTimeout: (run: () => void, delayMs: number) => timer(delayMs, run, false),
        setInterval: (run: () => void, delayMs: number) => timer(delayMs, run, true),
        setImmediate: (run: () => void) => {
          const made = new SimTimer();
          made.task = clock.after(0, clock.current, run);
          return made;
        },
        clearTimeout: clear,
        clearInterval: clear,
        clearImmediate: clear,
        Date: SimDate,
      }),
      replace(performance, { now: () => clock.nowMs }),
      replace(Math, { random: () => seed.next() }),
      replace(globalThis.crypto, {
        getRandomValues: (into: Uint8Array) => {
          into.set(bytes(into.length));
          return into;
        },
      }),
      replace(require('node:timers/promises'), {
        setTimeout: (delayMs: number, value: unknown, options?: { signal?: AbortSignal }) =>
          sleep(clock, delayMs, value, options?.signal),
      }),
      replace(require('node:crypto'), {
        randomBytes: bytes,
        randomInt: (least: number, most?: number) =>
          most === undefined ? seed.between(0, least - 1) : seed.between(least, most - 1),
      }),
    ];
    syncBuiltinESMExports();
    nuid.reset();
    return () => {
      for (const restore of restores.toReversed()) restore();
      syncBuiltinESMExports();
    };
  }
}

function before(a: Task, b: Task): boolean {
  return a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order);
}

function sleep(clock: VirtualClock, delayMs: number, value: unknown, signal?: AbortSignal): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const aborted = (): void => {
      clock.cancel(task);
      reject(signal?.reason);
    };
    const task = clock.after(Math.max(1, delayMs), clock.current, () => {
      signal?.removeEventListener('abort', aborted);
      resolve(value);
    });
    if (signal?.aborted === true) aborted();
    else signal?.addEventListener('abort', aborted);
  });
}

/** Overwrites members of an object and returns the way back. */
export function replace(target: object, members: Record<string, unknown>): () => void {
  const before = new Map<string, PropertyDescriptor | undefined>();
  for (const [name, value] of Object.entries(members)) {
    before.set(name, Object.getOwnPropertyDescriptor(target, name));
    Object.defineProperty(target, name, { value, configurable: true, writable: true });
  }
  return () => {
    for (const [name, descriptor] of before) {
      if (descriptor === undefined) Reflect.deleteProperty(target, name);
      else Object.defineProperty(target, name, descriptor);
    }
  };
}

/** The real event loop, for whoever waits outside of the simulation. */
export const realTime = {
  now: (): number => real.performanceNow.call(performance),
};
