import type { Broker, SourceState } from '../brokers/broker.ts';
import { type Backlog, retentionEnd } from '../lane/retention.ts';
import type { LaneStats } from './lane-stats.ts';

const lookMs = 10_000;
/** The rate is that of the last minute or so. */
const looks = 7;
/** Of so many lanes of a stream the age of their next record is asked for; of those further on it is taken to be no less. */
const maxAsked = 50;

/** A lane that begins here. */
export interface RetainedLane {
  readonly stream: string;
  readonly stats: LaneStats;
}

/** Estimates when the source streams begin to delete what their lanes have not carried. */
export class RetentionWatch {
  readonly #broker: Pick<Broker, 'failure' | 'sourceState' | 'storedMs'>;
  readonly #lanes: () => readonly RetainedLane[];
  readonly #seen = new WeakMap<LaneStats, Backlog[]>();
  readonly #timer: NodeJS.Timeout;
  #looking = false;

  constructor(broker: Pick<Broker, 'failure' | 'sourceState' | 'storedMs'>, lanes: () => readonly RetainedLane[]) {
    this.#broker = broker;
    this.#lanes = lanes;
    this.#timer = setInterval(() => void this.look(), lookMs);
    this.#timer.unref();
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  /** Looks at every source stream that lanes are behind of. Never throws. */
  async look(): Promise<void> {
    if (this.#looking) return;
    this.#looking = true;
    const lanes = this.#lanes();
    for (const stream of new Set(lanes.map((lane) => lane.stream))) {
      const own = lanes.flatMap((lane) => (lane.stream === stream ? [lane.stats] : []));
      try {
        if (this.#broker.failure === undefined) await this.#lookAt(stream, own);
        else this.#forget(own);
      } catch {
        // Why the stream cannot be asked, its lanes say themselves; when it loses data is not known.
        this.#forget(own);
      }
    }
    this.#looking = false;
  }

  async #lookAt(stream: string, lanes: readonly LaneStats[]): Promise<void> {
    const state = await this.#broker.sourceState(stream);
    const behind = lanes
      .filter(({ stored }) => stored !== undefined && stored.sequence < state.lastSequence)
      .toSorted((a, b) => a.stored!.sequence - b.stored!.sequence);
    this.#forget(lanes.filter((lane) => !behind.includes(lane)));
    let [asked, next, oldestMs] = [0, -1, undefined as number | undefined];
    for (const lane of behind) {
      const { sequence } = lane.stored!;
      if (state.limits.maxAgeMs !== undefined && next !== sequence + 1 && asked < maxAsked) {
        next = sequence + 1;
        asked++;
        oldestMs = await this.#broker.storedMs(stream, next);
      }
      this.#judge(lane, sequence, state, oldestMs);
    }
  }

  #judge(lane: LaneStats, sequence: number, state: SourceState, oldestMs: number | undefined): void {
    const { atMs, lastSequence, messages, bytes, limits } = state;
    // Deleted ones in between count as if they were there: rather too early than too late.
    const records = lastSequence - sequence;
    const size = messages === 0 ? 0 : bytes / messages;
    const seen = [...(this.#seen.get(lane) ?? []), { atMs, records, bytes: records * size, oldestMs }].slice(-looks);
    this.#seen.set(lane, seen);
    lane.retention = retentionEnd(limits, seen[0]!, seen.at(-1)!);
  }

  #forget(lanes: readonly LaneStats[]): void {
    for (const lane of lanes) {
      this.#seen.delete(lane);
      lane.retention = undefined;
    }
  }
}
