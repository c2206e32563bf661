import type { SinkLane, TailRecord } from '../brokers/broker.ts';
import type { StreamInfo } from '../brokers/nats/api.ts';
import type { NatsLink } from '../brokers/nats/connection.ts';
import type { ControlStore } from '../brokers/nats/control-store.ts';
import { JetStreamSinkLog } from '../brokers/nats/js-sink-log.ts';
import { OriginIndex } from '../dedupe/origin-index.ts';
import { SinkWriter } from '../lane/sink-writer.ts';
import type { AppendMode, SinkWriterEffect, SinkWriterEvent, StoredEffect } from '../lane/sink-writer-events.ts';
import { WitnessHistory } from '../lane/witness-history.ts';
import type { Logger } from '../lib/logger.ts';
import { pause } from '../lib/pause.ts';
import type { InBatch } from '../wire/batch.ts';
import type { Gap } from '../wire/frame.ts';
import { formatPosition, type Position, payloadDigest, type Witness } from '../wire/position.ts';
import { type Failure, FailureError, failureFrom } from '../wire/reasons.ts';
import { checkKind, checkpointOf, recall } from './sink-recall.ts';

const checkpointMs = 1000;
const tickMs = 1000;
const retryMs = 1000;

/** What a session of a lane hears from its sink stream. */
export interface SinkSessionEvents {
  stored(effect: StoredEffect): void;
  /** The session is over: the sink refuses, or another session took the lane. */
  ended(failure: Failure): void;
}

/** A session's hold on its lane in the sink. */
export interface SinkSession {
  readonly epoch: number;
  readonly cursor: Position | undefined;
  readonly witnesses: readonly Witness[];
  append(batch: InBatch): void;
  gap(gap: Gap): void;
  /** Ends the session; what is in flight is resolved before the lane opens again. */
  close(): void;
}

class LaneEntry {
  readonly id: string;
  history = new WitnessHistory();
  revision = 0;
  /** There is something that the checkpoint does not say yet. */
  dirty = false;
  saving: Promise<void> | undefined;
  session: { readonly epoch: number; readonly events: SinkSessionEvents } | undefined;
  readonly idle: (() => void)[] = [];

  constructor(id: string) {
    this.id = id;
  }
}

export interface SinkStreamOptions {
  readonly link: NatsLink;
  readonly store: ControlStore;
  readonly cluster: string;
  readonly stream: string;
  readonly log: Logger;
}

/**
 * One sink stream of the own cluster: drives its SinkWriter over JetStream, finds out at start what the stream holds of each
 * lane, and keeps the checkpoints. Its state machine is SinkWriter; here are only clocks, calls and their errors.
 */
export class SinkStream {
  readonly #options: SinkStreamOptions;
  readonly #log: Logger;
  readonly #place: string;
  #sink: JetStreamSinkLog;
  #writer: SinkWriter;
  readonly #lanes = new Map<string, LaneEntry>();
  readonly #timers: NodeJS.Timeout[] = [];
  readonly #stopped = new AbortController();
  /** Present while the stream cannot be used at all: missing, of an unsuitable kind, unreachable. */
  #failure: Failure | undefined = { reason: 'nats-unreachable', detail: 'not connected yet' };
  #info: StreamInfo | undefined;
  /** Everything above this was scanned at start; a lane without a checkpoint may have records below. */
  #scannedFrom = 0;
  #starting = false;
  #opened: (() => void)[] = [];
  #unlisten: (() => void) | undefined;

  constructor(options: SinkStreamOptions) {
    this.#options = options;
    this.#place = `${options.cluster}/${options.stream}`;
    this.#log = options.log.child({ stream: options.stream });
    this.#sink = this.#makeSink();
    this.#writer = new SinkWriter(this.#sink, new OriginIndex(), this.#place);
  }

