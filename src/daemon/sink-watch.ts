import type { Sink } from '../brokers/broker.ts';
import type { OriginMark } from '../dedupe/origin-snapshot.ts';
import type { SinkWriter } from '../lane/sink-writer.ts';
import type { Logger } from '../lib/logger.ts';
import { failureFrom } from '../wire/reasons.ts';
import { lostTail } from './sink-recall.ts';

/** While nothing new is stored, a sink is looked at so often. */
const idleMs = 30_000;

export interface SinkWatchOptions {
  readonly log: Logger;
  readonly writer: () => SinkWriter;
  readonly sink: () => Pick<Sink, 'messageAt'>;
  /** The sink lost records. */
  readonly lost: () => void;
}

/**
 * Looks whether a sink still holds the newest record that it was known to hold when it was looked at before. A daemon that is connected to
 * another server of the cluster sees nothing of it when the one that has the stream comes back with less; and between the records of
 * others the next append fits in any case, and would then be all that a start looks for.
 */
export class SinkWatch {
  readonly #options: SinkWatchOptions;
  #looking: Promise<boolean> | undefined;
  #known: { readonly writer: SinkWriter; readonly mark: OriginMark | undefined; readonly atMs: number } | undefined;

  constructor(options: SinkWatchOptions) {
    this.#options = options;
  }

  /** Called before anything is kept of what the writer knows: false if that is not to be kept. Looks only if there is something new. */
  holds(nowMs: number): Promise<boolean> {
    this.#looking ??= this.#look(nowMs).finally(() => {
      this.#looking = undefined;
    });
    return this.#looking;
  }

  async #look(nowMs: number): Promise<boolean> {
    const writer = this.#options.writer();
    const { mark } = writer;
    const known = this.#known?.writer === writer ? this.#known : undefined;
    const isOld = known !== undefined && known.mark?.sinkSequence === mark?.sinkSequence;
    if (isOld && nowMs - known.atMs < idleMs) return true;
    try {
      if (known?.mark !== undefined && (await lostTail(known.mark, known.mark.sinkSequence, this.#options.sink()))) {
        if (writer === this.#options.writer()) this.#options.lost();
        return false;
      }
      this.#known = { writer, mark, atMs: nowMs };
    } catch (error) {
      // Whoever appends and reads tells what keeps the sink from answering.
      this.#options.log.debug('sink-unwatched', { ...failureFrom(error) });
    }
    return true;
  }
}
