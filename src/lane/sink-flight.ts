import type { BatchItem } from './sink-lane-state.ts';

/** The batches that a writer has begun and not finished, in the order in which their records go to the sink. */
export class SinkFlight {
  /** Walked to their end, oldest first, waiting for their last record to be stored. */
  #walked: BatchItem[] = [];
  /** To be walked before anything new: what a failure interrupted, in its old order. */
  #redo: BatchItem[] = [];
  /** Being walked. */
  current: BatchItem | undefined;
  #bytes = 0;
  #again = 0;

  get bytes(): number {
    return this.#bytes;
  }

  /** Something of what a failure interrupted is not stored yet: a copy of it may still come over a connection that was given up. */
  get repeating(): boolean {
    return this.#again > 0;
  }

  /** Begun in this round: some of their records may be on their way. */
  begun(): BatchItem[] {
    return this.current === undefined ? this.#walked : [...this.#walked, this.current];
  }

  add(item: BatchItem): void {
    item.lane.inFlight++;
    this.#bytes += item.batch.packed.length;
  }

  /** Of an item being walked only a part goes on its way. */
  cut(item: BatchItem, part: Pick<BatchItem, 'batch' | 'view'>): void {
    this.#bytes -= item.batch.packed.length - part.batch.packed.length;
    item.batch = part.batch;
    item.view = part.view;
  }

  /** An item that counts as in flight no longer. */
  drop(item: BatchItem): void {
    this.#bytes -= item.batch.packed.length;
    item.lane.inFlight--;
    if (item.again) this.#again--;
  }

  /** The next item to be walked again, if there is one. */
  nextAgain(): BatchItem | undefined {
    return this.#redo.shift();
  }

  /** The walk of an item has ended. */
  walked(item: BatchItem): void {
    this.#walked.push(item);
  }

  /** Takes off the items whose every append is among the first `done`, oldest first. */
  takeComplete(done: number): BatchItem[] {
    let complete = 0;
    while (complete < this.#walked.length && this.#walked[complete]!.endAt <= done) complete++;
    return complete === 0 ? [] : this.#walked.splice(0, complete);
  }

  /** Everything goes back to be walked again, in its old order. */
  interrupt(): void {
    this.#redo = [...this.begun(), ...this.#redo];
    this.#walked = [];
    this.current = undefined;
  }

  /** Takes the items out that are not to be walked again. */
  removeRedo(unwanted: (item: BatchItem) => boolean): BatchItem[] {
    const removed = this.#redo.filter(unwanted);
    if (removed.length > 0) this.#redo = this.#redo.filter((item) => !removed.includes(item));
    return removed;
  }

  /** The interrupted items, from now on marked as such. */
  redo(): readonly BatchItem[] {
    for (const item of this.#redo) {
      if (item.again) continue;
      item.again = true;
      this.#again++;
    }
    return this.#redo;
  }
}
