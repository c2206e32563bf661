import type { SinkLane, TailRecord } from '../brokers/broker.ts';
import type { StreamInfo } from '../brokers/nats/api.ts';
import type { NatsLink } from '../brokers/nats/connection.ts';
import type { Checkpoint, ControlStore } from '../brokers/nats/control-store.ts';
import { JetStreamSinkLog } from '../brokers/nats/js-sink-log.ts';
import { readTail } from '../brokers/nats/provenance.ts';
import { OriginIndex } from '../dedupe/origin-index.ts';
import { SinkWriter } from '../lane/sink-writer.ts';
import type { AppendMode, SinkWriterEffect, SinkWriterEvent, StoredEffect } from '../lane/sink-writer-events.ts';
import { WitnessHistory } from '../lane/witness-history.ts';
import type { Logger } from '../lib/logger.ts';
import { pause } from '../lib/pause.ts';
import type { InBatch } from '../wire/batch.ts';
import type { Gap } from '../wire/frame.ts';
import { formatPosition, type Position, payloadDigest, samePosition, type Witness } from '../wire/position.ts';
import { type Failure, FailureError, failureFrom } from '../wire/reasons.ts';

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

interface LaneEntry {
  readonly id: string;
  history: WitnessHistory;
  revision: number;
  /** There is something that the checkpoint does not say yet. */
  dirty: boolean;
  saving: Promise<void> | undefined;
  session: { readonly epoch: number; readonly events: SinkSessionEvents } | undefined;
  idle: (() => void)[];
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
  readonly #sink: JetStreamSinkLog;
  readonly #writer: SinkWriter;
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
    this.#log = options.log.child({ stream: options.stream });
    this.#sink = new JetStreamSinkLog({
      ...options,
      events: {
        stored: (count, sinkSequence) => this.#step({ type: 'stored', count, sinkSequence }),
        unsure: (failure, chainBroken) => this.#step({ type: 'unsure', failure, chainBroken }),
      },
    });
    this.#writer = new SinkWriter(this.#sink, new OriginIndex());
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
    if (signal.aborted || entry.session !== undefined)
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
      entry = {
        id,
        history: new WitnessHistory(),
        revision: 0,
        dirty: false,
        saving: undefined,
        session: undefined,
        idle: [],
      };
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
        this.#scannedFrom = await this.#recall(checkpoints, info);
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

  /**
   * Takes the cursors from the checkpoints, as far as the stream still holds what they speak of, and returns where the scan
   * has to begin. A stream that lost its tail, or is another one, is scanned from its first record (I3: nothing is believed
   * to be held that is not found).
   */
  async #recall(checkpoints: readonly Checkpoint[], info: StreamInfo): Promise<number> {
    let from = Number.POSITIVE_INFINITY;
    for (const checkpoint of checkpoints) {
      if (await this.#regressed(checkpoint, info)) {
        this.#log.warn('sink-regressed', {
          lane: checkpoint.lane,
          sinkSequence: checkpoint.sinkSequence,
          last: info.state.last_seq,
        });
        return 0;
      }
      from = Math.min(from, checkpoint.sinkSequence);
    }
    if (from === Number.POSITIVE_INFINITY) return 0;
    for (const checkpoint of checkpoints) {
      const state = this.#writer.lane(checkpoint.lane);
      const [newest] = checkpoint.witnesses;
      if (checkpoint.cursor !== undefined) state.moveCursor(checkpoint.cursor);
      if (newest !== undefined) state.last = { ...newest, sinkSequence: checkpoint.witnessSink };
      state.accounted = checkpoint.sinkSequence;
      this.#entry(checkpoint.lane).history = new WitnessHistory(checkpoint.witnesses);
    }
    return from;
  }

  async #regressed(checkpoint: Checkpoint, info: StreamInfo): Promise<boolean> {
    if (checkpoint.sinkSequence > info.state.last_seq) return true;
    const [newest] = checkpoint.witnesses;
    if (newest === undefined || checkpoint.witnessSink === 0) return false;
    const found = await this.#sink.messageAt(checkpoint.witnessSink);
    // A record that is missing proves nothing: it may have expired.
    if (found === undefined) return false;
    const record = readTail(found.headers, `${this.#options.cluster}/${this.#options.stream}`, found.sequence);
    return record?.lane !== checkpoint.lane || record.position.sequence !== newest.position.sequence;
  }

  async #ready(signal: AbortSignal): Promise<void> {
    if (this.#failure !== undefined) throw new FailureError(this.#failure.reason, this.#failure.detail);
    while (!this.#writer.isOpen) {
      const failure = this.#writer.failure;
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
    const state = this.#writer.lane(entry.id);
    const { last } = state;
    const witnesses = entry.history.list();
    entry.dirty = false;
    const checkpoint: Checkpoint = {
      lane: entry.id,
      cursor: state.cursor,
      sinkSequence: state.scanFrom(this.#writer.storedUpTo),
      // In id mode the place of a record is not exactly known; without it the witness is still one for the source.
      witnessSink:
        this.#writer.mode === 'chain' && last !== undefined && samePosition(witnesses[0]?.position, last.position)
          ? last.sinkSequence
          : 0,
      witnesses,
    };
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
    const witness = this.#writer.lane(effect.lane).witness();
    if (witness !== undefined && !entry.dirty) entry.history.add(witness);
    entry.dirty = true;
    if (entry.session?.epoch === effect.epoch) entry.session.events.stored(effect);
  }

  async #read(after: number, delayMs: number): Promise<void> {
    if (delayMs > 0) await pause(delayMs, this.#stopped.signal);
    if (this.#stopped.signal.aborted) return;
    try {
      const lastSequence = await this.#sink.tail(after, (sequence: number, record: TailRecord | undefined) =>
        this.#writer.observe(sequence, record),
      );
      this.#step({ type: 'tail', lastSequence });
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

/** Refuses streams under whose settings exactly-once cannot be kept by this version. */
function checkKind({ config }: StreamInfo): void {
  const refuse = (detail: string): never => {
    throw new FailureError('sink-unsupported', `${config.name} ${detail}`);
  };
  if (config.retention !== 'limits') refuse(`has ${config.retention} retention; only limits can be written`);
  if (config.mirror !== undefined) refuse('is a mirror, which takes no messages');
  if (config.sealed === true) refuse('is sealed');
  if (config.no_ack === true) refuse('does not acknowledge (no_ack)');
  if ((config.max_msgs_per_subject ?? -1) > 0)
    refuse('limits messages per subject, so that records vanish before they can be found again');
}
