/** Numbers in one block at most: two for each interval. Small enough to be copied and shifted in no time. */
const blockBounds = 1024;

/** Some consecutive intervals of a set. */
interface Block {
  /** start0, end0, start1, end1, ...; longer than what is in use. */
  bounds: Float64Array;
  length: number;
  /** Another set has it too: it is copied before it is changed. */
  shared: boolean;
}

/**
 * A set of positive integers as sorted, disjoint, closed intervals, 16 bytes each. Appending in order is O(1) and takes no memory; that is
 * what a lane does all day. Everything else is a binary search. A copy shares all blocks that neither of the two changes.
 */
export class IntervalSet {
  /** In ascending order; none is empty. */
  readonly #blocks: Block[] = [];
  #intervals = 0;

  /** A set of the same numbers, to be changed on its own. */
  copy(): IntervalSet {
    const copy = new IntervalSet();
    for (const block of this.#blocks) {
      block.shared = true;
      copy.#blocks.push({ ...block });
    }
    copy.#intervals = this.#intervals;
    return copy;
  }

  /** Number of intervals. */
  get intervals(): number {
    return this.#intervals;
  }

  /** Highest number in it; 0 if there is none. */
  get last(): number {
    const block = this.#blocks.at(-1);
    return block === undefined ? 0 : block.bounds[block.length - 1]!;
  }

  /** Start, end, start, end, ... in ascending order. */
  *bounds(): Generator<number> {
    for (const { bounds, length } of this.#blocks) for (let i = 0; i < length; i++) yield bounds[i]!;
  }

  has(value: number): boolean {
    const block = this.#blocks[this.#block(value)];
    return block !== undefined && block.bounds[find(block, value)]! <= value;
  }

  /** Adds a number; false if it was there already. */
  add(value: number): boolean {
    if (value !== this.last + 1 && this.has(value)) return false;
    this.addRange(value, value);
    return true;
  }

  /** Adds every number from `first` to `last`. */
  addRange(first: number, last: number): void {
    const end = this.last;
    if (first > end + 1 || end === 0) {
      this.#insert(this.#blocks.length - 1, this.#blocks.at(-1)?.length ?? 0, first, last);
      return;
    }
    // The first interval that it overlaps or touches takes in the others.
    const at = this.#block(first - 1);
    const block = this.#own(at);
    const i = find(block, first - 1);
    const { bounds } = block;
    if (bounds[i]! > last + 1) {
      this.#insert(at, i, first, last);
      return;
    }
    bounds[i] = Math.min(bounds[i]!, first);
    if (bounds[i + 1]! >= last) return;
    bounds[i + 1] = last;
    while (this.#joinNext(at, i));
  }

  /** Removes a number, if it is there. */
  delete(value: number): void {
    const at = this.#block(value);
    if (at === this.#blocks.length) return;
    const i = find(this.#blocks[at]!, value);
    if (this.#blocks[at]!.bounds[i]! > value) return;
    const { bounds } = this.#own(at);
    const [start, end] = [bounds[i]!, bounds[i + 1]!];
    if (start === end) this.#remove(at, i);
    else if (value === start) bounds[i] = value + 1;
    else {
      bounds[i + 1] = value - 1;
      if (value < end) this.#insert(at, i + 2, value + 1, end);
    }
  }

  /** Index of the first block that ends with `value` or behind it. */
  #block(value: number): number {
    const blocks = this.#blocks;
    let low = 0;
    let high = blocks.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const { bounds, length } = blocks[middle]!;
      if (bounds[length - 1]! < value) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** A block that may be changed. */
  #own(at: number): Block {
    const block = this.#blocks[at]!;
    if (block.shared) {
      block.bounds = block.bounds.slice();
      block.shared = false;
    }
    return block;
  }

  /** Takes the interval that follows on one into it if the two overlap or touch. */
  #joinNext(at: number, i: number): boolean {
    const { bounds, length } = this.#blocks[at]!;
    const [nextAt, nextI] = i + 2 < length ? [at, i + 2] : [at + 1, 0];
    const next = this.#blocks[nextAt];
    if (next === undefined || next.bounds[nextI]! > bounds[i + 1]! + 1) return false;
    bounds[i + 1] = Math.max(bounds[i + 1]!, next.bounds[nextI + 1]!);
    this.#remove(nextAt, nextI);
    return true;
  }

  #remove(at: number, i: number): void {
    this.#intervals--;
    const block = this.#own(at);
    block.bounds.copyWithin(i, i + 2, block.length);
    block.length -= 2;
    if (block.length === 0) this.#blocks.splice(at, 1);
  }

  /** Puts an interval into a block, which is made if there is none. */
  #insert(at: number, i: number, first: number, last: number): void {
    this.#intervals++;
    if (at < 0) {
      this.#blocks.push({ bounds: Float64Array.of(first, last), length: 2, shared: false });
      return;
    }
    let [into, place] = [at, i];
    if (this.#blocks[at]!.length === blockBounds) {
      // What is appended at the end leaves full blocks behind it; elsewhere both halves have room then.
      const half = at === this.#blocks.length - 1 && i === blockBounds ? blockBounds : blockBounds / 2;
      const block = this.#own(at);
      const rest = block.bounds.slice(half, block.length);
      block.length = half;
      if (half === blockBounds) {
        this.#blocks.push({ bounds: Float64Array.of(first, last), length: 2, shared: false });
        return;
      }
      this.#blocks.splice(at + 1, 0, { bounds: rest, length: rest.length, shared: false });
      if (place > half) [into, place] = [at + 1, place - half];
    }
    const block = this.#own(into);
    if (block.length === block.bounds.length) {
      const larger = new Float64Array(Math.min(blockBounds, 2 * block.length));
      larger.set(block.bounds);
      block.bounds = larger;
    }
    block.bounds.copyWithin(place + 2, place, block.length);
    block.bounds[place] = first;
    block.bounds[place + 1] = last;
    block.length += 2;
  }
}

/** Index of the first interval (its start) of a block whose end is not below `value`. */
function find({ bounds, length }: Block, value: number): number {
  let low = 0;
  let high = length / 2;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (bounds[2 * middle + 1]! < value) low = middle + 1;
    else high = middle;
  }
  return 2 * low;
}
