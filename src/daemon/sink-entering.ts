import type { SinkStore } from '../brokers/store.ts';
import type { QuarantineEffect, RecordGapEffect, SinkWriterEvent } from '../lane/sink-writer-events.ts';
import type { Logger } from '../lib/logger.ts';
import type { LaneEntry } from './sink-checkpoints.ts';
import { enterGap } from './sink-gaps.ts';
import { setAside } from './sink-quarantine.ts';

export interface SinkEnteringOptions {
  readonly store: Pick<SinkStore, 'recordGap' | 'quarantine'>;
  /** The sink stream. */
  readonly stream: string;
  readonly log: Logger;
  readonly replicas: () => number;
  readonly entry: (lane: string) => LaneEntry;
  readonly step: (event: SinkWriterEvent) => void;
  /** The stream is given up. */
  readonly signal: AbortSignal;
}

/** Enters what the lanes of a sink stream pass without storing it: gaps into the ledger, refused records into the quarantine. */
export class SinkEntering {
  readonly #options: SinkEnteringOptions;

  constructor(options: SinkEnteringOptions) {
    this.#options = options;
  }

  async gap({ lane, epoch, after, upTo, reason }: RecordGapEffect): Promise<void> {
    const { entry, step } = this.#options;
    const { session, history } = entry(lane);
    if (session?.epoch !== epoch) return;
    if (!(await enterGap({ lane, after, upTo, reason }, { ...this.#context(lane, epoch), session }))) return;
    const seen = reason === 'regressed' ? history.relabelled(after, upTo) : undefined;
    step({ type: 'gap-recorded', lane, epoch, seen });
  }

  async quarantine(effect: QuarantineEffect): Promise<void> {
    const { epoch } = effect;
    const lane = effect.lane.id;
    const { step, stream } = this.#options;
    const result = await setAside(effect, { ...this.#context(lane, epoch), stream });
    if (result === true) step({ type: 'quarantined', lane, epoch });
    else if (result !== false) step({ type: 'quarantine-failed', lane, epoch, failure: result });
  }

  #context(lane: string, epoch: number) {
    const { store, log, replicas, entry, signal } = this.#options;
    const isOpen = () => entry(lane).session?.epoch === epoch;
    return { store, log, replicas: replicas(), isOpen, signal };
  }
}
