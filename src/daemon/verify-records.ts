import type { VerifyEdge, VerifyRecord } from '../wire/verify.ts';

export type DifferenceKind = 'missing' | 'differs' | 'extra' | 'repeated';

/** A record that is not the same at both ends. */
export interface Difference {
  readonly kind: DifferenceKind;
  /** cluster/stream where it was first seen, its sequence there, and when, in Unix ms. */
  readonly origin: string;
  readonly sequence: number;
  readonly timeMs: number;
  /** On the lane; absent where the sink's headers do not say one. */
  readonly position?: number;
  /** Where it stands in the sink; of a repeated record every place. */
  readonly sinkSequences: readonly number[];
}

export interface RecordCounts {
  missing: number;
  differing: number;
  extra: number;
  repeated: number;
  expired: number;
  gone: number;
}

export interface RecordJudgeOptions {
  readonly edge: VerifyEdge;
  /** Newest sequence of the source. */
  readonly last: number;
}

/** Records that may have been deleted in front of the first one that is left, kept until it is known which are the newest. */
const maxHeldBack = 100_000;

/** Judges the records of groups that are not the same at both ends. */
export class RecordJudge {
  readonly counts: RecordCounts = { missing: 0, differing: 0, extra: 0, repeated: 0, expired: 0, gone: 0 };
  readonly #options: RecordJudgeOptions;
  /** Oldest first. */
  readonly #heldBack: VerifyRecord[] = [];
  #differences: Difference[] = [];

  constructor(options: RecordJudgeOptions) {
    this.#options = options;
  }

  /**
   * Judges all records of some groups, as the source and the sink have them; groups come in the order of the source. `lapsed`: so many of them
   * the sink has let go of since its edge was found. Returns the differences.
   */
  take(source: readonly VerifyRecord[], sink: readonly VerifyRecord[], lapsed: number): readonly Difference[] {
    const held = new Map<string, VerifyRecord[]>();
    for (const record of sink) {
      const key = keyOf(record);
      const before = held.get(key);
      if (before === undefined) held.set(key, [record]);
      else before.push(record);
    }
    const positions = new Set(source.map(({ position }) => position));
    const absent: VerifyRecord[] = [];
    for (const record of source) {
      const key = keyOf(record);
      const found = held.get(key) ?? [];
      held.delete(key);
      if (found.length === 0) {
        if (!record.leftOut) absent.push(record);
        continue;
      }
      if (found.length > 1) this.#tell('repeated', record, found);
      if (!record.leftOut && found.some(({ digest }) => !digest.equals(record.digest)))
        this.#tell('differs', record, found);
    }
    this.#judgeAbsent(
      absent.sort((a, b) => a.position - b.position),
      lapsed,
    );
    for (const found of held.values()) this.#judgeUnknown(found, positions);
    return this.#taken();
  }

  /** What is known when all have been taken. */
  finish(): readonly Difference[] {
    for (const record of this.#heldBack.splice(0)) this.#tell('missing', record, []);
    return this.#taken();
  }

  #taken(): readonly Difference[] {
    const differences = this.#differences;
    this.#differences = [];
    return differences;
  }

  /**
   * Records of the source that the sink does not hold. What stood in front of the first record of the lane that is left, in a sink whose first messages
   * are gone, went with these. Where messages are missing behind those, too, somebody deleted them, and the newest records may be what was deleted.
   */
  #judgeAbsent(absent: readonly VerifyRecord[], lapsed: number): void {
    let expired = 0;
    const { before, first, position: edge } = this.#options.edge;
    for (const record of absent) {
      if (first <= 1 || (edge > 0 && record.position >= edge)) {
        if (expired++ < lapsed) this.counts.expired++;
        else this.#tell('missing', record, []);
        continue;
      }
      this.#heldBack.push(record);
      if (this.#heldBack.length <= Math.min(before, maxHeldBack)) continue;
      this.#heldBack.shift();
      this.counts.expired++;
    }
  }

  /** A record of the sink that the source does not hold: it was deleted there since, unless its place tells otherwise. */
  #judgeUnknown(found: readonly VerifyRecord[], positions: ReadonlySet<number>): void {
    const [record] = found;
    if (found.length > 1) this.#tell('repeated', record!, found);
    const own = found.filter(({ position }) => position > 0);
    if (own.length === 0) return;
    const isExtra = own.some(({ position }) => position > this.#options.last || positions.has(position));
    if (isExtra) this.#tell('extra', own[0]!, own);
    else this.counts.gone += own.length;
  }

  #tell(kind: DifferenceKind, record: VerifyRecord, found: readonly VerifyRecord[]): void {
    const { place, sequence, time, position } = record;
    if (kind === 'differs') this.counts.differing++;
    else this.counts[kind]++;
    this.#differences.push({
      kind,
      origin: place,
      sequence,
      timeMs: Math.floor(time / 1000),
      ...(position === 0 ? {} : { position }),
      sinkSequences: found.map(({ at }) => at),
    });
  }
}

function keyOf({ place, sequence, time }: VerifyRecord): string {
  return `${place}/${sequence}/${time}`;
}
