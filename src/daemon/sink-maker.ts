import type { Sink } from '../brokers/broker.ts';
import type { Logger } from '../lib/logger.ts';
import type { CreatePlan } from '../topology/plan.ts';
import type { Failure } from '../wire/reasons.ts';

/** Makes a sink stream that is missing, if one of the lanes that end in it says what it is to be like. */
export class SinkMaker {
  readonly #options: { readonly sink: () => Pick<Sink, 'create'>; readonly log: Logger };
  /** By lane; the first one is followed. */
  readonly #plans = new Map<string, CreatePlan>();

  constructor(options: { readonly sink: () => Pick<Sink, 'create'>; readonly log: Logger }) {
    this.#options = options;
  }

  /** What a lane says of the stream; undefined: nothing any more. */
  plan(lane: string, plan: CreatePlan | undefined): void {
    if (plan === undefined) this.#plans.delete(lane);
    else this.#plans.set(lane, plan);
  }

  /** Makes the stream if that it is missing is what failed. Returns what is wrong still; the caller tries again. */
  async help(failure: Failure): Promise<Failure> {
    const [plan] = this.#plans.values();
    if (failure.reason !== 'sink-missing' || plan === undefined) return failure;
    const { sink, log } = this.#options;
    const refused = await sink().create(plan);
    if (refused === undefined) log.info('sink-made', { ...plan });
    return refused ?? failure;
  }
}
