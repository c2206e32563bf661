import { NumberReader, NumberWriter } from '../lib/packed-numbers.ts';

/** A record as it is going to stand in a sink: what its headers would tell, if it were still there to be read. */
export interface IntentRecord {
  readonly lane: string;
  readonly incarnation: string;
  /** Its position on the lane, and that of the record that went before it. */
  readonly sequence: number;
  readonly previous: number;
  /** Where it was first seen: cluster/stream/incarnation, sequence, and time in µs since 1970. */
  readonly space: string;
  readonly originSequence: number;
  readonly originTime: number;
  /** When the lane's own source stored it. */
  readonly seconds: number;
  readonly nanos: number;
}

/**
 * What is written down before a group of records is appended to a sink whose records vanish: which record each sequence behind `base`
 * is going to be. How many of them are stored is then for the stream's last sequence to say.
 */
export interface IntentGroup {
  /** Each group of a sink has the next one. */
  readonly number: number;
  readonly base: number;
  /** Sink sequence up to which it was certain, when this was written, what every sequence is: what the newest group that names it says. */
  readonly known: number;
  /** When somebody else was last noticed to write the stream, Unix ms; 0: never. */
  readonly othersMs: number;
  /** Undefined: that sequence is somebody else's. */
  readonly records: readonly (IntentRecord | undefined)[];
}

/** The same record, whoever appended it. */
export function sameIntent(a: IntentRecord | undefined, b: IntentRecord | undefined): boolean {
  if (a === undefined || b === undefined) return a === b;
  return a.lane === b.lane && a.sequence === b.sequence && a.incarnation === b.incarnation;
}

/** A group in about ten bytes per record: names once each, numbers as differences within their lane and incarnation. */
export function encodeGroup({ number, base, known, othersMs, records }: IntentGroup): Buffer {
  const out = new NumberWriter();
  for (const value of [number, base, known, othersMs, records.length]) out.number(value);
  const kinds = new Map<string, { readonly index: number; sequence: number; seconds: number }>();
  for (const record of records) {
    if (record === undefined) {
      out.number(0);
      continue;
    }
    const { lane, incarnation, sequence, previous, space, originSequence, originTime, seconds, nanos } = record;
    const key = `${lane} ${incarnation} ${space}`;
    const before = kinds.get(key);
    const kind = before ?? { index: kinds.size + 1, sequence: 0, seconds: 0 };
    out.number(kind.index);
    if (before === undefined) {
      for (const name of [lane, incarnation, space]) out.text(name);
      kinds.set(key, kind);
    }
    out.signed(sequence - kind.sequence);
    out.signed(sequence - previous);
    out.signed(originSequence - sequence);
    out.signed(seconds - kind.seconds);
    out.number(nanos);
    out.signed(originTime - microseconds(seconds, nanos));
    kind.sequence = sequence;
    kind.seconds = seconds;
  }
  return out.take();
}

/** What `encodeGroup` gave; undefined for anything else. */
export function decodeGroup(bytes: Buffer): IntentGroup | undefined {
  const input = new NumberReader(bytes);
  const [number, base, known] = [input.number(), input.number(), input.number()];
  const [othersMs, count] = [input.number(), input.number()];
  const kinds: { lane: string; incarnation: string; space: string; sequence: number; seconds: number }[] = [];
  const records: (IntentRecord | undefined)[] = [];
  while (input.ok && records.length < count) {
    const index = input.number();
    if (index === 0) {
      records.push(undefined);
      continue;
    }
    if (index === kinds.length + 1)
      kinds.push({ lane: input.text(), incarnation: input.text(), space: input.text(), sequence: 0, seconds: 0 });
    const kind = kinds[index - 1];
    if (kind === undefined) return undefined;
    const { lane, incarnation, space } = kind;
    const sequence = kind.sequence + input.signed();
    const previous = sequence - input.signed();
    const originSequence = sequence + input.signed();
    const seconds = kind.seconds + input.signed();
    const nanos = input.number();
    const originTime = microseconds(seconds, nanos) + input.signed();
    kind.sequence = sequence;
    kind.seconds = seconds;
    records.push({ lane, incarnation, sequence, previous, space, originSequence, originTime, seconds, nanos });
  }
  return input.ok && input.atEnd ? { number, base, known, othersMs, records } : undefined;
}

function microseconds(seconds: number, nanos: number): number {
  return seconds * 1e6 + Math.floor(nanos / 1000);
}
