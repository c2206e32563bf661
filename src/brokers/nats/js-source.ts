import type { Msg, NatsConnection } from 'nats';
import { BatchBuilder } from '../../wire/batch.ts';
import type { Opening } from '../../wire/frame.ts';
import type { Position } from '../../wire/position.ts';
import type { Failure } from '../../wire/reasons.ts';
import type { Source, SourceEvents } from '../broker.ts';
import { call, streamInfo } from './api.ts';
import type { NatsLink } from './connection.ts';
import { natsFailure } from './errors.ts';
import { readProvenance } from './provenance.ts';
import { rawHeaders, rawPayload, rawSubject } from './raw-message.ts';
import { type ProvenStart, proveStart } from './source-proof.ts';
import { StreamReader } from './stream-reader.ts';

export interface JetStreamSourceOptions {
  readonly link: NatsLink;
  /** The own cluster's name. */
  readonly cluster: string;
  readonly stream: string;
  /** Size of the records at which a batch is full, in bytes. */
  readonly batchBytes: number;
  /** Bytes read ahead of what the lane may send. */
  readonly prefetchBytes: number;
}

type Gap = NonNullable<ProvenStart['gap']>;

/** How often the newest sequence is asked for while nothing arrives. */
const headPollMs = 5000;

/**
 * Reads a JetStream stream with Limits retention. Reads ahead within its own bound, packs records as they arrive, and hands a
 * batch on when it is full or nothing more is there at this moment: the end of a socket read, never a timer.
 */
export class JetStreamSource implements Source {
  readonly #options: JetStreamSourceOptions;
  readonly #place: string;
  #events: SourceEvents | undefined;
  #connection: NatsConnection | undefined;
  #reader: StreamReader | undefined;
  #unlisten: (() => void) | undefined;
  #incarnation = '';
  /** Last sequence that is packed, or accounted for by a gap. */
  #tail = 0;
  #batch: BatchBuilder | undefined;
  /** Full batches that the lane may not send yet, and the gaps between them. */
  readonly #ready: (BatchBuilder | Gap)[] = [];
  #readyBytes = 0;
  #allowance = 0;
  #flushing = false;
  #head = 0;
  /** While it is being found out why positions are missing, what arrives waits here, within the prefetch. */
  #held: (() => void)[] | undefined;
  #poll: NodeJS.Timeout | undefined;

  constructor(options: JetStreamSourceOptions) {
    this.#options = options;
    this.#place = `${options.cluster}/${options.stream}`;
  }

  open(opening: Pick<Opening, 'cursor' | 'witnesses'>, events: SourceEvents): void {
    this.#events = events;
    void this.#open(opening).catch((error: unknown) => this.#fail(natsFailure(error)));
  }

