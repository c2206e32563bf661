import { payloadDigest, type Witness } from '../wire/position.ts';
import { RecordView } from '../wire/record-view.ts';
import { type GapItem, type PoisonItem, type SinkLaneState, storedEffect } from './sink-lane-state.ts';
import type { SinkLanes } from './sink-lanes.ts';
import type { SinkWriterEffect } from './sink-writer-events.ts';

/**
 * What the cursor of a lane passes only once it is entered elsewhere: a gap in the ledger, a record that the sink does not take in the
 * quarantine. Each waits until everything before it is stored, and holds up what comes behind it on its lane (I1, I2).
 */
export class SinkEntries {
  readonly #lanes: SinkLanes;
  readonly #emit: (effect: SinkWriterEffect) => void;

  constructor(lanes: SinkLanes, emit: (effect: SinkWriterEffect) => void) {
    this.#lanes = lanes;
    this.#emit = emit;
  }

  /** True if an item that is first in the queue of its lane may be entered now. */
  mayBegin(lane: SinkLaneState): boolean {
    return lane.inFlight === 0 && lane.entering === undefined;
  }

  begin(item: GapItem | PoisonItem): void {
    const { lane, epoch } = item;
    lane.entering = item;
    if (item.kind === 'gap') {
      const { after, upTo, reason } = item;
      this.#emit({ type: 'record-gap', lane: lane.id, epoch, after, upTo, reason });
    } else {
      const { position, record, failure } = item;
      this.#emit({ type: 'quarantine', lane: lane.session!.lane, epoch, position, record, failure });
    }
  }

  /** It is entered: the cursor passes. `seen`: of the record where the lane goes on behind a gap, if that one is known. */
  entered(id: string, epoch: number, seen?: Witness): void {
    const lane = this.#lanes.get(id);
    const item = lane.entering;
    if (item === undefined || item.epoch !== epoch) return;
    lane.entering = undefined;
    lane.queue.shift();
    const upTo = item.kind === 'gap' ? item.upTo : item.position;
    if (item.kind === 'poison') lane.setAside++;
    lane.moveCursor(upTo, item.kind === 'gap' ? seen : witnessOf(item));
    this.#emit(storedEffect(item, upTo));
    this.#lanes.again(lane);
  }
}

/** The source can be asked whether it still has the record that was set aside. */
function witnessOf({ position, record }: PoisonItem): Witness {
  const view = new RecordView(record);
  view.next();
  const { seconds, nanos, payloadStart, payloadEnd } = view;
  return { position, seconds, nanos, digest: payloadDigest(record.subarray(payloadStart, payloadEnd)) };
}
