import type { BatchItem, SinkLaneState } from './sink-lane-state.ts';

/** So many records of the sink at most wait to be read at once. */
const maxUnread = 100_000;

/**
 * What was sent over a connection that was given up, was not found after that, and belongs to no session any more: nobody sends it again,
 * but it may still come. Between the records of others its coming is not noticed, so that nothing counts as complete until a
 * reading after `lateMs`.
 */
export class LateCopies {
  readonly #lateMs: number;
  readonly #lanes = new Set<SinkLaneState>();
  #untilMs = 0;

  constructor(lateMs: number) {
    this.#lateMs = lateMs;
  }

  /** Something may come. */
  get expected(): boolean {
    return this.#lanes.size > 0;
  }

  /** Something of this lane may come. */
  expectedOf(lane: SinkLaneState): boolean {
    return this.#lanes.has(lane);
  }

  /** An item leaves the flight, after its lane's cursor has been moved. */
  left({ lane, batch, sentUpTo }: BatchItem, nowMs: number): void {
    const { cursor } = lane;
    const stored = cursor?.incarnation === batch.incarnation ? cursor.sequence : 0;
    if (sentUpTo <= stored) return;
    this.#lanes.add(lane);
    this.#untilMs = nowMs + this.#lateMs;
  }

  /** True if what has come is to be read now; `unread` records of the sink count as complete only after that. */
  isDue(unread: number, nowMs: number): boolean {
    if (!this.expected) return false;
    if (nowMs < this.#untilMs) return unread > maxUnread;
    this.#lanes.clear();
    return true;
  }
}