  #makeSink(): JetStreamSinkLog {
    const sink: JetStreamSinkLog = new JetStreamSinkLog({
      ...this.#options,
      events: {
        stored: (count, sinkSequence) => this.#sink === sink && this.#step({ type: 'stored', count, sinkSequence }),
        unsure: (failure, chainBroken) => this.#sink === sink && this.#step({ type: 'unsure', failure, chainBroken }),
      },
    });
    return sink;
  }

  /**
   * The sink holds less than it held: restored from a copy, deleted and made again. Nothing that was known of it counts any
   * more; it is read anew, and the lanes go on from what is found.
   */
  #rebuild(lastSequence: number): void {
    this.#log.warn('sink-regressed', { last: lastSequence, known: this.#writer.storedUpTo });
    const failure: Failure = { reason: 'sink-blocked', detail: 'the sink stream lost records; reading it anew' };
    this.#sink.close();
    this.#sink = this.#makeSink();
    const sessions = [...this.#lanes.values()];
    this.#lanes.clear();
    this.#writer = new SinkWriter(this.#sink, new OriginIndex(), this.#place);
    this.#info = undefined;
    this.#failure = failure;
    for (const { session, idle } of sessions) {
      session?.events.ended(failure);
      for (const resolve of idle) resolve();
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

  start(): void {
    this.#unlisten = this.#options.link.listen({ connected: () => void this.#begin() });
    this.#every(tickMs, () => this.#step({ type: 'tick' }));
    this.#every(checkpointMs, () => void this.#saveAll());
  }

  /** Saves what the checkpoints do not say yet, and ends. */
  async stop(): Promise<void> {
    this.#stopped.abort();
    this.#unlisten?.();
    for (const timer of this.#timers) clearInterval(timer);
    for (const entry of this.#lanes.values())
      this.#endSession(entry, { reason: 'draining', detail: 'the daemon stops' });
    await this.#saveAll();
    this.#sink.close();
  }

  /**
   * Opens a session of a lane: waits until the stream is known, ends an older session, and wins the epoch. Throws
   * FailureError with what stands in the way.
   */
  async open(lane: SinkLane, events: SinkSessionEvents, signal: AbortSignal): Promise<SinkSession> {
    await this.#ready(signal);
    const entry = this.#entry(lane.id);
    this.#endSession(entry, { reason: 'superseded', detail: 'a newer session of this lane opens' });
    await this.#idle(entry);
    await this.#findCursor(entry);
    const epoch = await this.#winEpoch(entry);
    if (signal.aborted || entry.session !== undefined || this.#lanes.get(lane.id) !== entry)
      throw new FailureError('superseded', 'another session opened meanwhile');
    entry.session = { epoch, events };
    const state = this.#writer.lane(lane.id);
    this.#step({ type: 'open', lane, epoch });
    const closed = () => entry.session?.epoch !== epoch;
    return {
      epoch,
      cursor: state.cursor,
      witnesses: entry.history.list(),
      append: (batch) => closed() || this.#step({ type: 'batch', lane: lane.id, epoch, batch }),
      gap: ({ after, upTo, reason }) =>
        closed() || this.#step({ type: 'gap', lane: lane.id, epoch, after, upTo, reason }),
      close: () => {
        if (closed()) return;
        entry.session = undefined;
        this.#step({ type: 'close', lane: lane.id, epoch });
      },
    };
  }

  #every(ms: number, work: () => void): void {
    const timer = setInterval(work, ms);
    timer.unref();
    this.#timers.push(timer);
  }

  #entry(id: string): LaneEntry {
    let entry = this.#lanes.get(id);
    if (entry === undefined) {
      entry = new LaneEntry(id);
      this.#lanes.set(id, entry);
    }
    return entry;
  }

  /** Finds out what the stream is and what it holds; tries again until it knows. */
  async #begin(): Promise<void> {
    if (this.#starting || this.#info !== undefined) return;
    this.#starting = true;
    while (!this.#stopped.signal.aborted && this.#info === undefined) {
      try {
        const info = await this.#sink.facts();
        checkKind(info);
        const checkpoints = await this.#options.store.checkpoints(this.#options.stream, info.config.num_replicas);
        this.#scannedFrom = await recall(checkpoints, {
          info,
          sink: this.#sink,
          writer: this.#writer,
          place: this.#place,
          log: this.#log,
        });
        for (const { lane, witnesses } of checkpoints)
          if (this.#writer.lane(lane).cursor !== undefined) this.#entry(lane).history = new WitnessHistory(witnesses);
        this.#info = info;
        this.#failure = undefined;
        this.#step({ type: 'start', accounted: this.#scannedFrom });
      } catch (error) {
        const failure = failureFrom(error);
        if (failure.reason !== this.#failure?.reason) this.#log.warn('sink-unavailable', { ...failure });
        this.#failure = failure;
        await pause(retryMs, this.#stopped.signal);
      }
    }
    this.#starting = false;
  }

  async #ready(signal: AbortSignal): Promise<void> {
    while (!this.#writer.isOpen || this.#failure !== undefined) {
      const failure = this.failure;
      if (failure !== undefined) throw new FailureError(failure.reason, failure.detail);
      await new Promise<void>((resolve) => {
        this.#opened.push(resolve);
        signal.addEventListener('abort', () => resolve(), { once: true });
      });
      if (signal.aborted || this.#stopped.signal.aborted)
        throw new FailureError('draining', 'the session was given up');
    }
  }

  #endSession(entry: LaneEntry, failure: Failure): void {
    const session = entry.session;
    if (session === undefined) return;
    entry.session = undefined;
    session.events.ended(failure);
    this.#step({ type: 'close', lane: entry.id, epoch: session.epoch });
  }

  async #idle(entry: LaneEntry): Promise<void> {
    while (this.#writer.lane(entry.id).inFlight > 0) await new Promise<void>((resolve) => entry.idle.push(resolve));
  }

  /** A lane without checkpoint whose records may lie below what was scanned; and the digest of its newest record. */
  async #findCursor(entry: LaneEntry): Promise<void> {
    const state = this.#writer.lane(entry.id);
    if (state.cursor === undefined && this.#scannedFrom > 0) {
      this.#log.info('lane-scan', { lane: entry.id, upTo: this.#scannedFrom });
      await this.#sink.tail(0, (sequence, record) => {
        if (record?.lane === entry.id && sequence <= this.#scannedFrom) state.observe(record, false);
      });
    }
    const last = state.last;
    if (last !== undefined && last.digest === undefined) {
      const found = await this.#sink.messageAt(last.sinkSequence);
      if (found !== undefined) last.digest = payloadDigest(found.payload);
    }
    const witness = state.witness();
    if (witness !== undefined) entry.history.add(witness);
  }

  /** The epoch is the revision of the checkpoint that this session writes: an older writer's next write then fails. */
  async #winEpoch(entry: LaneEntry): Promise<number> {
    await entry.saving;
    const known = await this.#options.store.checkpoint(this.#options.stream, entry.id, this.#replicas());
    entry.revision = known?.revision ?? 0;
    entry.revision = await this.#write(entry);
    return entry.revision;
  }

  #replicas(): number {
    return this.#info?.config.num_replicas ?? 1;
  }

  async #write(entry: LaneEntry): Promise<number> {
    entry.dirty = false;
    const checkpoint = checkpointOf(this.#writer, entry.id, entry.history);
    return this.#options.store.saveCheckpoint(this.#options.stream, checkpoint, entry.revision, this.#replicas());
  }

  async #saveAll(): Promise<void> {
    await Promise.all([...this.#lanes.values()].map((entry) => this.#save(entry)));
  }

  #save(entry: LaneEntry): Promise<void> {
    if (!entry.dirty || entry.revision === 0) return entry.saving ?? Promise.resolve();
    entry.saving ??= this.#write(entry)
      .then(
        (revision) => {
          entry.revision = revision;
        },
        (error: unknown) => {
          const failure = failureFrom(error);
          entry.dirty = true;
          this.#log.warn('checkpoint-failed', { lane: entry.id, ...failure });
          if (failure.reason === 'superseded') this.#endSession(entry, failure);
        },
      )
      .finally(() => {
        entry.saving = undefined;
      });
    return entry.saving;
  }

  #step(event: SinkWriterEvent): void {
    for (const effect of this.#writer.step(event, performance.now())) this.#perform(effect);
    if (this.#writer.isOpen && this.#opened.length > 0) for (const resolve of this.#opened.splice(0)) resolve();
  }

  #perform(effect: SinkWriterEffect): void {
    switch (effect.type) {
      case 'read':
        void this.#read(effect.after, effect.delayMs);
        break;
      case 'stored':
        this.#onStored(effect);
        break;
      case 'record-gap':
        void this.#recordGap(effect);
        break;
      case 'refused': {
        const entry = this.#entry(effect.lane);
        const session = entry.session;
        entry.session = undefined;
        session?.events.ended(effect.failure);
        break;
      }
      case 'idle':
        for (const resolve of this.#entry(effect.lane).idle.splice(0)) resolve();
        break;
      case 'health':
        if (effect.failure === undefined) this.#log.info('sink-healthy');
        else this.#log.warn('sink-blocked', { ...effect.failure });
        if (effect.failure !== undefined) for (const resolve of this.#opened.splice(0)) resolve();
        break;
      case 'mode':
        this.#log.info('append-mode', { mode: effect.mode });
        break;
    }
  }

  #onStored(effect: StoredEffect): void {
    const entry = this.#entry(effect.lane);
    entry.dirty = true;
    if (entry.session?.epoch === effect.epoch) entry.session.events.stored(effect);
  }

  async #read(after: number, delayMs: number): Promise<void> {
    if (delayMs > 0) await pause(delayMs, this.#stopped.signal);
    if (this.#stopped.signal.aborted) return;
    try {
      const writer = this.#writer;
      const lastSequence = await this.#sink.tail(after, (sequence: number, record: TailRecord | undefined) =>
        writer.observe(sequence, record),
      );
      if (writer !== this.#writer) return;
      if (lastSequence < after) this.#rebuild(lastSequence);
      else this.#step({ type: 'tail', lastSequence });
    } catch (error) {
      this.#step({ type: 'read-failed', failure: failureFrom(error) });
    }
  }

  async #recordGap({
    lane,
    epoch,
    after,
    upTo,
    reason,
  }: Extract<SinkWriterEffect, { type: 'record-gap' }>): Promise<void> {
    this.#log.warn('gap', { lane, reason, after: formatPosition(after), upTo: formatPosition(upTo) });
    while (this.#entry(lane).session?.epoch === epoch) {
      try {
        const at = new Date().toISOString();
        await this.#options.store.recordGap({ lane, after, upTo, reason, at }, this.#replicas());
        this.#step({ type: 'gap-recorded', lane, epoch });
        return;
      } catch (error) {
        this.#log.warn('ledger-failed', { lane, ...failureFrom(error) });
        await pause(retryMs, this.#stopped.signal);
      }
    }
  }
}
