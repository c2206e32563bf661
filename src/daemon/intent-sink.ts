import type {
  HeldAppend,
  Sink,
  SinkFacts,
  SinkLane,
  SinkLogEvents,
  SinkMessage,
  SinkObserver,
  TailRecord,
} from '../brokers/broker.ts';
import type { SinkStore } from '../brokers/store.ts';
import type { IntentRecord } from '../dedupe/intent-group.ts';
import { originTime, splitIdentity } from '../dedupe/origin-index.ts';
import { type Attempt, IntentLog, type Resolved } from '../lane/intent-log.ts';
import type { Logger } from '../lib/logger.ts';
import type { CreatePlan } from '../topology/plan.ts';
import { type Failure, failureFrom } from '../wire/reasons.ts';
import type { RecordView } from '../wire/record-view.ts';
import { IntentRing } from './intent-ring.ts';

/** Records of one group at most: what is written stays well below the limit of a message. */
const groupRecords = 2048;
/** Groups that are being written at a time: the next one, while one is under way. */
const writesAtOnce = 2;
/** Of what nobody told us, so many records are looked for in the sink, so many at a time. */
const mostLooked = 10_000;
const looksAtOnce = 64;

export interface IntentSinkOptions {
  readonly open: (events: SinkLogEvents) => Sink;
  readonly events: SinkLogEvents;
  readonly store: Pick<SinkStore, 'intents' | 'saveIntent'>;
  readonly stream: string;
  readonly log: Logger;
  /** Sink sequence up to which everything of a lane is in its checkpoint, as it is kept. */
  readonly laneUpTo: (lane: string) => number;
  /** Sink sequence up to which everything is in what is kept by origin. */
  readonly originsUpTo: () => number;
}

/** An append that waits until it is written down, or until the one before it is answered. */
interface Waiting {
  readonly attempt: Attempt;
  readonly record: IntentRecord;
  readonly append: HeldAppend;
}

/**
 * A sink whose records may vanish before anybody looks for them. What is going to be appended is written down first, and the writer is
 * shown what stands at each sequence of the stream, be it still there or not. On any other sink it only passes on what it is told.
 */
export class IntentSink implements Sink {
  readonly #options: IntentSinkOptions;
  readonly #sink: Sink;
  readonly #ring: IntentRing;
  #log = new IntentLog();
  #facts: SinkFacts | undefined;
  #active = false;
  /** Appended without a place: what the stream holds is not told by its last sequence any more. */
  #blind = false;
  /** Each read and each restart ends what was under way before. */
  #round = 0;
  /** Appends of this round, in order; undefined: without an intent. */
  #appends: (Attempt | undefined)[] = [];
  #answered = 0;
  #waiting: Waiting[] = [];
  /** Written down, to be sent in this order. */
  #ready: Waiting[] = [];
  readonly #writing = new Set<Promise<void>>();
  /** Where the append that is being made has its place; undefined: nowhere. */
  #placed: { readonly record: IntentRecord; readonly sinkSequence: number } | undefined;
  /** Its answer is waited for before anything behind it is sent. */
  #alone: Attempt | undefined;
  #scheduled = false;
  #pace: NodeJS.Timeout | undefined;
  #closed = false;

