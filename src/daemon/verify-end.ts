import type { Survey, SurveyedRecord } from '../brokers/broker.ts';
import type { LedgerEntry, Store } from '../brokers/store.ts';
import type { LanePlan } from '../topology/plan.ts';
import type { Position } from '../wire/position.ts';
import { FailureError } from '../wire/reasons.ts';
import type {
  Span,
  VerifyEdge,
  VerifyGroup,
  VerifyLimit,
  VerifyOpen,
  VerifyOpened,
  VerifyRead,
  VerifyRecord,
} from '../wire/verify.ts';
import { Groups, groupOf, isWithin, PlaceIds } from './verify-groups.ts';

/** Single records that one reading gives at most (I5). */
export const maxRecords = 100_000;
/** Places that a sink is told of at most. */
export const maxPlaces = 100_000;

/** What one end has read. */
export interface Reading {
  readonly groups: readonly VerifyGroup[];
  readonly records: readonly VerifyRecord[];
  /** Of a source: where its records were first seen. */
  readonly places: readonly number[];
  /** Of a sink; of one that was read in part, only its first sequence afterwards. */
  readonly edge?: VerifyEdge;
}

/** How far a reading is: messages, as far as sequences tell. */
export type ReadProgress = (read: number, total: number) => void;

/** One end of a lane that is verified, here or at the peer. What returns a promise throws FailureError. */
export interface VerifyEnd {
  open(question: VerifyOpen): Promise<VerifyOpened>;
  /** To a sink, before it reads: what other lanes brought of these places counts, too. */
  places(places: readonly number[]): Promise<void>;
  read(what: VerifyRead, progress: ReadProgress): Promise<Reading>;
  close(): void;
}

/** A lane that ends here, and how far it is stored as far as this end knows. */
export interface VerifyLane {
  readonly plan: LanePlan;
  readonly role: 'sender' | 'receiver';
  readonly stored: Position | undefined;
  /** Whether the sink lets the lane bring records that were first seen at this cluster. Of others nothing is told. */
  acceptsOrigin(cluster: string): boolean;
}

export interface LocalEndOptions {
  readonly lane: VerifyLane;
  readonly store: Pick<Store, 'checkpoint' | 'gaps'>;
  readonly survey: Survey;
}

/** The own end of a lane. */
export class LocalEnd implements VerifyEnd {
  readonly #options: LocalEndOptions;
  readonly #closing = new AbortController();
  readonly #ids = new PlaceIds();
  readonly #places = new Set<number>();
  /** Label of the incarnation whose positions are compared. */
  #incarnation: string | undefined;

  constructor(options: LocalEndOptions) {
    this.#options = options;
  }

