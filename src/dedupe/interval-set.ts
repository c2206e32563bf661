/**
 * A set of positive integers as sorted, disjoint, closed intervals. Appending in order is O(1) and takes no memory; that is
 * what a lane does all day. Everything else is a binary search.
 */
export class IntervalSet {
  /** start0, end0, start1, end1, ... */
  readonly #bounds: number[] = [];

  /** Number of intervals. */
  get intervals(): number {
    return this.#bounds.length / 2;
  }

  has(value: number): boolean {
    const at = this.#find(value);
    return at < this.#bounds.length && this.#bounds[at]! <= value;
  }

  /** Adds a number; false if it was there already. */
  add(value: number): boolean {
    const bounds = this.#bounds;
    const last = bounds.length - 1;
    if (last >= 0 && value === bounds[last]! + 1) {
      bounds[last] = value;
      return true;
    }
    if (last < 0 || value > bounds[last]!) {
      bounds.push(value, value);
      return true;
    }
    const at = this.#find(value);
    if (bounds[at]! <= value) return false;
    const joinsLeft = at > 0 && bounds[at - 1]! === value - 1;
    const joinsRight = bounds[at]! === value + 1;
    if (joinsLeft && joinsRight) bounds.splice(at - 1, 2);
    else if (joinsLeft) bounds[at - 1] = value;
    else if (joinsRight) bounds[at] = value;
    else bounds.splice(at, 0, value, value);
    return true;
  }

  /** Removes a number, if it is there. */
  delete(value: number): void {
    const bounds = this.#bounds;
    const at = this.#find(value);
    if (at >= bounds.length || bounds[at]! > value) return;
    const start = bounds[at]!;
    const end = bounds[at + 1]!;
    if (start === end) bounds.splice(at, 2);
    else if (value === start) bounds[at] = value + 1;
    else if (value === end) bounds[at + 1] = value - 1;
    else bounds.splice(at + 1, 0, value - 1, value + 1);
  }

  /** Index of the first interval (its start) whose end is not below `value`. */
  #find(value: number): number {
    const bounds = this.#bounds;
    let low = 0;
    let high = bounds.length / 2;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (bounds[2 * middle + 1]! < value) low = middle + 1;
      else high = middle;
    }
    return 2 * low;
  }
}
