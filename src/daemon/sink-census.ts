import type { Sink, SinkFacts, SinkObserver } from '../brokers/broker.ts';
import { SinkLaneState } from '../lane/sink-lane-state.ts';
import { payloadDigest } from '../wire/position.ts';
import { FailureError } from '../wire/reasons.ts';
import { type CopiedRecord, type Copies, maxCopiedRecords } from '../wire/start.ts';

/** Newest copies of a JetStream source that are shown as proof: all of them have to be right. */
const proofs = 4;

export interface SinkCensusOptions {
  readonly sink: Pick<Sink, 'facts' | 'scan' | 'messageAt'>;
  readonly signal: AbortSignal;
  /** Behind this sequence of the sink others read, and tell by `reader` what they find. */
  readonly scannedFrom: number;
}

/** What the broker itself has copied to the sink from one stream. */
interface Sourced {
  readonly stream: string;
  /** Filter and destination of each of its copies, where the server says. */
  readonly routes: Set<string>;
  /** By sequence at the source; the newest are kept. */
  readonly records: { readonly sequence: number; readonly sinkSequence: number }[];
}

/**
 * What a sink stream holds besides what checkpoints say: records of lanes without one, what no lane wrote, what the
 * broker copied. Each message is looked at once in the life of the process, and none while no lane asks.
 */
export class SinkCensus {
  readonly #options: SinkCensusOptions;
  #belowRead = false;
  #upTo: number;
  /** The newest messages that no lane wrote, ascending. */
  #foreign: number[] = [];
  readonly #sources = new Map<string, Sourced>();
  readonly #below = new Map<string, SinkLaneState>();
  readonly #above = new Map<string, SinkLaneState>();
  readonly #digests = new Map<number, Promise<Omit<CopiedRecord, 'sequence'> | undefined>>();
  #running: Promise<SinkFacts> | undefined;

  constructor(options: SinkCensusOptions) {
    this.#options = options;
    this.#upTo = options.scannedFrom;
    this.#belowRead = options.scannedFrom === 0;
  }

  /** Takes part in a reading of everything behind `after`. */
  reader(after: number): SinkObserver {
    // With a hole before it, it is left to `complete`.
    if (after > this.#upTo) return () => undefined;
    return (sequence, record, copy) => {
      if (sequence <= this.#upTo) return;
      this.#upTo = sequence;
      this.#note(this.#above, sequence, record, copy);
    };
  }

  /** Reads what has not been read up to the end there is now, and returns what the stream is. Throws FailureError. */
  complete(): Promise<SinkFacts> {
    this.#running ??= this.#read().finally(() => {
      this.#running = undefined;
    });
    return this.#running;
  }

  async #read(): Promise<SinkFacts> {
    const { sink, signal, scannedFrom } = this.#options;
    const facts = await sink.facts();
    if (!this.#belowRead) {
      const below = { ...facts, lastSequence: Math.min(scannedFrom, facts.lastSequence) };
      this.#below.clear();
      await sink.scan(0, below, (...message) => this.#note(this.#below, ...message), signal);
      this.#belowRead = true;
    }
    await sink.scan(this.#upTo, facts, this.reader(this.#upTo), signal);
    return facts;
  }

  #note(lanes: Map<string, SinkLaneState>, ...[sequence, record, copy]: Parameters<SinkObserver>): void {
    if (record !== undefined) {
      const lane = lanes.get(record.lane) ?? new SinkLaneState(record.lane);
      lanes.set(record.lane, lane);
      lane.observe(record, false);
      return;
    }
    keep(this.#foreign, sequence, (one) => one, maxCopiedRecords);
    if (copy === undefined) return;
    const { stream, index, route } = copy;
    const sourced = this.#sources.get(index) ?? { stream, routes: new Set(), records: [] };
    this.#sources.set(index, sourced);
    if (route !== undefined) sourced.routes.add(route);
    keep(sourced.records, { sequence: copy.sequence, sinkSequence: sequence }, (one) => one.sequence, proofs);
  }

  /** What is held of a lane as its records alone tell; undefined if there are none. After `complete`. */
  lane(id: string): SinkLaneState | undefined {
    return this.#above.get(id) ?? this.#below.get(id);
  }

  /** Sequence of the newest message that no lane wrote; undefined if there is none any more. After `complete`. */
  foreign({ firstSequence }: SinkFacts): number | undefined {
    const newest = this.#foreign.at(-1);
    return newest !== undefined && newest >= firstSequence ? newest : undefined;
  }

  /**
   * What the broker may have copied here from a stream of this name, by sources or as a mirror. Throws FailureError `start-required` for
   * sources whose filters differ: how far each of them has come cannot be put into one sequence.
   */
  async copies(stream: string, { copied }: SinkFacts): Promise<readonly Copies[]> {
    const active = new Set(copied.filter((one) => one.stream === stream).map(({ index }) => index));
    const known = [...this.#sources].filter(([, one]) => one.stream === stream).map(([index]) => index);
    const found: Copies[] = [];
    for (const index of new Set([...known, ...active])) {
      const { routes, records } = this.#sources.get(index) ?? { routes: new Set(), records: [] };
      if (routes.size > 1) {
        const newest = records.at(-1)?.sequence;
        const detail = `the sink holds copies of ${index} by several filters (${[...routes].join('; ')}), up to ${newest} at most`;
        throw new FailureError('start-required', detail);
      }
      found.push({ index, active: active.has(index), records: await this.#proven(records, false) });
    }
    const mirrored = this.#foreign.map((sequence) => ({ sequence, sinkSequence: sequence }));
    if (mirrored.length > 0) found.push({ index: '', active: false, records: await this.#proven(mirrored, true) });
    return found;
  }

  async #proven(records: Sourced['records'], withTime: boolean): Promise<CopiedRecord[]> {
    const proven: CopiedRecord[] = [];
    for (const { sequence, sinkSequence } of records.toReversed()) {
      const known = this.#digests.get(sinkSequence) ?? this.#digest(sinkSequence);
      this.#digests.set(sinkSequence, known);
      known.catch(() => this.#digests.delete(sinkSequence));
      const found = await known;
      // Deleted since: whoever did that may get it again.
      if (found === undefined) continue;
      const { digest, time } = found;
      proven.push({ sequence, digest, ...(withTime && time !== undefined ? { time } : {}) });
    }
    return proven;
  }

  async #digest(sinkSequence: number): Promise<Omit<CopiedRecord, 'sequence'> | undefined> {
    const found = await this.#options.sink.messageAt(sinkSequence);
    if (found === undefined) return undefined;
    const { seconds, nanos, payload } = found;
    return { digest: payloadDigest(payload), time: { seconds, nanos } };
  }
}

/** Takes one into a list in ascending order that holds no more than the `most` highest. */
function keep<T>(list: T[], one: T, order: (one: T) => number, most: number): void {
  let at = list.length;
  while (at > 0 && order(list[at - 1]!) > order(one)) at--;
  if (at > 0 && order(list[at - 1]!) === order(one)) return;
  list.splice(at, 0, one);
  if (list.length > most) list.shift();
}
