import { JetStreamApiError } from '@nats-io/jetstream';
import type { Msg } from 'nats';
import type { MemoryBudget, MemoryShare } from '../../lib/memory-budget.ts';
import { BatchBuilder } from '../../wire/batch.ts';
import type { Opening } from '../../wire/frame.ts';
import { covers, type Position } from '../../wire/position.ts';
import type { Failure } from '../../wire/reasons.ts';
import type { Consume, Source, SourceEvents } from '../broker.ts';
import { consumerInfo, consumerNotFound, streamInfo } from './api.ts';
import type { NatsLink } from './connection.ts';
import { beginDrain, type Drain, lostUpTo, retentionFault } from './drain.ts';
import { natsFailure } from './errors.ts';
import type { ImportFilter } from './export-rules.ts';
import { patientInfo } from './patient-info.ts';
import { readProvenance } from './provenance.ts';
import { rawHeaders, rawPayload, rawSize, rawSubject } from './raw-message.ts';
import { type ProvenStart, proveStart, type RecordTime } from './source-proof.ts';
import { type ReaderTiming, readerTiming, StreamReader } from './stream-reader.ts';

export interface JetStreamSourceOptions {
  readonly link: NatsLink;
  /** The own cluster's name. */
  readonly cluster: string;
  readonly stream: string;
  /** Size of the records at which a batch is full, in bytes. */
  readonly batchBytes: number;
  /** Bytes read ahead of what the lane may send, at most and as far as the budget has room. */
  readonly prefetchBytes: number;
  readonly memory: MemoryBudget;
  /** Default: everything is carried on. */
  readonly filter?: ImportFilter;
  /** The lane that drains the stream; absent for one that leaves it as it is. */
  readonly consume?: Consume;
  /** Default: what suits a server nearby. */
  readonly timing?: ReaderTiming;
}

/** A place in a stream that a source of it has reached: enough to go on there without proving a cursor again. */
export interface SourcePlace {
  readonly position: Position;
  /** When the record at `position` was stored; undefined where that is not known. */
  readonly time: RecordTime | undefined;
  /** `created` of the stream, as the source that proved its cursor found it. */
  readonly created: string;
}

type Gap = NonNullable<ProvenStart['gap']>;

/** How often the newest sequence is asked for while nothing arrives. */
const headPollMs = 5000;

/** A message that waits until it is known why positions before it are missing. */
interface Held {
  readonly message: Msg;
  readonly sequence: number;
  readonly seconds: number;
  readonly nanos: number;
  readonly pending: number;
}

/**
 * Reads a JetStream stream: one with Limits retention as it is, another only to drain it. Reads ahead within its own bound, packs records as they arrive, and hands a
 * batch on when it is full or nothing more is there at this moment: the end of a socket read, never a timer.
 */
export class JetStreamSource implements Source {
  readonly #options: JetStreamSourceOptions;
  readonly #place: string;
  readonly #closing = new AbortController();
  #events: SourceEvents | undefined;
  #reader: StreamReader | undefined;
  /** Present while it reads. */
  #memory: MemoryShare | undefined;
  #incarnation = '';
  #created = '';
  /** Last sequence that is packed, or accounted for by a gap. */
  #tail = 0;
  #batch: BatchBuilder | undefined;
  /** Full batches that the lane may not send yet, and the gaps between them. */
  readonly #ready: (BatchBuilder | Gap)[] = [];
  #readyBytes = 0;
  #allowance = 0;
  #flushing = false;
  #head = 0;
  /** What arrived since a hole was met, within the prefetch. */
  #held: Held[] | undefined;
  #heldBytes = 0;
  /** The stream's first sequence, asked for when message `upTo` had arrived: holes before that one are explained by it. */
  #known = { first: 0, upTo: 0 };
  /** Of a stream that is drained. */
  #drain: Drain | undefined;
  /** The last batch without a record that was let out, until it is safe at the sink: one at a time (I5). */
  #unsettled: Position | undefined;
  #poll: NodeJS.Timeout | undefined;

  constructor(options: JetStreamSourceOptions) {
    this.#options = options;
    this.#place = `${options.cluster}/${options.stream}`;
  }

  /** Bytes that are read ahead, or asked for. */
  get prefetchedBytes(): number {
    return this.#buffered() + (this.#reader?.outstandingBytes ?? 0);
  }

  /** `created` of the stream, once the source is open. */
  get created(): string {
    return this.#created;
  }

  open(opening: Pick<Opening, 'cursor' | 'witnesses' | 'start'>, events: SourceEvents): void {
    this.#events = events;
    void this.#open(opening).catch((error: unknown) => this.#fail(natsFailure(error)));
  }

