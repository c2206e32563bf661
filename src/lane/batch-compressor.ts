import type { BatchBuilder } from '../wire/batch.ts';
import { deflate, maxInflatedBytes } from '../wire/compression.ts';

/** Smaller batches are not worth it, in bytes. */
const minBytes = 512;
/** A batch that shrinks to more than this part of its size is sent as it is, and so are so many behind it. */
const worthIt = 0.9;
const restBatches = 15;

/** Decides which batches of a session are compressed: on a line that is too slow for what there is to send, those that shrink. */
export class BatchCompressor {
  #rest = 0;

  /** The records of a batch, compressed; undefined if they are to be sent as they are. `full`: the line has more to carry than it can. */
  compress(batch: BatchBuilder, full: boolean): Buffer | undefined {
    const { rawBytes } = batch;
    if (!full || rawBytes < minBytes || rawBytes > maxInflatedBytes / 4) return undefined;
    if (this.#rest > 0) {
      this.#rest--;
      return undefined;
    }
    const deflated = deflate(batch.packed);
    if (deflated.length <= worthIt * rawBytes) return deflated;
    this.#rest = restBatches;
    return undefined;
  }
}