  constructor(options: IntentSinkOptions) {
    this.#options = options;
    const { events } = options;
    this.#sink = options.open({
      stored: (count, sinkSequence) => events.stored(count, sinkSequence),
      held: (record) => events.held(record),
      unsure: (failure, chainBroken) => events.unsure(failure, chainBroken),
      answered: (append, sinkSequence) => this.#onAnswer(append, sinkSequence),
    });
    this.#ring = new IntentRing(options);
  }

  /** What is said of the sink is written down before it is done: called once it is known that its records vanish. */
  async begin(replicas: number): Promise<void> {
    this.#active = true;
    this.#log = new IntentLog();
    this.#sink.gate((append) => this.#hold(append));
    this.#log.load(await this.#ring.load(replicas));
  }

  /** Sink sequence up to which the checkpoints and what is kept by origin say everything; 0: nothing is written down. */
  get floor(): number {
    return this.#active ? this.#ring.floor : 0;
  }

  /** What a failure leaves in doubt can be told from what somebody else wrote. */
  get isSole(): boolean {
    return this.#log.isSole(Date.now());
  }

  /** What it held and holds no more is known. */
  get isAccounted(): boolean {
    return !this.#active || !this.#ring.isEmpty;
  }

  /** What was checkpointed may have made room. */
  saved(): void {
    if (!this.#active) return;
    this.#log.trim(this.#ring.release(this.#log.known));
    this.#pump();
  }

  append(
    view: RecordView,
    lane: SinkLane,
    incarnation: string,
    previous: number,
    expectLast: number | undefined,
    plain: boolean,
  ): Failure | undefined {
    if (!this.#active) return this.#sink.append(view, lane, incarnation, previous, expectLast, plain);
    if (expectLast === undefined) {
      this.#blind = true;
      this.#log.noticed(Date.now());
    } else this.#placed = { record: intentOf(view, lane, incarnation, previous), sinkSequence: expectLast + 1 };
    const before = this.#appends.length;
    const failure = this.#sink.append(view, lane, incarnation, previous, expectLast, plain);
    this.#placed = undefined;
    // Without a connection it takes its number all the same.
    if (failure === undefined && this.#appends.length === before) this.#appends.push(undefined);
    return failure;
  }

  #hold(append: HeldAppend): void {
    const placed = this.#placed;
    if (placed === undefined) {
      this.#appends.push(undefined);
      append(true);
      return;
    }
    const { record, sinkSequence } = placed;
    const attempt = this.#log.add(sinkSequence, record);
    this.#appends.push(attempt);
    this.#waiting.push({ attempt, record, append });
    if (this.#scheduled) return;
    // All that is appended at this moment goes into one group.
    this.#scheduled = true;
    queueMicrotask(() => {
      this.#scheduled = false;
      this.#pump();
    });
  }

  #onAnswer(append: number, sinkSequence: number | undefined): void {
    const attempt = this.#appends[append - 1];
    if (attempt === undefined) return;
    this.#log.answered(attempt, sinkSequence === attempt.sinkSequence);
    while (this.#answered < this.#appends.length && this.#appends[this.#answered]?.fate !== 'unknown') this.#answered++;
    this.#send();
  }

  #pump(): void {
    while (!this.#closed && this.#waiting.length > 0 && this.#writing.size < writesAtOnce) {
      const group = this.#waiting.slice(0, groupRecords);
      if (group.every(({ attempt }) => attempt.written) && this.#writing.size === 0) {
        this.#waiting.splice(0, group.length);
        this.#ready.push(...group);
        continue;
      }
      if (!this.#ring.hasRoom || this.#isPaced()) break;
      this.#waiting.splice(0, group.length);
      this.#write(group);
    }
    this.#send();
  }

  /** The next group is not to be written yet: it is looked at again when it is. */
  #isPaced(): boolean {
    const waitMs = this.#ring.waitMs(performance.now());
    if (waitMs === 0) return false;
    this.#pace ??= setTimeout(() => {
      this.#pace = undefined;
      this.#pump();
    }, waitMs);
    this.#pace.unref();
    return true;
  }

  #write(group: readonly Waiting[]): void {
    const round = this.#round;
    const base = group[0]!.attempt.sinkSequence - 1;
    const before = [...this.#writing];
    const records = group.map(({ record }) => record);
    let written = 0;
    const writing = this.#ring
      .write((number) => {
        written = number;
        return this.#log.group(number, base, records);
      })
      .then(async () => {
        this.#log.corrected();
        for (const { attempt } of group) this.#log.wrote(attempt, written);
        // The one before it may still be on its way, and is sent first, or not at all.
        await Promise.all(before);
        if (round === this.#round) this.#ready.push(...group);
      })
      .catch((error: unknown) => {
        const failure = failureFrom(error);
        this.#options.log.debug('intent-failed', { ...failure });
        if (round !== this.#round) return;
        this.#round++;
        const superseded = failure.reason === 'superseded';
        this.#options.events.unsure(superseded ? { ...failure, reason: 'sink-blocked' } : failure, superseded);
      })
      .finally(() => {
        this.#writing.delete(writing);
        this.#pump();
      });
    this.#writing.add(writing);
  }

  /**
   * Sends what is written down. Where something else may still come from before, a record goes alone: the sink's answer then tells what it
   * stored there, and nothing behind it can take a place that it was not meant for.
   */
  #send(): void {
    while (this.#ready.length > 0) {
      const next = this.#ready[0]!;
      if (this.#alone !== undefined && this.#alone.fate === 'unknown') return;
      this.#alone = undefined;
      if (this.#log.isContested(next.attempt)) {
        if (this.#appends[this.#answered] !== next.attempt) return;
        this.#alone = next.attempt;
      }
      this.#ready.shift();
      next.append(true);
    }
  }

  restart(): void {
    this.#drop();
    this.#appends = [];
    this.#answered = 0;
    this.#sink.restart();
  }

  /** What has not been sent is not sent any more. */
  #drop(): void {
    this.#round++;
    this.#alone = undefined;
    const unsent = [...this.#ready.splice(0), ...this.#waiting.splice(0)];
    const kept = new Set(unsent.map(({ attempt }) => attempt));
    // Newest first, as each stands before the one that it took the place of.
    for (const attempt of this.#appends.toReversed())
      if (attempt !== undefined && kept.has(attempt)) this.#log.forget(attempt);
    for (const { append } of unsent) append(false);
  }

  gate(hold: ((append: HeldAppend) => void) | undefined): void {
    this.#sink.gate(hold);
  }

  quiet(): Promise<void> {
    return this.#sink.quiet();
  }

  async facts(): Promise<SinkFacts> {
    this.#facts = await this.#sink.facts();
    return this.#facts;
  }

  messageAt(sequence: number): Promise<SinkMessage | undefined> {
    return this.#sink.messageAt(sequence);
  }

  create(plan: CreatePlan): Promise<Failure | undefined> {
    return this.#sink.create(plan);
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#pace);
    this.#drop();
    this.#sink.close();
  }

  async tail(after: number, observe: SinkObserver): Promise<number> {
    if (!this.#active) return this.#sink.tail(after, observe);
    this.#drop();
    await Promise.all(this.#writing);
    await this.quiet();
    const facts = await this.facts();
    const last = facts.lastSequence;
    this.#log.load(await this.#ring.load(facts.replicas));
    const from = Math.max(after, this.#ring.floor);
    const found = await this.#look(from, facts);
    const resolved = this.#resolve(from, last, found);
    for (const [sequence, what] of [...resolved].toSorted(([a], [b]) => a - b))
      if (what !== undefined) observe(sequence, what === 'theirs' ? undefined : what, undefined);
    this.#log.settle(last, resolved);
    if (this.#log.hasNews) {
      await this.#ring.write((number) => this.#log.group(number, last, []));
      this.#log.corrected();
    }
    this.#blind = false;
    return last;
  }

  /** What is there, as far as it takes that to know what the stream holds. */
  async #look(after: number, facts: SinkFacts): Promise<Map<number, Resolved>> {
    const found = new Map<number, Resolved>();
    const see = (sequence: number, record: TailRecord | undefined): void => {
      found.set(sequence, record ?? 'theirs');
    };
    if (facts.vanishing !== 'consumed') {
      await this.#sink.scan(after, facts, see, new AbortController().signal);
      return found;
    }
    const wanted: number[] = [];
    for (let at = facts.lastSequence; at > Math.max(after, facts.firstSequence - 1) && wanted.length < mostLooked; at--)
      if (this.#blind || !this.#log.isCertain(at)) wanted.push(at);
    await this.#lookAt(wanted, see);
    return found;
  }

  async #lookAt(wanted: readonly number[], see: (sequence: number, record: TailRecord | undefined) => void) {
    for (let i = 0; i < wanted.length; i += looksAtOnce) {
      await Promise.all(
        wanted.slice(i, i + looksAtOnce).map(async (sequence) => {
          const message = await this.#sink.messageAt(sequence);
          if (message !== undefined) see(sequence, message.record);
        }),
      );
    }
  }

  /** What stands behind all that was tried, or is seen to be of somebody else. */
  #hasOthers(last: number, found: ReadonlyMap<number, Resolved>): boolean {
    if (last > this.#log.end) return true;
    for (const [at, what] of found) if (what === 'theirs' && at > this.#log.known) return true;
    return false;
  }

  #resolve(after: number, last: number, found: ReadonlyMap<number, Resolved>): Map<number, Resolved> {
    const resolved = new Map<number, Resolved>();
    let unexplained = 0;
    const nowMs = Date.now();
    // Somebody else wrote meanwhile: he may have written where an answer is missing, too.
    if (!this.#blind && !this.#ring.isEmpty && this.#hasOthers(last, found)) this.#log.noticed(nowMs);
    for (let at = after + 1; at <= last; at++) {
      const there = found.get(at);
      if (there !== undefined) {
        resolved.set(at, there);
        if (there === 'theirs' && at > this.#log.known && !this.#ring.isEmpty) unexplained++;
      } else if (this.#blind || this.#ring.isEmpty) continue;
      else {
        const what = this.#log.resolve(at, nowMs);
        if (what === 'theirs') unexplained++;
        // Behind the last that we know of nothing of ours can stand.
        if (what !== undefined && (at <= this.#log.end || at === last)) resolved.set(at, what);
      }
    }
    if (unexplained > 0) {
      this.#log.noticed(nowMs);
      this.#options.log.warn('sink-shared', { records: unexplained, last });
    }
    return resolved;
  }

  async scan(after: number, facts: SinkFacts, observe: SinkObserver, signal: AbortSignal): Promise<void> {
    if (facts.vanishing !== 'consumed') return this.#sink.scan(after, facts, observe, signal);
    // No consumer of ours may count as one of this stream's.
    const { firstSequence, lastSequence } = facts;
    const wanted: number[] = [];
    for (let at = Math.max(after + 1, firstSequence, lastSequence - mostLooked + 1); at <= lastSequence; at++)
      wanted.push(at);
    const found = new Map<number, TailRecord | undefined>();
    await this.#lookAt(wanted, (sequence, record) => found.set(sequence, record));
    for (const [sequence, record] of [...found].toSorted(([a], [b]) => a - b)) observe(sequence, record, undefined);
    return undefined;
  }
}

/** What the headers of a record would tell, once it is stored. */
function intentOf(view: RecordView, { id, from, sourceStream }: SinkLane, incarnation: string, previous: number) {
  const { sequence, seconds, nanos, buffer, identityStart, identityEnd } = view;
  const own = { space: `${from}/${sourceStream}/${incarnation}`, sequence, time: originTime(seconds, nanos) };
  const relayed = identityEnd > identityStart;
  const origin = (relayed && splitIdentity(buffer.toString('latin1', identityStart, identityEnd))) || own;
  const { space, sequence: originSequence, time } = origin;
  return { lane: id, incarnation, sequence, previous, space, originSequence, originTime: time, seconds, nanos };
}
