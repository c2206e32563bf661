import {
  recordLevel,
  type Span,
  type VerifyEdge,
  type VerifyGroup,
  type VerifyLimit,
  type VerifyOpened,
  verifyLimits,
} from '../wire/verify.ts';
import type { Reading, ReadProgress, VerifyEnd } from './verify-end.ts';
import { merged } from './verify-groups.ts';
import { type Difference, RecordJudge } from './verify-records.ts';

/** Groups of the first comparison, about; more would only be more on the line. */
const wantedGroups = 16_384;
/** Groups whose records are told one by one at a time (I5). */
const groupsAtOnce = 16;
const sampleWindows = 48;

export type VerifyStep = 'source' | 'sink' | 'records';

export interface CompareOptions {
  readonly lane: string;
  readonly since?: VerifyLimit;
  readonly until?: VerifyLimit;
  /** Share of the records that is looked at, in percent; absent: all. */
  readonly samplePercent?: number;
  /** Between 0 and 1. */
  readonly random: () => number;
}

export interface CompareEvents {
  readonly progress: (step: VerifyStep, read: number, total: number) => void;
  /** Resolves when the next one is wanted. */
  readonly difference: (difference: Difference) => Promise<void>;
}

/** What came out for a lane. */
export interface Comparison {
  /** Positions that were compared; absent: there was nothing to compare. */
  readonly positions?: Span;
  readonly incarnation: string;
  /** Records that the source holds there and the lane carries. */
  readonly records: number;
  readonly missing: number;
  readonly differing: number;
  readonly extra: number;
  readonly repeated: number;
  /** Not in the sink any more: it deleted everything up to there by its limits, or was purged. */
  readonly expired: number;
  /** Not at the source any more. */
  readonly gone: number;
  /** Gaps that the ledger has of the lane, and the records in them as far as they can be counted. */
  readonly gaps: number;
  readonly lost: number;
}

/**
 * Compares two ends of a lane. The source is read first, up to what the sink has stored when this begins; so whatever it holds is in the sink, and what
 * is deleted at either end meanwhile is looked at again before it is called missing. Throws FailureError.
 */
export async function compare(
  source: VerifyEnd,
  sink: VerifyEnd,
  options: CompareOptions,
  events: CompareEvents,
): Promise<Comparison> {
  const { lane, since, until } = options;
  const there = await sink.open({ kind: 'open', lane, after: 0 });
  const incarnation = there.cursor?.incarnation ?? '';
  const here = await source.open({
    kind: 'open',
    lane,
    after: there.after,
    ...(there.cursor === undefined ? {} : { cursor: there.cursor }),
    ...(since === undefined ? {} : { since }),
    ...(until === undefined ? {} : { until }),
  });
  const { positions } = here;
  const { gaps, lost } = there;
  const compared =
    positions === undefined
      ? { missing: 0, differing: 0, extra: 0, repeated: 0, expired: 0, gone: 0, records: 0 }
      : await new Comparing(source, sink, { ...options, positions, here }, events).run();
  return { incarnation, ...(positions === undefined ? {} : { positions }), ...compared, gaps, lost };
}

interface ComparingOptions extends CompareOptions {
  readonly positions: Span;
  readonly here: VerifyOpened;
}

class Comparing {
  readonly #source: VerifyEnd;
  readonly #sink: VerifyEnd;
  readonly #options: ComparingOptions;
  readonly #events: CompareEvents;
  readonly #spans: readonly Span[];
  #records = 0;
  #expired = 0;

  constructor(source: VerifyEnd, sink: VerifyEnd, options: ComparingOptions, events: CompareEvents) {
    this.#source = source;
    this.#sink = sink;
    this.#options = options;
    this.#events = events;
    this.#spans = spansOf(options);
  }

  async run(): Promise<Omit<Comparison, 'incarnation' | 'positions' | 'gaps' | 'lost'>> {
    const { positions, here } = this.#options;
    const size = positions.upTo - positions.from + 1;
    const level = Math.max(recordLevel, Math.ceil(Math.log2(size / wantedGroups)));
    const offered = await this.#source.read(
      { kind: 'read', positions: this.#spans, stretches: this.#spans, level, records: false },
      this.#progress('source'),
    );
    await this.#sink.places(offered.places);
    const held = await this.#sink.read(
      { kind: 'read', positions: this.#spans, stretches: [], level, records: false },
      this.#progress('sink'),
    );
    for (const { count } of offered.groups) this.#records += count;
    const edge = held.edge ?? { position: 0, before: 0, first: 0 };
    const judge = new RecordJudge({ edge, last: here.stream.upTo });
    let pairs = this.#unequal(offered.groups, held.groups, edge);
    if (level > recordLevel) pairs = await this.#refine(pairs, level, edge);
    await this.#judgeRecords(pairs, judge);
    await this.#tell(judge.finish());
    return {
      records: this.#records,
      ...judge.counts,
      expired: judge.counts.expired + this.#expired,
    };
  }

