import { setTimeout as delay } from 'node:timers/promises';
import { until } from './until.ts';
import type { World } from './world.ts';

/** A moment that does not come within this time does not come. */
const momentMs = 60_000;

/** What can be killed: `server hub`, `daemon plant-a`. */
export type Victim = `${'server' | 'daemon'} ${string}`;

/** Kills servers and daemons of a world and brings them back, and tells the story. Outages of one victim never overlap. */
export class Outages implements AsyncDisposable {
  readonly #world: World;
  readonly #begunMs = performance.now();
  readonly #story: string[] = [];
  readonly #queues = new Map<Victim, Promise<void>>();
  readonly #progress: () => string;
  #over = false;

  /** `progress` is told with every event. */
  constructor(world: World, progress: () => string) {
    this.#world = world;
    this.#progress = progress;
  }

  tell(what: string): void {
    const seconds = ((performance.now() - this.#begunMs) / 1000).toFixed(2);
    this.#story.push(`${seconds} s, ${this.#progress()}: ${what}`);
  }

  get story(): string {
    return this.#story.join('\n');
  }

  /** SIGKILL as soon as `when` holds, and the start again after `downMs`. Resolves when it is back. */
  kill(victim: Victim, when: () => boolean | Promise<boolean>, downMs: number): Promise<void> {
    const [kind, name] = victim.split(' ') as ['server' | 'daemon', string];
    const one = this.#world.cluster(name)[kind];
    const before = this.#queues.get(victim) ?? Promise.resolve();
    const outage = before.then(async () => {
      await until(async () => this.#over || (await when()), {
        deadlineMs: momentMs,
        what: () => `the moment to kill ${victim} (${this.#progress()})`,
      });
      if (this.#over) return;
      await one.kill();
      this.tell(`${victim} killed for ${downMs} ms`);
      await delay(downMs);
      await one.start();
      this.tell(`${victim} is back`);
    });
    // Whoever asked for it hears of its failure.
    this.#queues.set(
      victim,
      outage.catch(() => undefined),
    );
    return outage;
  }

  /** What has not happened yet does not happen any more. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#over = true;
    await Promise.allSettled(this.#queues.values());
  }
}
