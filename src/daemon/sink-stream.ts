import type { Broker, SinkFacts, SinkLane } from '../brokers/broker.ts';
import { OriginIndex } from '../dedupe/origin-index.ts';
import { SinkWriter } from '../lane/sink-writer.ts';
import {
  type AppendMode,
  type SinkWriterEffect,
  type SinkWriterEvent,
  sinkWriterDefaults,
} from '../lane/sink-writer-events.ts';
import type { Logger } from '../lib/logger.ts';
import { pause } from '../lib/pause.ts';
import { Waiters } from '../lib/waiters.ts';
import type { CreatePlan } from '../topology/plan.ts';
import { type Failure, FailureError, failureFrom } from '../wire/reasons.ts';
import { IntentSink } from './intent-sink.ts';
import { SinkCensus } from './sink-census.ts';
import { type LaneEntry, SinkCheckpoints } from './sink-checkpoints.ts';
import { SinkEntering } from './sink-entering.ts';
import { SinkMaker } from './sink-maker.ts';
import { lostRecords, type OpeningContext, openSession } from './sink-opening.ts';
import { SinkOrigins } from './sink-origins.ts';
import { findDigest, lostTail, mayHold, recall } from './sink-recall.ts';
import type { SinkSession, SinkSessionEvents } from './sink-session.ts';
import type { LaneBeginning } from './sink-start.ts';
import { SinkWatch } from './sink-watch.ts';

const checkpointMs = 1000;
const tickMs = 1000;
const retryMs = 1000;

export interface SinkStreamOptions {
  readonly broker: Pick<Broker, 'store' | 'sink' | 'listen'>;
  readonly cluster: string;
  readonly stream: string;
  readonly log: Logger;
  /** Others write the stream by design. */
  readonly shared?: boolean;
  /** Whether they do so as members of a replicate link. */
  readonly replicated?: () => boolean;
  readonly writer?: Partial<typeof sinkWriterDefaults>;
}

/** Why the members of a replicate link cannot write a stream; undefined if they can. */
function unreplicable(vanishing: SinkFacts['vanishing']): string | undefined {
  if (vanishing === 'consumed') return 'hands out each record once, and so cannot be replicated';
  if (vanishing === 'superseded') return 'limits messages per subject, or takes roll-ups, and so cannot be replicated';
  return undefined;
}

/**
 * One sink stream of the own cluster: drives its SinkWriter, finds out at start what the stream holds of each
 * lane, and keeps the checkpoints. Its state machine is SinkWriter; here are only clocks, calls and their errors.
 */
export class SinkStream {
  readonly #options: SinkStreamOptions;
  readonly #log: Logger;
  readonly #place: string;
  #shared: boolean;
  #index = new OriginIndex();
  #sink: IntentSink;
  #writer: SinkWriter;
  readonly #lanes: SinkCheckpoints;
  readonly #entering: SinkEntering;
  readonly #origins: SinkOrigins;
  readonly #maker: SinkMaker;
  readonly #watch: SinkWatch;
  readonly #opening: OpeningContext;
  readonly #timers: NodeJS.Timeout[] = [];
  readonly #stopped = new AbortController();
  /** Present while the stream cannot be used at all: missing, of an unsuitable kind, unreachable. */
  #failure: Failure | undefined = { reason: 'nats-unreachable', detail: 'not connected yet' };
  #facts: SinkFacts | undefined;
  #census: SinkCensus | undefined;
  /** The sink holds less than it held, and what is kept of it still says otherwise. */
  #lost = false;
  #starting = false;
  /** Those who wait until the sink is known, or what is wrong with it. */
  readonly #opened = new Waiters();
  #unlisten: (() => void) | undefined;