  async #open(opening: Pick<Opening, 'cursor' | 'witnesses' | 'start'>): Promise<void> {
    const { link, stream, consume } = this.#options;
    const connection = link.require();
    const info = await streamInfo(connection, link.api, stream);
    if (this.#events === undefined) return;
    const unsupported = retentionFault(info, consume);
    if (unsupported !== undefined) {
      this.#fail(unsupported);
      return;
    }
    const failed = (failure: Failure) => this.#fail(failure);
    const drain =
      consume === undefined ? undefined : await beginDrain({ link, connection, info, consume, opening, failed });
    const start = drain?.start ?? (await proveStart(connection, link.api, info, opening));
    if (this.#events === undefined) {
      drain?.close();
      return;
    }
    this.#drain = drain;
    this.#created = info.created;
    this.#events.opened(start.gap?.after ?? start.at);
    this.#setHead(info.state.last_seq);
    if (start.begins === true) this.#tellStart(start.gap?.after ?? start.at);
    if (start.gap !== undefined) this.#events?.gap(start.gap.after, start.gap.upTo, start.gap.reason);
    if (this.#events !== undefined) this.#read({ position: start.at, time: start.time, created: info.created });
  }

  /** A batch without a record: the sink learns where the lane begins before there is anything to store. */
  #tellStart(at: Position): void {
    const batch = new BatchBuilder(at.incarnation, at.sequence, 0);
    batch.headSequence = this.#head;
    // What it stands for is not older than this moment.
    batch.firstSeconds = Math.floor(Date.now() / 1000);
    this.#unsettled = at;
    this.#events?.batch(batch);
  }

  /**
   * In place of `open`: goes on where another source of this stream stood, with nothing to be told of it. Fails if the stream
   * turns out to be another one meanwhile.
   */
  resume(place: SourcePlace, events: SourceEvents): void {
    this.#events = events;
    this.#created = place.created;
    this.#read(place);
  }