  get #isSink(): boolean {
    return this.#options.lane.role === 'receiver';
  }

  open(question: VerifyOpen): Promise<VerifyOpened> {
    return this.#isSink ? this.#openSink() : this.#openSource(question);
  }

  async #openSink(): Promise<VerifyOpened> {
    const { lane, store, survey } = this.#options;
    const { plan, stored: cursor } = lane;
    if (cursor === undefined) throw notYet(plan.to);
    this.#incarnation = cursor.incarnation;
    const kept = await store.checkpoint(plan.sinkStream, plan.id, 1);
    const began = kept?.checkpoint.began;
    const after = began?.incarnation === cursor.incarnation ? began.sequence : 0;
    const gaps = (await store.gaps()).gaps.filter((gap) => gap.lane === plan.id);
    const lost = gaps.reduce((sum, gap) => sum + lostIn(gap), 0);
    return { kind: 'opened', cursor, after, stream: await survey.extent(), gaps: gaps.length, lost };
  }

  async #openSource({ cursor, after, since, until }: VerifyOpen): Promise<VerifyOpened> {
    const { lane, survey } = this.#options;
    const { plan, stored } = lane;
    if (cursor === undefined) throw new FailureError('bad-frame', 'a source is opened without a cursor');
    if (stored === undefined) throw notYet(plan.from);
    if (stored.incarnation !== cursor.incarnation)
      throw new FailureError('not-verifiable', 'the two ends do not agree on the incarnation of the source yet');
    this.#incarnation = cursor.incarnation;
    const stream = await survey.extent();
    if (cursor.sequence > stream.upTo) {
      const detail = `${plan.sourceStream} ends at ${stream.upTo}, and ${cursor.sequence} is stored at ${plan.to}`;
      throw new FailureError('not-verifiable', detail);
    }
    const first = async (limit: VerifyLimit): Promise<number> =>
      'sequence' in limit ? limit.sequence : ((await survey.since(limit.timeMs, stream)) ?? stream.upTo + 1);
    const from = Math.max(
      stream.from,
      after + 1,
      plan.start?.at === 'sequence' ? plan.start.sequence : 1,
      plan.start?.at === 'time' ? await first({ timeMs: plan.start.timeMs }) : 1,
      since === undefined ? 1 : await first(since),
    );
    // A sequence is the last one that is meant, a time the first that is not.
    const end = until === undefined ? stream.upTo : (await first(until)) - ('sequence' in until ? 0 : 1);
    const upTo = Math.min(cursor.sequence, end);
    const positions = from > upTo ? {} : { positions: { from, upTo } };
    return { kind: 'opened', after, stream, gaps: 0, lost: 0, ...positions };
  }

  async places(places: readonly number[]): Promise<void> {
    if (this.#places.size + places.length > maxPlaces)
      throw new FailureError('not-verifiable', `records of more than ${maxPlaces} places`);
    for (const place of places) this.#places.add(place);
  }

  async read(what: VerifyRead, progress: ReadProgress): Promise<Reading> {
    const { survey } = this.#options;
    if (this.#incarnation === undefined) throw new FailureError('bad-frame', 'read before it was opened');
    const whole = what.stretches.length === 0;
    const stretches = whole ? [await survey.extent()] : what.stretches;
    const total = stretches.reduce((sum, { from, upTo }) => sum + Math.max(0, upTo - from + 1), 0);
    const gathering = new Gathering(what, this.#ids);
    const edge = new EdgeFinder();
    let done = 0;
    for (const stretch of stretches) {
      await survey.read(
        stretch,
        (record) => {
          const position = this.#positionOf(record);
          edge.record(record.at, position);
          if (this.#counts(record, position, what.positions)) gathering.take(record, position);
        },
        (sequence) => {
          edge.passed(sequence);
          progress(done + sequence - stretch.from + 1, total);
        },
        this.#closing.signal,
      );
      done += Math.max(0, stretch.upTo - stretch.from + 1);
    }
    const reading = gathering.reading();
    if (!this.#isSink) return reading;
    if (whole) return { ...reading, edge: edge.found(stretches[0]!.upTo) };
    // What it has let go of in front since it was read as a whole.
    return { ...reading, edge: { position: 0, before: 0, first: (await survey.extent()).from } };
  }

  close(): void {
    this.#closing.abort();
  }

  /** On the lane; 0 in a sink if it is another lane's, or of another incarnation. */
  #positionOf({ at, lane, position }: SurveyedRecord): number {
    if (!this.#isSink) return at;
    const own = lane === this.#options.lane.plan.id && position.incarnation === this.#incarnation;
    return own ? position.sequence : 0;
  }

  #counts({ place, sequence }: SurveyedRecord, position: number, spans: readonly Span[]): boolean {
    if (!this.#isSink || position > 0) return isWithin(spans, position);
    const { plan, acceptsOrigin } = this.#options.lane;
    const { from, sourceStream } = plan;
    if (!this.#places.has(this.#ids.of(place)) || !acceptsOrigin(place.slice(0, place.indexOf('/')))) return false;
    return place !== `${from}/${sourceStream}` || isWithin(spans, sequence);
  }
}

function lostIn({ after, upTo }: LedgerEntry): number {
  return after.incarnation === upTo.incarnation ? upTo.sequence - after.sequence : 0;
}

function notYet(cluster: string): FailureError {
  return new FailureError('not-verifiable', `the lane has not been open at ${cluster} since its daemon started`);
}

/** Collects groups or single records, as it was asked for. */
class Gathering {
  readonly #what: VerifyRead;
  readonly #ids: PlaceIds;
  readonly #within: ReadonlySet<number> | undefined;
  readonly #groups = new Groups();
  readonly #records: VerifyRecord[] = [];
  readonly #places = new Set<number>();

  constructor(what: VerifyRead, ids: PlaceIds) {
    this.#what = what;
    this.#ids = ids;
    this.#within = what.within && new Set(what.within.groups);
  }

  take(record: SurveyedRecord, position: number): void {
    const { level, within, records } = this.#what;
    const { place, sequence, time, at, leftOut } = record;
    const id = this.#ids.of(place);
    if (within !== undefined && !this.#within!.has(groupOf(id, sequence, within.level))) return;
    if (records) {
      if (this.#records.length >= maxRecords)
        throw new FailureError('not-verifiable', `more than ${maxRecords} records in ${within?.groups.length} groups`);
      this.#records.push({ place, sequence, time, digest: Buffer.from(record.digest()), position, at, leftOut });
    } else if (!leftOut) {
      this.#groups.add(groupOf(id, sequence, level), record.digest(), at);
      this.#places.add(id);
    }
  }

  reading(): Reading {
    return { groups: this.#groups.list(), records: this.#records, places: [...this.#places] };
  }
}

/** Finds where the records of a lane begin in its sink, and what is missing in front of them. */
class EdgeFinder {
  #position = 0;
  /** Sequences of the first message, and of the first record of the lane. */
  #first: number | undefined;
  #firstOwn: number | undefined;
  #messages = 0;

  record(at: number, position: number): void {
    if (position === 0) return;
    if (this.#firstOwn !== undefined) return;
    this.#firstOwn = at;
    this.#position = position;
  }

  passed(sequence: number): void {
    this.#first ??= sequence;
    if (this.#firstOwn === undefined) this.#messages++;
  }

  found(last: number): VerifyEdge {
    const first = this.#first ?? last + 1;
    const own = this.#firstOwn ?? last + 1;
    return { position: this.#position, before: Math.max(0, own - first - this.#messages), first };
  }
}
