import type { SinkFacts } from '../brokers/broker.ts';
import type { OriginsHead, SinkStore, StoredOrigins } from '../brokers/store.ts';
import type { SinkWriter } from '../lane/sink-writer.ts';
import type { Logger } from '../lib/logger.ts';
import { failureFrom } from '../wire/reasons.ts';

/** So much may be written per second, on average, and such a part of the time go into it: an old snapshot only makes a scan longer. */
const bytesPerMs = 256;
const workShare = 0.01;

export interface SinkOriginsOptions {
  readonly store: Pick<SinkStore, 'origins' | 'saveOrigins'>;
  readonly stream: string;
  readonly log: Logger;
}

/** Keeps what a sink stream holds by origin, so that a copy that comes late is recognised after a restart too (I4). */
export class SinkOrigins {
  readonly #options: SinkOriginsOptions;
  #head: OriginsHead | undefined;
  #savedUpTo = -1;
  #notBeforeMs = 0;
  #saving: Promise<void> | undefined;

  constructor(options: SinkOriginsOptions) {
    this.#options = options;
  }

  /** Sink sequence up to which what is kept is complete; below 0: nothing is. */
  get savedUpTo(): number {
    return this.#savedUpTo;
  }

  /** What was kept. Undefined if there is nothing, or it cannot be read: the sink is then read from its first record on. */
  async load(replicas: number): Promise<StoredOrigins | undefined> {
    const { store, stream, log } = this.#options;
    await this.#saving;
    const { head, origins, fault } = await store.origins(stream, replicas);
    if (fault !== undefined) log.warn('origins-unreadable', { detail: fault });
    this.#head = head;
    this.#savedUpTo = -1;
    this.#notBeforeMs = 0;
    return origins;
  }

  /** Writes over what was kept of a sink that holds it no longer. After `load`; throws FailureError. */
  async disown({ created, replicas }: SinkFacts): Promise<void> {
    const { store, stream } = this.#options;
    const nothing: StoredOrigins = { upTo: 0, mark: undefined, spaces: new Map(), created };
    this.#head = (await store.saveOrigins(stream, nothing, this.#head!, replicas)).head;
  }

  /** Writes what the writer knows if there is something new and it is time for it; `last`: at once, since no later call comes. */
  async save(writer: SinkWriter, { created, replicas }: SinkFacts, nowMs: number, last = false): Promise<void> {
    if (last) await this.#saving;
    const head = this.#head;
    if (head === undefined || this.#saving !== undefined || !writer.isOpen) return this.#saving;
    if (writer.completeUpTo === this.#savedUpTo || (!last && nowMs < this.#notBeforeMs)) return undefined;
    const fromMs = performance.now();
    const origins = writer.origins();
    const takenMs = performance.now() - fromMs;
    // Without a record whose place is known nothing could prove later what this says.
    if (origins.mark === undefined && origins.spaces.size > 0) return undefined;
    this.#saving = this.#write({ ...origins, created }, head, replicas, nowMs, takenMs).finally(() => {
      this.#saving = undefined;
    });
    return this.#saving;
  }

  async #write(
    origins: StoredOrigins,
    head: OriginsHead,
    replicas: number,
    nowMs: number,
    takenMs: number,
  ): Promise<void> {
    const { store, stream, log } = this.#options;
    try {
      const written = await store.saveOrigins(stream, origins, head, replicas);
      this.#head = written.head;
      this.#savedUpTo = origins.upTo;
      this.#notBeforeMs = nowMs + Math.max(written.bytes / bytesPerMs, (takenMs + written.workMs) / workShare);
    } catch (error) {
      const failure = failureFrom(error);
      log.warn('origins-failed', { ...failure });
      if (failure.reason !== 'superseded') return;
      // Another daemon wrote: what it wrote is as true as ours. Ours goes over it next time.
      await store.origins(stream, replicas).then(
        (found) => {
          this.#head = found.head;
        },
        (thrown: unknown) => log.warn('origins-failed', { ...failureFrom(thrown) }),
      );
    }
  }
}