  #read({ position, time, created }: SourcePlace): void {
    const { link, stream, prefetchBytes, memory, timing } = this.#options;
    this.#incarnation = position.incarnation;
    this.#tail = position.sequence;
    this.#memory = memory.share(prefetchBytes);
    this.#reader = new StreamReader({
      link,
      stream,
      created,
      after: position.sequence,
      ...(time === undefined ? {} : { afterTime: time }),
      headersOnly: false,
      prefetchBytes: this.#memory.windowBytes,
      message: (message, sequence, seconds, nanos, pending) =>
        this.#onMessage(message, sequence, seconds, nanos, pending),
      failed: (failure) => this.#fail(failure),
      ...(this.#drain?.reader === undefined ? {} : { consumer: this.#drain.reader }),
      ...(this.#drain?.replicas === undefined ? {} : { replicas: this.#drain.replicas }),
      ...(timing === undefined ? {} : { timing }),
    });
    this.#poll = setInterval(() => void this.#pollHead(), headPollMs);
    this.#poll.unref();
  }

  pull(allowanceBytes: number): void {
    this.#allowance = allowanceBytes;
    this.#scheduleFlush();
  }

  /** A Limits stream keeps no state for its readers: the sink's cursor is the only one there is. From one that is drained records go. */
  settle(position: Position): void {
    if (position.incarnation === this.#incarnation) this.#drain?.settle(position.sequence);
    if (this.#unsettled === undefined || !covers(position, this.#unsettled)) return;
    this.#unsettled = undefined;
    this.#scheduleFlush();
  }

  close(): void {
    this.#events = undefined;
    this.#closing.abort();
    this.#reader?.close();
    this.#drain?.close();
    this.#memory?.close();
    clearInterval(this.#poll);
    this.#ready.length = 0;
    this.#readyBytes = 0;
    this.#batch = undefined;
    this.#held = undefined;
    this.#heldBytes = 0;
  }

  #fail(failure: Failure): void {
    const events = this.#events;
    this.close();
    events?.failed(failure);
  }

  #onMessage(message: Msg, sequence: number, seconds: number, nanos: number, pending: number): void {
    if (this.#events === undefined) return;
    if (this.#held !== undefined) {
      this.#hold({ message, sequence, seconds, nanos, pending });
      return;
    }
    const last = this.#tail;
    if (sequence <= last) return;
    if (sequence > last + 1 && !this.#explained(last, sequence)) {
      this.#held = [];
      this.#hold({ message, sequence, seconds, nanos, pending });
      void this.#explain().catch((error: unknown) => this.#fail(natsFailure(error)));
      return;
    }
    this.#setHead(sequence + pending);
    this.#append(message, sequence, seconds, nanos);
    this.#scheduleFlush();
  }

  #hold(held: Held): void {
    this.#held?.push(held);
    this.#heldBytes += rawSize(held.message);
  }

  #append(message: Msg, sequence: number, seconds: number, nanos: number): void {
    const provenance = readProvenance(rawHeaders(message), this.#place, sequence);
    const { headers, identity, path, sourced } = provenance;
    const came = identity !== undefined || sourced === true;
    const leftOut = came ? this.#options.filter?.(sequence, provenance) : undefined;
    if (leftOut !== undefined) {
      this.#packing().pass(sequence, seconds, nanos, rawPayload(message), leftOut);
      this.#tail = sequence;
      return;
    }
    const subject = rawSubject(message);
    const payload = rawPayload(message);
    while (!this.#packing().append(sequence, seconds, nanos, subject, headers, payload, identity, path)) this.#rotate();
    this.#tail = sequence;
    if (this.#packing().rawBytes >= this.#options.batchBytes) this.#rotate();
  }

  #packing(): BatchBuilder {
    this.#batch ??= new BatchBuilder(this.#incarnation, this.#tail, this.#options.batchBytes);
    return this.#batch;
  }

  /** The batch is full: it waits for its turn, and the next record begins a new one. */
  #rotate(): void {
    const batch = this.#batch;
    if (batch === undefined) return;
    this.#batch = undefined;
    this.#ready.push(batch);
    this.#readyBytes += batch.rawBytes;
  }

  #scheduleFlush(): void {
    if (this.#flushing) return;
    this.#flushing = true;
    // Runs after the client has handed over everything that one socket read brought.
    queueMicrotask(() => this.#flush());
  }

  #flush(): void {
    this.#flushing = false;
    while (this.#events !== undefined) {
      if (this.#ready.length === 0 && this.#allowance > 0 && this.#isDue()) this.#rotate();
      const next = this.#ready[0];
      if (next === undefined) break;
      if (next instanceof BatchBuilder) {
        if (this.#allowance <= 0) break;
        this.#ready.shift();
        this.#readyBytes -= next.rawBytes;
        this.#allowance -= next.rawBytes;
        this.#memory?.passed(next.rawBytes, performance.now());
        next.headSequence = this.#head;
        if (next.count === 0) this.#unsettled = { incarnation: next.incarnation, sequence: next.lastSequence };
        this.#events.batch(next);
      } else {
        this.#ready.shift();
        this.#events.gap(next.after, next.upTo, next.reason);
      }
    }
    const windowBytes = this.#memory?.windowBytes ?? 0;
    this.#reader?.want(windowBytes - this.#buffered(), windowBytes);
    this.#memory?.hold(this.prefetchedBytes);
  }

  /** A batch that holds no record costs no credit: it waits, and takes in more, until the one before it is settled. */
  #isDue(): boolean {
    return this.#unsettled === undefined || (this.#batch?.count ?? 0) > 0;
  }

  #buffered(): number {
    return this.#readyBytes + this.#heldBytes + (this.#batch?.rawBytes ?? 0);
  }

  /**
   * Positions are missing between `last` and `sequence`. Below the stream's first sequence they were deleted before they were
   * read: lost. Above it they were deleted one by one, by the stream's rules or on purpose: the cursor simply passes them.
   * False if the first sequence has to be asked for.
   */
  #explained(last: number, sequence: number): boolean {
    if (this.#drain === undefined && sequence > this.#known.upTo) return false;
    const drain = this.#drain;
    const lost = drain === undefined ? Math.min(this.#known.first, sequence) - 1 : lostUpTo(drain, sequence - 1);
    if (lost > last) {
      this.#rotate();
      const position = (at: number) => ({ incarnation: this.#incarnation, sequence: at });
      const reason = this.#drain === undefined ? 'expired' : 'taken';
      this.#ready.push({ after: position(last), upTo: position(lost), reason });
      this.#tail = lost;
    }
    return true;
  }

  /** Asks once for everything that is held by now, because holes come in swarms; what arrives later may have younger holes. */
  async #explain(): Promise<void> {
    // After the rest of the same socket read.
    await Promise.resolve();
    const upTo = this.#held?.at(-1)?.sequence ?? 0;
    const { link, stream, timing = readerTiming } = this.#options;
    const info = await patientInfo(link, stream, timing.patienceMs, this.#closing.signal);
    const held = this.#held;
    if (this.#events === undefined || held === undefined || info === undefined) return;
    this.#known = { first: info.state.first_seq, upTo };
    this.#held = undefined;
    this.#heldBytes = 0;
    for (const { message, sequence, seconds, nanos, pending } of held)
      this.#onMessage(message, sequence, seconds, nanos, pending);
  }

  #setHead(sequence: number): void {
    if (sequence > this.#head) this.#moveHead(sequence);
  }

  #moveHead(sequence: number): void {
    this.#head = sequence;
    this.#events?.head(sequence);
  }

  async #pollHead(): Promise<void> {
    const { link, stream } = this.#options;
    const connection = link.connection;
    const consumer = this.#reader?.consumer;
    if (connection === undefined || !consumer) return;
    try {
      const before = this.#head;
      const info = await consumerInfo(connection, link.api, stream, consumer);
      this.#drain?.look(info);
      const head = Math.max(info.delivered.stream_seq + info.num_pending, this.#tail);
      // After a purge, servers before 2.15 count with a message what is gone, and here they do not. A message since then is newer.
      if (this.#head === before && head < before && this.#events !== undefined) this.#moveHead(head);
      else this.#setHead(head);
    } catch (error) {
      // Whatever is wrong, the reader finds out by itself. That the consumer is gone it learns sooner this way.
      const gone = error instanceof JetStreamApiError && error.code === consumerNotFound;
      if (gone && this.#reader?.consumer === consumer) this.#reader.restart();
    }
  }
}
