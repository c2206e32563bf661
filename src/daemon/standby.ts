import type { LeaseEntry, LeaseStore } from '../brokers/store.ts';
import type { Logger } from '../lib/logger.ts';
import type { StandbyStatus } from '../ops/status.ts';
import { type Failure, failureFrom } from '../wire/reasons.ts';
import { Lease, leaseTimes } from './lease.ts';

/** How often it is looked whether the lease still holds, in ms: a process that was frozen finds out by this. */
const watchMs = 250;
/** How long giving it back may take at the end. */
const releaseMs = 2_000;

/** What a daemon does for its cluster while it is the active one. */
export interface Work {
  /** First of two steps: everything ends, and peers are told why. */
  end(failure: Failure): Promise<void>;
  close(): Promise<void>;
  /** What was kept in the own cluster was lost. */
  keepAgain(): void;
}

export interface StandbyOptions {
  readonly cluster: string;
  readonly self: LeaseEntry;
  readonly store: LeaseStore;
  readonly log: Logger;
  /** Why the own servers cannot be reached; undefined if they can. */
  readonly unreachable: () => Failure | undefined;
  /** This daemon works for the cluster from now on, for the `nth` time. */
  readonly begin: (nth: number) => Work;
}

/**
 * Keeps one daemon of a cluster active, by a lease that lies beside the cluster's data. That is comfort and no fence: should two work at
 * once for a moment, the chain and the checkpoints keep what they store right (I9).
 */
export class Standby {
  readonly #options: StandbyOptions;
  readonly #lease: Lease;
  readonly #log: Logger;
  #work: Work | undefined;
  /** What ran before, until it has ended. */
  #ending: Promise<void> | undefined;
  #alone = false;
  #failure: { readonly failure: Failure; readonly sinceMs: number } | undefined;
  /** Since when it is for this reason, on the monotonic clock. */
  #reasonSinceMs = 0;
  /** The lease was seen, or written, since the start: where it cannot be any more, that is an outage, in which others may see more than we do. */
  #known = false;
  #sinceMs = Date.now();
  #takeovers = 0;
  /** No work begins any more. */
  #closing = false;
  #stopped = false;
  #running: Promise<void> | undefined;
  #watch: NodeJS.Timeout | undefined;
  #wake: (() => void) | undefined;

  constructor(options: StandbyOptions) {
    this.#options = options;
    this.#log = options.log;
    this.#lease = new Lease(options.self);
  }

  start(): void {
    this.#running = this.#run();
    this.#watch = setInterval(() => this.#follow(), watchMs);
    this.#watch.unref();
  }

  /** Looks at the lease now: the servers can be reached again. */
  lookNow(): void {
    this.#wake?.();
  }

  /** No work begins any more; what is under way keeps the lease until that is released. */
  close(): void {
    this.#closing = true;
  }

  /**
   * Whether this daemon's turn lasts, by the clock and not by what has been noticed: one that was frozen in the middle of its work goes on with
   * it before it hears anything.
   */
  mayWrite(): boolean {
    return this.#alone || this.#lease.isHeld(performance.now());
  }

  /** Resolves when what an earlier term began has ended. */
  async settled(): Promise<void> {
    await this.#ending;
  }

