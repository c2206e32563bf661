import { randomInt } from 'node:crypto';

/** Set it to the seed that a failed run printed, to draw the same numbers again. */
const variable = 'CAUSEWAY_TEST_SEED';

/** Random numbers that can be drawn again. */
export class Seed {
  readonly seed: number;
  #state: number;

  constructor(seed: number) {
    this.seed = seed;
    this.#state = seed >>> 0;
  }

  /** Takes the seed from the environment, or a new one, and prints it. */
  static announced(what: string): Seed {
    const given = process.env[variable];
    const seed = given === undefined ? randomInt(2 ** 31) : Number(given);
    console.info(`${what}: ${variable}=${seed}`);
    return new Seed(seed);
  }

  /** From 0 to 1 (mulberry32). */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let t = this.#state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  }

  /** A whole number from `least` to `most`. */
  between(least: number, most: number): number {
    return least + Math.floor(this.next() * (most - least + 1));
  }

  pick<T>(list: readonly T[]): T {
    return list[this.between(0, list.length - 1)]!;
  }

  shuffled<T>(list: readonly T[]): T[] {
    const result = [...list];
    for (let i = result.length - 1; i > 0; i--) {
      const j = this.between(0, i);
      [result[i], result[j]] = [result[j]!, result[i]!];
    }
    return result;
  }
}
