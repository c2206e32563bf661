import { createInbox, type Msg, type NatsConnection, type Subscription } from 'nats';
import { type Failure, FailureError } from '../../wire/reasons.ts';
import type { RecordView } from '../../wire/record-view.ts';
import type { SinkLane, SinkLog, SinkLogEvents, TailRecord } from '../broker.ts';
import { messageAt, type StoredMessage, type StreamInfo, streamInfo } from './api.ts';
import type { NatsLink } from './connection.ts';
import { failureOfCode, isChainBroken, natsFailure } from './errors.ts';
import { readTail, sinkHeaders } from './provenance.ts';
import { decimal, RawHeaders, rawHeaders, rawPayload, rawSubject } from './raw-message.ts';
import { StreamReader } from './stream-reader.ts';

export interface JetStreamSinkLogOptions {
  readonly link: NatsLink;
  /** The own cluster's name. */
  readonly cluster: string;
  readonly stream: string;
  readonly events: SinkLogEvents;
}

const seqKey = Buffer.from('"seq":');
const tailPrefetchBytes = 4 * 1024 * 1024;

/**
 * A sink stream on JetStream. Appends are plain publishes with an own reply inbox; PubAcks are read without JSON unless there is
 * something to explain. The client's own `publish` with a promise, a timer and a parsed answer per record costs ten times as much.
 */
export class JetStreamSinkLog implements SinkLog {
  readonly #options: JetStreamSinkLogOptions;
  readonly #place: string;
  readonly #inbox = createInbox('_INBOX.causeway');
  readonly #ackStart: Buffer;
  readonly #unlisten: () => void;
  #subscription: Subscription | undefined;
  #subscribedTo: NatsConnection | undefined;
  #round = 0;
  #sent = 0;
  /** Answers in order so far, and those that came before an earlier one. */
  #answered = 0;
  readonly #early = new Map<number, number>();
  #lastSequence = 0;
  #flushing = false;
  #withIds = false;

