/** One run of the fault suite: applications publish, faults strike, and in the end everything is accounted for. */
import type { Feed } from './feed.ts';
import { Chronicle, findWrongs, type PublishedLabel } from './nemesis-account.ts';
import { describeSchedule, type PlannedFeed, type Schedule, sinksOf } from './nemesis-schedule.ts';
import { copyStore, purge, read, readGaps, restore, type Stage, strikes } from './nemesis-strikes.ts';
import { NemesisWorld } from './nemesis-world.ts';
import { until } from './until.ts';

const settleMs = 120_000;

/** Runs a schedule to its end, and gives its story. Throws with everything that is needed to understand it if a record is not accounted for. */
export async function runNemesis(schedule: Schedule): Promise<string> {
  const story: string[] = [];
  const begunMs = performance.now();
  const nemesis = await NemesisWorld.make(schedule);
  await using run = new Run(nemesis, (what, published) => {
    const seconds = ((performance.now() - begunMs) / 1000).toFixed(2);
    story.push(`${seconds} s, ${published} published: ${what}`);
  });
  try {
    await run.through();
    return story.join('\n');
  } catch (error) {
    throw new Error(
      [
        error instanceof Error ? error.message : String(error),
        `npm run nemesis -- --seed ${schedule.seed}`,
        describeSchedule(schedule),
        nemesis.describe(),
        ...story,
      ].join('\n'),
      { cause: error },
    );
  }
}

class Run implements AsyncDisposable {
  readonly #nemesis: NemesisWorld;
  readonly #chronicles: ReadonlyMap<string, Chronicle>;
  readonly #tell: (what: string, published: number) => void;
  readonly #feeds: Feed[] = [];
  readonly #queues = new Map<string, Promise<unknown>>();
  readonly #over = new AbortController();

  constructor(nemesis: NemesisWorld, tell: (what: string, published: number) => void) {
    this.#nemesis = nemesis;
    this.#tell = tell;
    this.#chronicles = new Map(nemesis.schedule.clusters.map(({ name }) => [name, new Chronicle()]));
  }

  async through(): Promise<void> {
    const { schedule } = this.#nemesis;
    const faults = schedule.faults.map(async (fault) => {
      const { kind, target, at } = fault;
      await until(() => this.#over.signal.aborted || this.#published >= at, {
        deadlineMs: settleMs,
        what: () => `${at} records to be published`,
      });
      if (this.#over.signal.aborted) return;
      this.tell(`${kind} ${target}`);
      await strikes[kind](this.#stage, fault);
      this.tell(`${kind} ${target} is over`);
    });
    await Promise.all([...schedule.feeds.map((feed) => this.#feed(feed)), ...faults]);
    this.tell('all published, no fault left');
    await this.#settled();
  }

  tell(what: string): void {
    this.#tell(what, this.#published);
  }

  get #published(): number {
    return this.#feeds.reduce((sum, { accepted }) => sum + accepted, 0);
  }

  get #stage(): Stage {
    return {
      nemesis: this.#nemesis,
      chronicles: this.#chronicles,
      alone: (things, action) => this.#alone(things, action),
      tell: (what) => this.tell(what),
    };
  }

  async #feed({ cluster, perSecond, payloadBytes, generations }: PlannedFeed): Promise<void> {
    const { world } = this.#nemesis;
    const { stream } = this.#nemesis.place(cluster);
    for (const [index, { count, copyAt, turn }] of generations.entries()) {
      const own = this.#nemesis.own(cluster, index);
      const label = labelOf(cluster, index);
      const feed = await world.cluster(cluster).feed(stream, {
        count,
        perSecond,
        payloadBytes,
        label,
        own: `${own}.>`,
        subject: (number) => `${own}.${number % 7}`,
        headers: (number) => [`Nats-Msg-Id: ${label}-${number}`],
      });
      this.#feeds.push(feed);
      let copy: string | undefined;
      if (copyAt !== undefined) {
        await feed.reached(copyAt);
        copy = await copyStore(this.#stage, cluster);
      }
      await feed.reached();
      await feed[Symbol.asyncDispose]();
      if (turn === 'purged') await purge(this.#stage, cluster);
      if (copy !== undefined) await restore(this.#stage, cluster, copy);
    }
  }

  /** Waits until everything is accounted for and every lane is level; what was missing for long is missing. */
  async #settled(): Promise<void> {
    const { schedule, world } = this.#nemesis;
    let wrongs: readonly string[] = [];
    await until(
      async () => {
        wrongs = await this.#judge();
        return wrongs.length === 0;
      },
      { deadlineMs: settleMs, everyMs: 500, what: () => `everything to be accounted for\n${wrongs.join('\n')}` },
    );
    this.tell('everything is accounted for');
    await world.level(settleMs);
    // What came after the first look is judged as well.
    wrongs = await this.#judge();
    if (wrongs.length > 0) throw new Error(wrongs.join('\n'));
    for (const { name } of schedule.clusters) this.tell(`${name} holds ${this.#chronicles.get(name)!.now.length}`);
  }

  async #judge(): Promise<string[]> {
    const { schedule, lanes } = this.#nemesis;
    const gaps = new Map<string, Chronicle['gaps']>();
    for (const { name } of schedule.clusters) {
      const chronicle = this.#chronicles.get(name)!;
      chronicle.now = await read(this.#nemesis, name);
      gaps.set(name, await readGaps(this.#nemesis.world.cluster(name).server.url));
    }
    const fed = schedule.feeds.map(({ cluster }) => cluster);
    const sinks = sinksOf(schedule);
    return findWrongs({
      chronicles: new Map(
        [...this.#chronicles].map(([name, chronicle]) => [name, withGaps(chronicle, gaps.get(name)!)]),
      ),
      lanes,
      published: labelsOf(schedule),
      shared: new Set(fed.filter((name) => sinks.includes(name))),
      forbidden: new Set(schedule.faults.filter(({ kind }) => kind === 'permission-taken').map(({ target }) => target)),
    });
  }

  /** Runs an action when those before it, on any of these things, are over. */
  async #alone<T>(things: readonly string[], action: () => Promise<T>): Promise<T> {
    const before = Promise.allSettled(things.map((thing) => this.#queues.get(thing)));
    const result = before.then(action);
    // Whoever asked for it hears of its failure.
    for (const thing of things)
      this.#queues.set(
        thing,
        result.catch(() => undefined),
      );
    return result;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#over.abort();
    await Promise.allSettled(this.#queues.values());
    await Promise.all(this.#feeds.map((feed) => feed[Symbol.asyncDispose]()));
    await this.#nemesis[Symbol.asyncDispose]();
  }
}

function withGaps(chronicle: Chronicle, gaps: Chronicle['gaps']): Chronicle {
  return Object.assign(new Chronicle(), chronicle, { gaps: [...chronicle.gaps, ...gaps] });
}

function labelOf(cluster: string, generation: number): string {
  return `${cluster}.${generation}`;
}

function labelsOf({ feeds }: Schedule): PublishedLabel[] {
  return feeds.flatMap(({ cluster, payloadBytes, generations }) =>
    generations.map(({ count }, index) => ({ label: labelOf(cluster, index), home: cluster, count, payloadBytes })),
  );
}
