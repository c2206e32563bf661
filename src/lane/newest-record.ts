import type { TailRecord } from '../brokers/broker.ts';
import type { OriginMark } from '../dedupe/origin-snapshot.ts';

/** A record of ours and its place in the sink. */
export type PlacedRecord = Pick<TailRecord, 'sinkSequence' | 'lane' | 'position'>;

/**
 * The newest record of ours that is known to stand in a sink, whatever lane it is of. A sink loses records from its end: as long as this
 * one is where it was, so is every other that is known. An older one would prove nothing about those behind it.
 */
export class NewestRecord {
  #newest: PlacedRecord | undefined;

  saw(record: PlacedRecord): void {
    if (record.sinkSequence > (this.#newest?.sinkSequence ?? 0)) this.#newest = record;
  }

  recall({ sinkSequence, lane, incarnation, sequence }: OriginMark): void {
    this.saw({ sinkSequence, lane, position: { incarnation, sequence } });
  }

  get mark(): OriginMark | undefined {
    if (this.#newest === undefined) return undefined;
    const { sinkSequence, lane, position } = this.#newest;
    return { sinkSequence, lane, incarnation: position.incarnation, sequence: position.sequence };
  }
}