  constructor(options: JetStreamSinkLogOptions) {
    this.#options = options;
    this.#place = `${options.cluster}/${options.stream}`;
    this.#ackStart = Buffer.from(`{"stream":"${options.stream}"`);
    this.#unlisten = options.link.listen({
      disconnected: (failure) => options.events.unsure(failure, false),
      denied: (failure) => options.events.unsure(failure, false),
    });
  }

  close(): void {
    this.#unlisten();
    this.#subscription?.unsubscribe();
    this.#round++;
  }

  restart(): void {
    this.#round++;
    this.#sent = 0;
    this.#answered = 0;
    this.#early.clear();
    const { connection } = this.#options.link;
    if (connection === undefined || connection === this.#subscribedTo) return;
    // The client restores subscriptions when it reconnects; a connection made anew needs its own.
    this.#subscribedTo = connection;
    this.#subscription = connection.subscribe(`${this.#inbox}.*.*`, {
      callback: (_error, message) => this.#onAnswer(message),
    });
  }

  append(
    view: RecordView,
    lane: SinkLane,
    incarnation: string,
    previous: number,
    expectLast: number | undefined,
  ): Failure | undefined {
    const { connection } = this.#options.link;
    this.#sent++;
    // Not connected: the loss of the connection has been reported, or will be, and the writer starts over.
    if (connection === undefined) return undefined;
    const origin = originCluster(view) ?? lane.from;
    const from = view.buffer.toString('utf8', view.subjectStart, view.subjectEnd);
    const subject = lane.map(from, origin);
    if (subject === undefined) return this.#refused({ reason: 'record-refused', detail: `subject ${from} cannot be mapped` });
    if (!lane.allows(subject))
      return this.#refused({ reason: 'not-granted', detail: `subject ${subject} is not granted` });
    const labels = { lane: lane.id, source: `${lane.from}/${lane.sourceStream}`, place: this.#place };
    const headers = sinkHeaders(view, labels, incarnation, previous, expectLast);
    const payload = view.buffer.subarray(view.payloadStart, view.payloadEnd);
    const max = connection.info?.max_payload ?? Number.POSITIVE_INFINITY;
    if (headers.length + payload.length > max) {
      return this.#refused({
        reason: 'record-refused',
        detail: `record of ${headers.length + payload.length} bytes, the server takes ${max}`,
      });
    }
    this.#withIds = expectLast === undefined;
    try {
      connection.publish(subject, payload, {
        reply: `${this.#inbox}.${this.#round}.${this.#sent}`,
        headers: new RawHeaders(headers).asHeaders,
      });
    } catch (error) {
      if (connection.isClosed()) return undefined;
      return this.#refused({
        reason: 'record-refused',
        detail: error instanceof Error ? error.message : String(error),
      });
    }
    return undefined;
  }

  #refused(failure: Failure): Failure {
    this.#sent--;
    return failure;
  }

  /** Reads what the sink stream is. Throws FailureError. */
  async facts(): Promise<StreamInfo> {
    const { link, stream } = this.#options;
    try {
      return await streamInfo(link.require(), link.api, stream);
    } catch (error) {
      const failure = natsFailure(error, 'sink-missing');
      throw new FailureError(failure.reason, failure.detail, { cause: error });
    }
  }

  /** The message at a sequence of the sink. */
  async messageAt(sequence: number): Promise<StoredMessage | undefined> {
    const { link, stream } = this.#options;
    return messageAt(link.require(), link.api, stream, sequence);
  }

  /**
   * Reads every record behind `after` up to the last one there is now, and returns that sequence. Reads headers only. Throws
   * FailureError.
   */
  async tail(after: number, observe: (sinkSequence: number, record: TailRecord | undefined) => void): Promise<number> {
    const info = await this.facts();
    const last = info.state.last_seq;
    if (last <= after || info.state.messages === 0) return last;
    const { link, stream } = this.#options;
    const connection = link.require();
    // The newest message may have been deleted; then the newest that exists ends the scan.
    let end = last;
    while (end > after && (await this.messageAt(end)) === undefined) end--;
    if (end <= after) return last;
    await new Promise<void>((resolve, reject) => {
      const reader = new StreamReader({
        connection,
        api: link.api,
        stream,
        headersOnly: true,
        prefetchBytes: tailPrefetchBytes,
        after,
        message: (message, sequence) => {
          if (sequence > last) return;
          observe(sequence, readTail(rawHeaders(message), this.#place, sequence));
          if (sequence < end) return;
          unlisten();
          reader.close();
          resolve();
        },
        failed: (failure) => {
          unlisten();
          reject(new FailureError(failure.reason, failure.detail));
        },
      });
      const unlisten = link.listen({
        disconnected: (failure) => {
          reader.close();
          unlisten();
          reject(new FailureError(failure.reason, failure.detail));
        },
      });
    });
    return last;
  }

  #onAnswer(message: Msg): void {
    const subject = rawSubject(message);
    const dot = subject.lastIndexOf(46);
    const roundAt = this.#inbox.length + 1;
    if (decimal(subject, roundAt, dot) !== this.#round) return;
    const ordinal = decimal(subject, dot + 1, subject.length);
    const payload = rawPayload(message);
    const sequence = this.#plainAck(payload);
    if (sequence === undefined) {
      this.#explain(ordinal, payload, rawHeaders(message));
      return;
    }
    this.#stored(ordinal, sequence);
  }

  #stored(ordinal: number, sequence: number): void {
    if (ordinal !== this.#answered + 1) {
      this.#early.set(ordinal, sequence);
      return;
    }
    this.#answered = ordinal;
    this.#lastSequence = sequence;
    for (
      let next = this.#early.get(this.#answered + 1);
      next !== undefined;
      next = this.#early.get(this.#answered + 1)
    ) {
      this.#early.delete(this.#answered + 1);
      this.#answered++;
      this.#lastSequence = next;
    }
    // In id mode each answer tells a place of its own; in a chain the newest one speaks for all.
    if (this.#withIds) {
      this.#options.events.stored(this.#answered, this.#lastSequence);
      return;
    }
    if (this.#flushing) return;
    this.#flushing = true;
    const round = this.#round;
    queueMicrotask(() => {
      this.#flushing = false;
      if (round === this.#round) this.#options.events.stored(this.#answered, this.#lastSequence);
    });
  }

  /** `{"stream":"S", "seq":123}` and nothing else: the sequence. Anything more has to be explained. */
  #plainAck(payload: Buffer): number | undefined {
    const start = this.#ackStart;
    if (payload.length < start.length + 8 || payload.compare(start, 0, start.length, 0, start.length) !== 0)
      return undefined;
    const at = payload.indexOf(seqKey, start.length);
    if (at < 0) return undefined;
    let end = at + seqKey.length;
    while (end < payload.length && payload[end]! >= 48 && payload[end]! <= 57) end++;
    if (payload[end] !== 0x7d || end === at + seqKey.length) return undefined;
    return decimal(payload, at + seqKey.length, end);
  }

  #explain(ordinal: number, payload: Buffer, headers: Buffer): void {
    const { events, stream } = this.#options;
    if (payload.length === 0) {
      // No responders: the stream has no leader at the moment, or no stream owns the subject.
      const status = headers.toString('latin1', 9, 12);
      events.unsure({ reason: 'sink-blocked', detail: `nobody takes the subject at the moment (${status})` }, false);
      return;
    }
    const answer = JSON.parse(payload.toString('utf8')) as {
      readonly stream?: string;
      readonly seq?: number;
      readonly duplicate?: boolean;
      readonly error?: { readonly err_code: number; readonly description: string };
    };
    if (answer.error !== undefined) {
      const { err_code: code, description } = answer.error;
      events.unsure(failureOfCode(code, description), isChainBroken(code));
    } else if (answer.stream !== stream) {
      events.unsure({ reason: 'sink-subject', detail: `stream ${answer.stream} owns a subject of this link` }, false);
    } else if (answer.duplicate === true) {
      // Only our own ids are in use here: this very record was stored by an append whose answer was lost. Its place is found by reading.
      events.unsure({ reason: 'sink-blocked', detail: 'stored before; reading on' }, true);
    } else {
      this.#stored(ordinal, answer.seq!);
    }
  }
}

/** The cluster where a relayed record was first seen. */
function originCluster(view: RecordView): string | undefined {
  if (view.identityEnd === view.identityStart) return undefined;
  const slash = view.buffer.indexOf(47, view.identityStart);
  return view.buffer.toString('latin1', view.identityStart, slash);
}
