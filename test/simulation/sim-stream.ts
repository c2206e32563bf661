/** A stream as a nats-server keeps it: sequences, limits, message ids, expected sequences. */

export interface SimRecord {
  readonly sequence: number;
  readonly subject: Buffer;
  readonly headers: Buffer;
  readonly payload: Buffer;
  readonly seconds: number;
  readonly nanos: number;
  /** What the payload says: who published it, and which of his it is. */
  readonly id: string;
  /** In which life of the stream it was stored; a stream that lost its tail or was made anew begins another one. */
  readonly life: number;
  fate: Fate;
  fateMs: number;
}

/** `expired`: taken by the limits. `deleted`: alone, on purpose. `consumed`: by those who work on it. `lost`: with the tail, or with the whole stream. */
export type Fate = 'held' | 'expired' | 'deleted' | 'consumed' | 'lost';

export type PublishAnswer =
  | { readonly sequence: number; readonly duplicate: boolean }
  | { readonly code: number; readonly text: string };

const expected = /\r\nNats-Expected-Last-Sequence: (\d+)\r\n/;
const messageId = /\r\nNats-Msg-Id: ([^\r]+)\r\n/;

export class SimStream {
  readonly name: string;
  readonly subjects: readonly string[];
  created: string;
  first = 0;
  last = 0;
  life = 1;
  /** Ascending by sequence. */
  list: SimRecord[] = [];
  /** When it last lost its tail, or was made anew, in ms. */
  lostMs = Number.NEGATIVE_INFINITY;
  /** Everything that was ever stored, in the order in which it was. */
  readonly history: SimRecord[] = [];
  readonly windowMs: number;
  /** A work queue: its records are gone once somebody took them. */
  readonly consumed: boolean;
  /** Somebody else has written it. */
  isShared = false;
  /** It has refused records for good. */
  refuses = false;
  /** A daemon has said that what is in doubt there may come again. */
  saidShared = false;

  /**
   * Records that vanish come again where others write, too; and where a daemon that took over cannot know which of the records that one before it tried
   * at a place were refused.
   */
  get mayRepeat(): boolean {
    return this.consumed && (this.isShared || (this.refuses && this.saidShared));
  }

  /** How many copies of a record it holds, or somebody deleted; 0 for one that it lost. */
  readonly #copies = new Map<string, number>();
  #ids = new Map<string, { readonly sequence: number; readonly atMs: number }>();
  /** Called behind every change that a consumer may be interested in. */
  onStored: ((record: SimRecord) => void) | undefined;

  constructor(options: {
    readonly name: string;
    readonly subjects: readonly string[];
    readonly created: string;
    readonly windowMs: number;
    readonly consumed: boolean;
  }) {
    this.name = options.name;
    this.subjects = options.subjects;
    this.created = options.created;
    this.windowMs = options.windowMs;
    this.consumed = options.consumed;
  }

  copiesOf(id: string): number {
    return this.#copies.get(id) ?? 0;
  }

  /** It is here, or was deleted on purpose. */
  holds(id: string): boolean {
    return this.copiesOf(id) > 0;
  }

  /** It was here once. */
  held(id: string): boolean {
    return this.#copies.has(id);
  }

  #lose(record: SimRecord): void {
    record.fate = 'lost';
    this.#copies.set(record.id, this.copiesOf(record.id) - 1);
  }

  /** What was taken out may come again, as the stream does not know of it any more; it need not. */
  #forgetTaken(last: number): void {
    for (const record of this.history) if (record.fate === 'consumed' && record.sequence > last) record.fate = 'lost';
  }

  publish(message: Draft, nowMs: number): PublishAnswer {
    const text = message.headers.toString('latin1');
    const id = messageId.exec(text)?.[1];
    if (id !== undefined) {
      const known = this.#ids.get(id);
      if (known !== undefined && nowMs - known.atMs < this.windowMs)
        return { sequence: known.sequence, duplicate: true };
    }
    const last = expected.exec(text)?.[1];
    if (last !== undefined && Number(last) !== this.last)
      return { code: 10071, text: `wrong last sequence: ${this.last}` };
    const record = this.store(message);
    if (id !== undefined) this.#ids.set(id, { sequence: record.sequence, atMs: nowMs });
    return { sequence: record.sequence, duplicate: false };
  }

  store({ subject, headers, payload, seconds, nanos }: Draft): SimRecord {
    const text = payload.toString('latin1');
    const space = text.indexOf(' ');
    const id = space < 0 ? text : text.slice(0, space);
    const sequence = ++this.last;
    const record: SimRecord = {
      sequence,
      subject: Buffer.from(subject),
      headers: Buffer.from(headers),
      payload: Buffer.from(payload),
      seconds,
      nanos,
      id,
      life: this.life,
      fate: 'held',
      fateMs: 0,
    };
    if (this.first === 0) this.first = 1;
    this.list.push(record);
    this.history.push(record);
    this.#copies.set(id, this.copiesOf(id) + 1);
    this.onStored?.(record);
    return record;
  }

  /** Index in `list` of the first record at a sequence or behind it. */
  indexFrom(sequence: number): number {
    let low = 0;
    let high = this.list.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.list[middle]!.sequence < sequence) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  at(sequence: number): SimRecord | undefined {
    const found = this.list[this.indexFrom(sequence)];
    return found?.sequence === sequence ? found : undefined;
  }

  /** The limits take the oldest `count` records. */
  expire(count: number, nowMs: number): void {
    for (const record of this.list.splice(0, count)) {
      record.fate = 'expired';
      record.fateMs = nowMs;
    }
    this.first = this.list[0]?.sequence ?? this.last + 1;
  }

  /** Everything that it was given and has not lost since, also what is gone by its own rules. */
  get taken(): readonly SimRecord[] {
    return this.consumed ? this.history.filter(({ fate }) => fate !== 'lost') : this.list;
  }

  /** Somebody deletes a record in the middle, or takes it from the queue. */
  deleteAt(sequence: number, fate: 'deleted' | 'consumed' = 'deleted'): void {
    const at = this.indexFrom(sequence);
    const record = this.list[at];
    if (record?.sequence !== sequence) return;
    record.fate = fate;
    this.list.splice(at, 1);
    this.first = this.list[0]?.sequence ?? this.last + 1;
  }

  /** The stream is as it was `count` records ago: a power cut, or an older copy was restored. */
  loseTail(count: number, nowMs: number): void {
    this.lostMs = nowMs;
    const last = Math.max(0, this.last - count);
    for (const record of this.list.splice(this.indexFrom(last + 1))) this.#lose(record);
    this.#forgetTaken(last);
    for (const [id, { sequence }] of this.#ids) if (sequence > last) this.#ids.delete(id);
    this.last = last;
    this.life++;
    if (this.list.length === 0) this.first = last === 0 ? 0 : last + 1;
  }

  /** The stream is deleted and made again. */
  recreate(created: string, nowMs: number): void {
    this.lostMs = nowMs;
    for (const record of this.list.splice(0)) this.#lose(record);
    this.#forgetTaken(0);
    this.#ids.clear();
    this.created = created;
    this.first = 0;
    this.last = 0;
    this.life++;
  }
}

export interface Draft {
  readonly subject: Buffer;
  readonly headers: Buffer;
  readonly payload: Buffer;
  readonly seconds: number;
  readonly nanos: number;
}