  /** Gives the lease back, so that another daemon need not wait for it. To be called last, when nothing is written any more. */
  async release(): Promise<void> {
    this.#closing = true;
    this.#stopped = true;
    clearInterval(this.#watch);
    this.#wake?.();
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, releaseMs);
    });
    await Promise.race([this.#release(), late]);
    clearTimeout(timer);
  }

  async #release(): Promise<void> {
    await this.#running;
    const { revision } = this.#lease;
    if (revision === undefined) return;
    const { store, cluster, self } = this.#options;
    try {
      await store.saveLease(cluster, { ...self, released: true }, revision);
      this.#log.info('lease-released');
    } catch (error) {
      this.#log.info('lease-not-released', { ...failureFrom(error) });
    }
  }

  /** What peers are told that dial this daemon while it is not the active one. */
  get refusal(): Failure {
    const { cluster, self } = this.#options;
    const { holder } = this.#lease;
    const who = holder === undefined ? 'none is active at the moment' : `${holder} is the active one`;
    return { reason: 'standby', detail: `${self.node} stands by for ${cluster}; ${who}` };
  }

  status(): StandbyStatus {
    const { holder } = this.#lease;
    const failing = this.#failure;
    return {
      state: this.#work === undefined ? 'standby' : this.#alone ? 'alone' : 'active',
      sinceMs: this.#sinceMs,
      takeoversTotal: this.#takeovers,
      ...(holder === undefined ? {} : { holder }),
      ...(failing === undefined ? {} : { ...failing.failure, failingSinceMs: failing.sinceMs }),
    };
  }

  async #run(): Promise<void> {
    while (!this.#stopped) {
      const begunMs = performance.now();
      try {
        await this.#step(begunMs);
        this.#failure = undefined;
      } catch (error) {
        this.#failed(failureFrom(error));
      }
      this.#follow();
      const everyMs = this.#lease.isHeld(performance.now()) ? leaseTimes.renewMs : leaseTimes.lookMs;
      await this.#pause(everyMs);
    }
  }

  async #step(begunMs: number): Promise<void> {
    const { store, cluster } = this.#options;
    const { revision } = this.#lease;
    // Where it is not known what became of a write, or another was faster, a look tells.
    if (revision !== undefined && (await this.#write(revision, begunMs))) return;
    const sight = this.#lease.saw(await store.lease(cluster), performance.now());
    if (typeof sight === 'object') await this.#write(sight.free, performance.now());
    if (this.#alone) this.#log.info('lease-known', { holder: this.#lease.holder });
    this.#alone = false;
    this.#known = true;
  }

  /** False if another was faster. */
  async #write(over: number, begunMs: number): Promise<boolean> {
    const { store, cluster, self } = this.#options;
    try {
      const { revision, anew } = await store.saveLease(cluster, self, over);
      this.#lease.wrote(revision, begunMs);
      if (anew) this.#work?.keepAgain();
      return true;
    } catch (error) {
      if (failureFrom(error).reason === 'superseded') return false;
      throw error;
    }
  }

  #failed(failure: Failure): void {
    const nowMs = performance.now();
    if (this.#failure?.failure.reason !== failure.reason) {
      this.#log.warn('lease-unknown', { ...failure });
      this.#reasonSinceMs = nowMs;
    }
    this.#failure = { failure, sinceMs: this.#failure?.sinceMs ?? Date.now() };
    if (this.#options.unreachable() !== undefined) this.#lease.blind(nowMs);
    else if (!this.#known && isLasting(failure, nowMs - this.#reasonSinceMs)) this.#alone = true;
  }

  /** Begins or ends the work, as the lease says now. */
  #follow(): void {
    const wanted = this.mayWrite();
    if (wanted && this.#work === undefined && this.#ending === undefined && !this.#closing) this.#begin();
    else if (!wanted && this.#work !== undefined) this.#end(this.#work);
  }

  #begin(): void {
    this.#takeovers++;
    this.#sinceMs = Date.now();
    if (this.#alone) this.#log.warn('active-without-lease', { ...this.#failure?.failure });
    else this.#log.info('active', { takeover: this.#takeovers });
    this.#work = this.#options.begin(this.#takeovers);
  }

  #end(work: Work): void {
    this.#work = undefined;
    this.#sinceMs = Date.now();
    this.#log.warn('standby', { holder: this.#lease.holder, ...this.#failure?.failure });
    this.#ending = work
      .end(this.refusal)
      .then(() => work.close())
      .catch((error: unknown) => this.#log.error('internal-error', { where: 'standby', error }))
      .finally(() => {
        this.#ending = undefined;
        this.#follow();
      });
  }

  async #pause(ms: number): Promise<void> {
    if (this.#stopped) return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, ms);
      timer.unref();
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
    this.#wake = undefined;
  }
}

/** Whether it will not heal by itself that no lease can be kept, as after `forMs` it looks. */
function isLasting({ reason }: Failure, forMs: number): boolean {
  return reason === 'nats-permission' || (reason === 'jetstream-unavailable' && forMs >= leaseTimes.aloneMs);
}
