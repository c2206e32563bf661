import type { Delivery } from './reader-protocol.ts';

const leastRecords = 1024;
/** More than a server gives out without acknowledgements, so that what is forgotten is stored at the sink. */
const mostRecords = 65_536;

/**
 * What a consumer delivered, in the order of sequences: by time and serial (its number among the deliveries). The oldest are forgotten. A
 * ring of numbers, since there may be very many (I5).
 */
export class SentRecords {
  #sequences = new Float64Array(leastRecords);
  #serials = new Float64Array(leastRecords);
  #seconds = new Float64Array(leastRecords);
  #nanos = new Float64Array(leastRecords);
  #begin = 0;
  #count = 0;

  get count(): number {
    return this.#count;
  }

  /** Sequence of the newest; 0 if there is none. */
  get last(): number {
    return this.#count === 0 ? 0 : this.sequenceAt(this.#count - 1);
  }

  push({ sequence, delivered, seconds, nanos }: Delivery): void {
    if (this.#count === this.#sequences.length) this.#makeRoom();
    const at = (this.#begin + this.#count++) % this.#sequences.length;
    this.#sequences[at] = sequence;
    this.#serials[at] = delivered;
    this.#seconds[at] = seconds;
    this.#nanos[at] = nanos;
  }

  sequenceAt(index: number): number {
    return this.#sequences[this.#at(index)]!;
  }

  /** 0 if the present consumer has not delivered it. */
  serialAt(index: number): number {
    return this.#serials[this.#at(index)]!;
  }

  setSerial(index: number, serial: number): void {
    this.#serials[this.#at(index)] = serial;
  }

  /** There is another consumer. */
  forgetSerials(): void {
    this.#serials.fill(0);
  }

  isOf(index: number, seconds: number, nanos: number): boolean {
    const at = this.#at(index);
    return this.#seconds[at] === seconds && this.#nanos[at] === nanos;
  }

  find(sequence: number): number | undefined {
    const index = this.firstBehind(sequence - 1);
    return index < this.#count && this.sequenceAt(index) === sequence ? index : undefined;
  }

  /** Index of the first record behind a sequence; `count` if there is none. */
  firstBehind(sequence: number): number {
    let low = 0;
    let high = this.#count;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.sequenceAt(middle) > sequence) high = middle;
      else low = middle + 1;
    }
    return low;
  }

  #at(index: number): number {
    return (this.#begin + index) % this.#sequences.length;
  }

  #makeRoom(): void {
    if (this.#count === mostRecords) {
      this.#begin = this.#at(1);
      this.#count--;
      return;
    }
    const longer = (values: Float64Array): Float64Array<ArrayBuffer> => {
      const copy = new Float64Array(2 * values.length);
      for (let index = 0; index < this.#count; index++) copy[index] = values[this.#at(index)]!;
      return copy;
    };
    const [sequences, serials] = [longer(this.#sequences), longer(this.#serials)];
    const [seconds, nanos] = [longer(this.#seconds), longer(this.#nanos)];
    this.#begin = 0;
    this.#sequences = sequences;
    this.#serials = serials;
    this.#seconds = seconds;
    this.#nanos = nanos;
  }
}
