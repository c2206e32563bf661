/** Writes numbers of 7 bits a byte, lowest first, the last byte below 128. */
export class NumberWriter {
  #buffer = Buffer.allocUnsafe(1024);
  #at = 0;
  count = 0;

  number(value: number): void {
    this.#room(8);
    this.count++;
    let rest = value;
    for (; rest > 127; rest = Math.floor(rest / 128)) this.#buffer[this.#at++] = (rest % 128) | 128;
    this.#buffer[this.#at++] = rest;
  }

  /** Any whole number: the sign takes a bit. */
  signed(value: number): void {
    this.number(value < 0 ? -2 * value - 1 : 2 * value);
  }

  text(text: string): void {
    const bytes = Buffer.from(text);
    this.number(bytes.length);
    this.#room(bytes.length);
    this.#at += bytes.copy(this.#buffer, this.#at);
  }

  take(): Buffer {
    return this.#buffer.subarray(0, this.#at);
  }

  #room(bytes: number): void {
    if (this.#at + bytes <= this.#buffer.length) return;
    const larger = Buffer.allocUnsafe(2 * this.#buffer.length + bytes);
    this.#buffer.copy(larger, 0, 0, this.#at);
    this.#buffer = larger;
  }
}

/** Reads what NumberWriter wrote; once something does not fit, `ok` is false for good. */
export class NumberReader {
  readonly #buffer: Buffer;
  #at = 0;
  ok = true;

  constructor(buffer: Buffer) {
    this.#buffer = buffer;
  }

  get atEnd(): boolean {
    return this.#at === this.#buffer.length;
  }

  number(): number {
    let value = 0;
    for (let scale = 1; this.#at < this.#buffer.length && value <= Number.MAX_SAFE_INTEGER; scale *= 128) {
      const byte = this.#buffer[this.#at++]!;
      value += (byte & 127) * scale;
      if (byte < 128 && value <= Number.MAX_SAFE_INTEGER) return value;
    }
    this.ok = false;
    return 0;
  }

  signed(): number {
    const value = this.number();
    return value % 2 === 1 ? -(value + 1) / 2 : value / 2;
  }

  text(): string {
    const length = this.number();
    const end = this.#at + length;
    if (end > this.#buffer.length) {
      this.ok = false;
      return '';
    }
    const text = this.#buffer.toString('utf8', this.#at, end);
    this.#at = end;
    return text;
  }
}
