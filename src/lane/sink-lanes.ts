import { type SinkItem, SinkLaneState } from './sink-lane-state.ts';

/** The lanes of a sink stream, and whose turn it is among those that have something to append. */
export class SinkLanes {
  readonly #lanes = new Map<string, SinkLaneState>();
  readonly #turn: SinkLaneState[] = [];

  /** What is known of a lane, whether it has a session or not. */
  get(id: string): SinkLaneState {
    let lane = this.#lanes.get(id);
    if (lane === undefined) {
      lane = new SinkLaneState(id);
      this.#lanes.set(id, lane);
    }
    return lane;
  }

  values(): Iterable<SinkLaneState> {
    return this.#lanes.values();
  }

  /** Queues an item behind the others of its lane. */
  push(item: SinkItem): void {
    item.lane.queue.push(item);
    if (item.lane.queue.length === 1) this.#turn.push(item.lane);
  }

  /** Puts items before the others of their lane. */
  pushBack(lane: SinkLaneState, items: readonly SinkItem[]): void {
    lane.queue.unshift(...items);
    this.again(lane);
  }

  /** The lane whose turn it is; it loses it with that. */
  next(): SinkLaneState | undefined {
    return this.#turn.shift();
  }

  /** Gives a lane a turn if it has something queued and does not wait for one already. */
  again(lane: SinkLaneState): void {
    if (lane.queue.length > 0 && !this.#turn.includes(lane)) this.#turn.push(lane);
  }

  /** Takes everything queued of a lane away. */
  clear(lane: SinkLaneState): void {
    lane.queue.length = 0;
    lane.entering = undefined;
    lane.doubted = undefined;
    const at = this.#turn.indexOf(lane);
    if (at >= 0) this.#turn.splice(at, 1);
  }
}