  #progress(step: VerifyStep): ReadProgress {
    return (read, total) => this.#events.progress(step, read, total);
  }

  /** Groups that are not the same at both ends, in the order of the source. Those that the sink has let go of as a whole are counted. */
  #unequal(source: readonly VerifyGroup[], sink: readonly VerifyGroup[], edge: VerifyEdge): Pair[] {
    const held = new Map(sink.map((group) => [group.id, group]));
    const pairs: Pair[] = [];
    for (const offered of source) {
      const other = held.get(offered.id);
      held.delete(offered.id);
      if (other?.count === offered.count && other.digest.equals(offered.digest)) continue;
      const isGone = other === undefined && edge.first > 1 && edge.before === 0;
      if (isGone && (edge.position === 0 || offered.last < edge.position)) this.#expired += offered.count;
      else pairs.push({ id: offered.id, source: offered, sink: other });
    }
    for (const [id, group] of held) pairs.push({ id, source: undefined, sink: group });
    return pairs.sort((a, b) => whereOf(a) - whereOf(b));
  }

  /** Splits large groups that differ into small ones. */
  async #refine(pairs: readonly Pair[], level: number, edge: VerifyEdge): Promise<Pair[]> {
    const finer: Pair[] = [];
    for (const some of slices(pairs, verifyLimits.within)) {
      const within = { level, groups: some.map(({ id }) => id) };
      const question = { kind: 'read', positions: this.#spans, level: recordLevel, within, records: false } as const;
      const [source, sink] = await this.#readBoth(some, question);
      // What has expired is counted here as it was left to be.
      finer.push(...this.#unequal(source.groups, sink.groups, edge));
    }
    return finer;
  }

  async #judgeRecords(pairs: readonly Pair[], judge: RecordJudge): Promise<void> {
    let done = 0;
    this.#events.progress('records', 0, pairs.length);
    for (const some of slices(pairs, groupsAtOnce)) {
      const within = { level: recordLevel, groups: some.map(({ id }) => id) };
      const question = { kind: 'read', positions: this.#spans, level: recordLevel, within, records: true } as const;
      const [source, sink] = await this.#readBoth(some, question);
      await this.#tell(judge.take(source.records, sink.records, lapsed(some, sink)));
      done += some.length;
      this.#events.progress('records', done, pairs.length);
    }
  }

  async #tell(differences: readonly Difference[]): Promise<void> {
    for (const difference of differences) await this.#events.difference(difference);
  }

  /** Reads the stretches again where these groups were found. */
  async #readBoth(pairs: readonly Pair[], question: Omit<Parameters<VerifyEnd['read']>[0], 'stretches'>) {
    const stretch = (groups: readonly (VerifyGroup | undefined)[]): Span[] => {
      const spans = groups.flatMap((group) => (group === undefined ? [] : [{ from: group.first, upTo: group.last }]));
      return merged(spans, verifyLimits.spans);
    };
    const nothing: Reading = { groups: [], records: [], places: [] };
    const read = (end: VerifyEnd, stretches: readonly Span[]) =>
      stretches.length === 0 ? nothing : end.read({ ...question, stretches }, () => undefined);
    const source = await read(this.#source, stretch(pairs.map((pair) => pair.source)));
    const sink = await read(this.#sink, stretch(pairs.map((pair) => pair.sink)));
    return [source, sink] as const;
  }
}

/** Records that a sink held of some groups when it was read as a whole, and has let go of in front since. */
function lapsed(pairs: readonly Pair[], { records, edge }: Pick<Reading, 'records' | 'edge'>): number {
  const groups = pairs.flatMap(({ sink }) => (sink === undefined ? [] : [sink]));
  if (edge === undefined || groups.every(({ first }) => first >= edge.first)) return 0;
  return Math.max(0, groups.reduce((sum, { count }) => sum + count, 0) - records.length);
}

/** A group that is not the same at both ends. */
interface Pair {
  readonly id: number;
  readonly source: VerifyGroup | undefined;
  readonly sink: VerifyGroup | undefined;
}

function whereOf({ source, sink }: Pair): number {
  return source?.first ?? sink?.first ?? 0;
}

function* slices<T>(list: readonly T[], size: number): Generator<T[]> {
  for (let at = 0; at < list.length; at += size) yield list.slice(at, at + size);
}

/** Everything, or windows spread over it at random that make up the share that was asked for. */
function spansOf({ positions, samplePercent, random }: ComparingOptions): Span[] {
  const { from, upTo } = positions;
  const size = upTo - from + 1;
  if (samplePercent === undefined || samplePercent >= 100) return [positions];
  const windows = Math.max(1, Math.min(sampleWindows, Math.floor((size * samplePercent) / 100)));
  const step = size / windows;
  const width = Math.max(1, Math.round((step * samplePercent) / 100));
  const spans = Array.from({ length: windows }, (_, i) => {
    const begin = from + Math.floor(i * step + random() * Math.max(0, step - width));
    return { from: begin, upTo: Math.min(upTo, begin + width - 1) };
  });
  return merged(spans, sampleWindows);
}
