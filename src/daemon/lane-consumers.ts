import type { Broker } from '../brokers/broker.ts';
import type { LaneConsumer, Store } from '../brokers/store.ts';
import type { Logger } from '../lib/logger.ts';
import { pause } from '../lib/pause.ts';
import type { Plan } from '../topology/plan.ts';
import { failureFrom } from '../wire/reasons.ts';
import type { LearnedLinks } from './learned-links.ts';
import { type LocalLane, ownLanes } from './links.ts';
import { WriteBehind } from './write-behind.ts';

const retryMs = 1000;

export interface LaneConsumersOptions {
  readonly store: Pick<Store, 'consumers' | 'saveConsumer' | 'forgetConsumer'>;
  readonly broker: Pick<Broker, 'letGo'>;
  readonly log: Logger;
  readonly signal: AbortSignal;
  /** The own file, as it is now. */
  readonly plan: () => Plan;
  readonly learned: Pick<LearnedLinks, 'has' | 'of'>;
}

/**
 * The consumers that lanes have at streams which they drain. They outlive sessions and daemons, and hold records; so it is kept in the own
 * cluster (I8) which there are, and one is removed when its lane is wanted no more: its link was taken out of the own file, withdrawn by its
 * declarer, or is not granted any longer. That a link cannot run for another reason, or that a peer is away, is none.
 */
export class LaneConsumers {
  readonly #options: LaneConsumersOptions;
  readonly #kept = new Map<string, LaneConsumer>();
  readonly #writes: WriteBehind;
  /** It is known what was kept, of consumers and of links. */
  #recalled = false;

  constructor(options: LaneConsumersOptions) {
    this.#options = options;
    const { store, broker, log, signal } = options;
    const write = async (key: string): Promise<void> => {
      const consumer = this.#kept.get(key);
      if (consumer === undefined) return;
      if (this.#isWanted(consumer)) {
        await store.saveConsumer(consumer);
        return;
      }
      await broker.letGo(consumer.stream, consumer.lane);
      await store.forgetConsumer(consumer);
      log.info('consumer-removed', { lane: consumer.lane, stream: consumer.stream });
      // Wanted again meanwhile: it has to be known to the next run.
      if (this.#isWanted(consumer)) this.#writes.mark(key);
      else this.#kept.delete(key);
    };
    this.#writes = new WriteBehind({ write, failed: 'consumer-not-kept', log, signal });
  }

  /** The lanes as they shall be. */
  set(lanes: readonly LocalLane[]): void {
    for (const { plan, role } of lanes) {
      if (role !== 'sender' || plan.consume === undefined) continue;
      const consumer = { stream: plan.sourceStream, lane: plan.id, declaredBy: plan.declaredBy };
      const key = JSON.stringify([consumer.stream, consumer.lane]);
      if (this.#kept.get(key)?.declaredBy === consumer.declaredBy) continue;
      this.#kept.set(key, consumer);
      this.#writes.mark(key);
    }
    this.#sweep();
  }

  /** What was kept may be lost: all that is known is written again. */
  keepAgain(): void {
    for (const key of this.#kept.keys()) this.#writes.mark(key);
  }

  /** Reads what was kept, as soon as the store answers. To be called when it is known which links peers declared. */
  async recall(): Promise<void> {
    const { store, log, signal } = this.#options;
    while (!signal.aborted) {
      try {
        for (const consumer of await store.consumers()) {
          const key = JSON.stringify([consumer.stream, consumer.lane]);
          if (!this.#kept.has(key)) this.#kept.set(key, consumer);
        }
        this.#recalled = true;
        this.#sweep();
        return;
      } catch (error) {
        log.debug('consumers-not-read', { ...failureFrom(error) });
        await pause(retryMs, signal);
      }
    }
  }

  #sweep(): void {
    if (!this.#recalled) return;
    for (const [key, consumer] of this.#kept) if (!this.#isWanted(consumer)) this.#writes.mark(key);
  }

  #isWanted({ lane, stream, declaredBy }: LaneConsumer): boolean {
    const { plan, learned } = this.#options;
    const { cluster, peers, groups } = plan();
    const [link, from, to] = lane.split('/') as [string, string, string];
    // A renamed link's lane takes over from what its consumer keeps.
    const isOf = ({ plan: { id, previously, consume, sourceStream } }: LocalLane): boolean =>
      consume === true && sourceStream === stream && (id === lane || previously === lane);
    const peer = from === cluster ? to : from;
    if (ownLanes(plan(), peer).some(isOf)) return true;
    if (learned.of(peer).some(({ lanes }) => lanes.some(isOf))) return true;
    if (declaredBy === cluster) return false;
    const known = peers.some((one) => one.cluster === peer) || groups.length > 0;
    if (known && !learned.has(peer)) return true;
    const refused = learned.of(peer).find(({ name }) => name === link)?.failure;
    return refused !== undefined && refused.reason !== 'not-granted';
  }
}