  async #open(opening: Pick<Opening, 'cursor' | 'witnesses'>): Promise<void> {
    const { link, stream } = this.#options;
    const connection = link.require();
    const info = await streamInfo(connection, link.api, stream);
    if (this.#events === undefined) return;
    if (info.config.retention !== 'limits') {
      this.#fail({
        reason: 'source-unsupported',
        detail: `${stream} has ${info.config.retention} retention; only limits can be read`,
      });
      return;
    }
    const start = await proveStart(connection, link.api, info, opening);
    if (this.#events === undefined) return;
    this.#connection = connection;
    this.#incarnation = start.at.incarnation;
    this.#tail = start.at.sequence;
    this.#setHead(info.state.last_seq);
    this.#events.opened(start.gap?.after ?? start.at);
    if (start.gap !== undefined) this.#events.gap(start.gap.after, start.gap.upTo, start.gap.reason);
    this.#unlisten = link.listen({
      connected: () => this.#reader?.restart(),
      denied: (failure) => this.#fail(failure),
    });
    this.#reader = new StreamReader({
      connection,
      api: link.api,
      stream,
      headersOnly: false,
      prefetchBytes: this.#options.prefetchBytes,
      after: start.at.sequence,
      message: (message, sequence, seconds, nanos, pending) =>
        this.#onMessage(message, sequence, seconds, nanos, pending),
      failed: (failure) => this.#fail(failure),
    });
    this.#poll = setInterval(() => void this.#pollHead(), headPollMs);
    this.#poll.unref();
  }

  pull(allowanceBytes: number): void {
    this.#allowance = allowanceBytes;
    this.#scheduleFlush();
  }

  settle(_position: Position): void {
    // A Limits stream keeps no state for its readers: the sink's cursor is the only one there is.
  }

  close(): void {
    this.#events = undefined;
    this.#unlisten?.();
    this.#reader?.close();
    clearInterval(this.#poll);
    this.#ready.length = 0;
    this.#batch = undefined;
    this.#held = undefined;
  }

  #fail(failure: Failure): void {
    const events = this.#events;
    this.close();
    events?.failed(failure);
  }

  #onMessage(message: Msg, sequence: number, seconds: number, nanos: number, pending: number): void {
    if (this.#events === undefined) return;
    if (this.#held !== undefined) {
      this.#held.push(() => this.#onMessage(message, sequence, seconds, nanos, pending));
      return;
    }
    const last = this.#tail;
    if (sequence <= last) return;
    if (sequence > last + 1 && !this.#explained(last, sequence)) {
      this.#held = [() => this.#onMessage(message, sequence, seconds, nanos, pending)];
      void this.#explain(last, sequence).catch((error: unknown) => this.#fail(natsFailure(error)));
      return;
    }
    this.#setHead(sequence + pending);
    this.#append(message, sequence, seconds, nanos, last);
    this.#scheduleFlush();
  }

  #append(message: Msg, sequence: number, seconds: number, nanos: number, last: number): void {
    const { headers, identity, path } = readProvenance(rawHeaders(message), this.#place, sequence);
    const subject = rawSubject(message);
    const payload = rawPayload(message);
    for (;;) {
      this.#batch ??= new BatchBuilder(this.#incarnation, last, this.#options.batchBytes);
      if (this.#batch.append(sequence, seconds, nanos, subject, headers, payload, identity, path)) break;
      this.#rotate();
    }
    this.#tail = sequence;
    if (this.#batch.rawBytes >= this.#options.batchBytes) this.#rotate();
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
      if (this.#ready.length === 0 && this.#allowance > 0) this.#rotate();
      const next = this.#ready[0];
      if (next === undefined) break;
      if (next instanceof BatchBuilder) {
        if (this.#allowance <= 0) break;
        this.#readyBytes -= next.rawBytes;
        this.#allowance -= next.rawBytes;
        next.headSequence = this.#head;
        this.#events.batch(next);
      } else {
        this.#events.gap(next.after, next.upTo, next.reason);
      }
      this.#ready.shift();
    }
    const buffered = this.#readyBytes + (this.#batch?.rawBytes ?? 0);
    this.#reader?.want(this.#options.prefetchBytes - buffered);
  }

  /** Ranges without records that were found to be deletions by the stream's own rules. */
  readonly #compacted = { after: 0, upTo: 0 };

  #explained(last: number, sequence: number): boolean {
    return last >= this.#compacted.after && sequence <= this.#compacted.upTo;
  }

  /**
   * Positions are missing between `last` and `sequence`. Below the stream's first sequence they were deleted before they were
   * read: lost. Above it they were deleted one by one, by the stream's rules or on purpose: the cursor simply passes them.
   */
  async #explain(last: number, sequence: number): Promise<void> {
    const { link, stream } = this.#options;
    const info = await streamInfo(this.#connection!, link.api, stream);
    const lostUpTo = Math.min(info.state.first_seq, sequence) - 1;
    const held = this.#held;
    if (this.#events === undefined || held === undefined) return;
    if (lostUpTo > last) {
      this.#rotate();
      const position = (at: number) => ({ incarnation: this.#incarnation, sequence: at });
      this.#ready.push({ after: position(last), upTo: position(lostUpTo), reason: 'expired' });
      this.#tail = lostUpTo;
      this.#scheduleFlush();
    }
    this.#compacted.after = Math.max(last, lostUpTo);
    this.#compacted.upTo = sequence;
    this.#held = undefined;
    for (const message of held) message();
  }

  #setHead(sequence: number): void {
    if (sequence <= this.#head) return;
    this.#head = sequence;
    this.#events?.head(sequence);
  }

  async #pollHead(): Promise<void> {
    const { link, stream } = this.#options;
    const connection = link.connection;
    const consumer = this.#reader?.consumer;
    if (connection === undefined || !consumer) return;
    try {
      const info = await call<{ delivered: { stream_seq: number }; num_pending: number }>(
        connection,
        `${link.api}.CONSUMER.INFO.${stream}.${consumer}`,
      );
      this.#setHead(info.delivered.stream_seq + info.num_pending);
    } catch (error) {
      // The consumer or the stream is gone: the reader begins anew and gives the reason if it cannot.
      if (natsFailure(error).reason !== 'nats-unreachable') this.#reader?.restart();
    }
  }
}