  constructor(options: SinkStreamOptions) {
    this.#options = options;
    this.#place = `${options.cluster}/${options.stream}`;
    this.#log = options.log.child({ stream: options.stream });
    this.#shared = options.shared ?? false;
    this.#sink = this.#makeSink();
    this.#writer = this.#makeWriter();
    const { stream, broker } = options;
    const { store } = broker;
    this.#watch = new SinkWatch({
      log: this.#log,
      writer: () => this.#writer,
      sink: () => this.#sink,
      lost: () => {
        this.#lost = true;
        this.#step({ type: 'reread' });
      },
    });
    this.#maker = new SinkMaker({ sink: () => this.#sink, log: this.#log });
    this.#origins = new SinkOrigins({ store, stream, log: this.#log });
    this.#lanes = new SinkCheckpoints({
      store,
      stream,
      log: this.#log,
      writer: () => this.#writer,
      replicas: () => this.#facts?.replicas ?? 1,
      signal: this.#stopped.signal,
      findDigest: (lane) => findDigest(this.#writer.lane(lane), this.#sink),
      superseded: (entry, failure) => this.#endSession(entry, failure),
    });
    this.#entering = new SinkEntering({
      store,
      stream,
      log: this.#log,
      replicas: () => this.#facts?.replicas ?? 1,
      entry: (lane) => this.#lanes.entry(lane),
      step: (event) => this.#step(event),
      signal: this.#stopped.signal,
    });
    this.#opening = {
      lanes: this.#lanes,
      writer: () => this.#writer,
      failure: () => this.failure,
      opened: this.#opened,
      reread: () => this.#step({ type: 'reread' }),
      mayHold: (one) => mayHold(one, this.#writer.storedUpTo, this.#sink),
      stopped: this.#stopped.signal,
    };
  }

  #makeWriter(): SinkWriter {
    this.#index = new OriginIndex();
    const options = { ...sinkWriterDefaults, ...this.#options.writer, shared: this.#shared };
    return new SinkWriter(this.#sink, this.#index, this.#place, options);
  }

  /** Others write the stream by design, or do so no longer. */
  set shared(shared: boolean) {
    if (shared === this.#shared) return;
    this.#shared = shared;
    this.#step({ type: 'shared', shared });
  }

  /** A lane brings a plan for the stream if it is missing; undefined: it has none any more. A stream that exists is left as it is. */
  create(lane: string, plan: CreatePlan | undefined): void {
    this.#maker.plan(lane, plan);
  }

  #makeSink(): IntentSink {
    const { broker, stream } = this.#options;
    const isOurs = () => this.#sink === sink;
    const sink: IntentSink = new IntentSink({
      open: (events) => broker.sink(stream, events),
      events: {
        stored: (count, sinkSequence) => isOurs() && this.#step({ type: 'stored', count, sinkSequence }),
        held: (record) => isOurs() && this.#step({ type: 'held', record }),
        unsure: (failure, chainBroken) => isOurs() && this.#step({ type: 'unsure', failure, chainBroken }),
      },
      store: broker.store,
      stream,
      log: this.#log,
      laneUpTo: (lane) => this.#lanes.entry(lane).sinkSequence,
      originsUpTo: () => this.#origins.savedUpTo,
    });
    return sink;
  }

  /**
   * The sink holds less than it held: restored from a copy, deleted and made again. Nothing that was known of it counts any
   * more; it is read anew, and the lanes go on from what is found.
   */
  #rebuild(lastSequence: number): void {
    this.#log.warn('sink-regressed', { last: lastSequence, known: this.#writer.storedUpTo });
    this.#sink.close();
    this.#sink = this.#makeSink();
    const sessions = this.#lanes.reset([]);
    this.#writer = this.#makeWriter();
    this.#facts = undefined;
    this.#lost = true;
    this.#failure = lostRecords;
    for (const { session, idle } of sessions) {
      session?.events.ended(lostRecords);
      idle.release();
    }
    void this.#begin();
  }

  /** What keeps this stream from taking records. */
  get failure(): Failure | undefined {
    return this.#failure ?? this.#writer.failure;
  }

  get mode(): AppendMode {
    return this.#writer.mode;
  }

  /** What is promised of a record that a failure leaves in doubt. */
  get guarantee(): 'exactly-once' | 'at-least-once' {
    const vanishing = this.#facts?.vanishing;
    const isTold =
      vanishing === undefined || (vanishing === 'aged' && this.#shared) || (!this.#shared && this.#sink.isSole);
    return isTold ? 'exactly-once' : 'at-least-once';
  }

  start(): void {
    this.#unlisten = this.#options.broker.listen(() => void this.#begin());
    this.#every(tickMs, () => this.#step({ type: 'tick' }));
    this.#every(checkpointMs, () => void this.#saveAll());
  }

  /** The checkpoints may be lost: they are written again. */
  keepAgain(): void {
    for (const entry of this.#lanes.values()) entry.dirty = true;
  }

  /** Saves what the checkpoints do not say yet, and ends. */
  async stop(): Promise<void> {
    this.#stopped.abort();
    this.#unlisten?.();
    for (const timer of this.#timers) clearInterval(timer);
    for (const entry of this.#lanes.values()) {
      this.#endSession(entry, { reason: 'draining', detail: 'the daemon stops' });
      entry.idle.release();
    }
    this.#opened.release();
    await this.#saveAll(true);
    this.#sink.close();
  }

  /**
   * Opens a session of a lane: waits until the stream is known, ends an older session, and wins the epoch. Throws
   * FailureError with what stands in the way.
   */
  async open(
    lane: SinkLane,
    plan: LaneBeginning,
    events: SinkSessionEvents,
    signal: AbortSignal,
  ): Promise<SinkSession> {
    try {
      return await this.#open(lane, plan, events, signal);
    } catch (error) {
      const { reason, detail } = await this.#maker.help(failureFrom(error));
      throw new FailureError(reason, detail, { cause: error });
    }
  }

  #open(lane: SinkLane, plan: LaneBeginning, events: SinkSessionEvents, signal: AbortSignal): Promise<SinkSession> {
    return openSession(
      { lane, plan, events },
      {
        ...this.#opening,
        stream: this.#options.stream,
        log: this.#log,
        census: () => this.#census!,
        sink: () => this.#sink,
        isWhole: () => this.#watch.holds(performance.now()),
        step: (event) => this.#step(event),
        endSession: (entry, failure) => this.#endSession(entry, failure),
      },
      signal,
    );
  }

  #every(ms: number, work: () => void): void {
    const timer = setInterval(work, ms);
    timer.unref();
    this.#timers.push(timer);
  }

  /** Finds out what the stream is and what it holds; tries again until it knows. */
  async #begin(): Promise<void> {
    if (this.#starting || this.#facts !== undefined) return;
    this.#starting = true;
    while (!this.#stopped.signal.aborted && this.#facts === undefined) {
      try {
        const { stream, broker } = this.#options;
        const { unsuitable, replicas, vanishing } = await this.#sink.facts();
        const wrong = unsuitable ?? (this.#options.replicated?.() ? unreplicable(vanishing) : undefined);
        if (wrong !== undefined) throw new FailureError('sink-unsupported', `${stream} ${wrong}`);
        if (vanishing !== undefined) await this.#sink.begin(replicas);
        const checkpoints = await broker.store.checkpoints(stream, replicas);
        const origins = await this.#origins.load(replicas);
        const facts = await this.#sink.facts();
        const { from, mark, lost } = await recall(checkpoints, origins, {
          facts,
          floor: this.#sink.floor,
          isLost: this.#lost,
          sink: this.#sink,
          writer: this.#writer,
          index: this.#index,
          log: this.#log,
        });
        this.#lanes.reset(checkpoints);
        if (lost) await Promise.all([this.#origins.disown(facts), this.#lanes.disown()]);
        this.#lost = false;
        this.#log.info('sink-read', { from, last: facts.lastSequence });
        this.#census = new SinkCensus({ sink: this.#sink, signal: this.#stopped.signal, scannedFrom: from });
        this.#facts = facts;
        this.#failure = undefined;
        this.#step({ type: 'start', accounted: from, last: facts.lastSequence, mark });
      } catch (error) {
        const failure = await this.#maker.help(failureFrom(error));
        if (failure.reason !== this.#failure?.reason) this.#log.warn('sink-unavailable', { ...failure });
        this.#failure = failure;
        await pause(retryMs, this.#stopped.signal);
      }
    }
    this.#starting = false;
  }

  #endSession(entry: LaneEntry, failure: Failure): void {
    const session = entry.session;
    if (session === undefined) return;
    entry.session = undefined;
    session.events.ended(failure);
    this.#step({ type: 'close', lane: entry.id, epoch: session.epoch });
  }

  async #saveAll(last = false): Promise<void> {
    if (!(await this.#watch.holds(performance.now()))) return;
    const origins = this.#facts && this.#origins.save(this.#writer, this.#facts, performance.now(), last);
    await Promise.all([this.#lanes.save(last), origins]);
    this.#sink.saved();
  }

  #step(event: SinkWriterEvent): void {
    for (const effect of this.#writer.step(event, performance.now())) this.#perform(effect);
    if (this.#writer.isOpen) this.#opened.release();
  }

  #perform(effect: SinkWriterEffect): void {
    switch (effect.type) {
      case 'read':
        if (effect.lost) this.#lost = true;
        void this.#read(effect.after, effect.delayMs);
        break;
      case 'stored': {
        const entry = this.#lanes.entry(effect.lane);
        entry.dirty = true;
        if (entry.session?.epoch === effect.epoch) entry.session.events.stored(effect);
        break;
      }
      case 'record-gap':
        void this.#entering.gap(effect);
        break;
      case 'quarantine':
        void this.#entering.quarantine(effect);
        break;
      case 'refused': {
        const entry = this.#lanes.entry(effect.lane);
        const session = entry.session;
        entry.session = undefined;
        session?.events.ended(effect.failure);
        break;
      }
      case 'idle':
        this.#lanes.entry(effect.lane).idle.release();
        break;
      case 'health':
        if (effect.failure === undefined) this.#log.info('sink-healthy');
        else this.#log.warn('sink-blocked', { ...effect.failure });
        if (effect.failure !== undefined) this.#opened.release();
        break;
      case 'mode':
        this.#log.info('append-mode', { mode: effect.mode });
        break;
    }
  }

  async #read(after: number, delayMs: number): Promise<void> {
    const writer = this.#writer;
    // A writer that was replaced meanwhile has nothing to do with the present one.
    const isLate = () => this.#stopped.signal.aborted || writer !== this.#writer;
    if (delayMs > 0) await pause(delayMs, this.#stopped.signal);
    if (isLate()) return;
    const { mark } = writer;
    try {
      const census = this.#census?.reader(after);
      const lastSequence = await this.#sink.tail(after, (sequence, record, copy) => {
        writer.observe(sequence, record);
        census?.(sequence, record, copy);
      });
      if (isLate()) return;
      const lost = await lostTail(mark, lastSequence, this.#sink);
      if (isLate()) return;
      if (lost || this.#lost || lastSequence < writer.storedUpTo) this.#rebuild(lastSequence);
      else this.#step({ type: 'tail', lastSequence });
    } catch (error) {
      if (isLate()) return;
      const failure = await this.#maker.help(failureFrom(error));
      if (!isLate()) this.#step({ type: 'read-failed', failure });
    }
  }
}
