import { createInbox, type Msg, type NatsConnection, type Subscription } from 'nats';
import { subjectMatches } from '../../topology/subjects.ts';
import { type Failure, FailureError } from '../../wire/reasons.ts';
import type { RecordView } from '../../wire/record-view.ts';
import type { SinkLane, SinkLog, SinkLogEvents, TailRecord } from '../broker.ts';
import { messageAt, messageFrom, type StoredMessage, type StreamInfo, streamInfo } from './api.ts';
import type { NatsLink } from './connection.ts';
import { failureOfCode, isChainBroken, natsFailure } from './errors.ts';
import { provenanceFault, readTail, sinkHeaders } from './provenance.ts';
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
/** A server takes no longer header blocks (error 10097), whatever its max_payload. */
const maxHeaderBytes = 65_535;

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
  #reporting = false;
  #withIds = false;
  /** Subjects of the stream, as far as they are known. */
  #subjects: readonly string[] = [];
  readonly #closing = new AbortController();

  constructor(options: JetStreamSinkLogOptions) {
    this.#options = options;
    this.#place = `${options.cluster}/${options.stream}`;
    this.#ackStart = Buffer.from(`{"stream":"${options.stream}"`);
    this.#unlisten = options.link.listen({
      disconnected: (failure) => options.events.unsure(failure, false),
      denied: (failure, { operation, subject }) => {
        const ours = operation === 'publish' && this.#subjects.some((pattern) => subjectMatches(pattern, subject));
        if (ours) options.events.unsure(failure, false);
      },
    });
  }

  close(): void {
    this.#closing.abort();
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
      callback: (error, message) => this.#received(error, message),
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
    const fault = provenanceFault(view, incarnation);
    if (fault !== undefined)
      return this.#refused({ reason: 'bad-frame', detail: `record ${view.sequence} has ${fault}` });
    const origin = originCluster(view) ?? lane.from;
    const from = view.buffer.toString('utf8', view.subjectStart, view.subjectEnd);
    const subject = lane.map(from, origin);
    if (subject === undefined)
      return this.#refused({ reason: 'record-refused', detail: `subject ${from} cannot be mapped` });
    if (!lane.allows(subject))
      return this.#refused({ reason: 'not-granted', detail: `subject ${subject} is not granted` });
    const labels = { lane: lane.id, source: `${lane.from}/${lane.sourceStream}`, place: this.#place };
    const headers = sinkHeaders(view, labels, incarnation, previous, expectLast);
    const payload = view.buffer.subarray(view.payloadStart, view.payloadEnd);
    const max = connection.info?.max_payload ?? Number.POSITIVE_INFINITY;
    if (headers.length > maxHeaderBytes) {
      return this.#refused({
        reason: 'record-refused',
        detail: `record with ${headers.length} bytes of headers, servers take ${maxHeaderBytes}`,
      });
    }
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
      const info = await streamInfo(link.require(), link.api, stream);
      this.#subjects = info.config.subjects ?? [];
      return info;
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
    await new Promise<void>((resolve, reject) => {
      const { signal } = this.#closing;
      const closed = () => end({ reason: 'draining', detail: 'the daemon stops' });
      const end = (failure?: Failure) => {
        unlisten();
        signal.removeEventListener('abort', closed);
        reader.close();
        if (failure === undefined) resolve();
        else reject(new FailureError(failure.reason, failure.detail));
      };
      /** The newest messages may have been deleted. That nothing is left is believed only to the stream itself. */
      const confirm = async () => {
        const next = await messageFrom(link.require(), link.api, stream, reader.last + 1);
        if (next === undefined || next.sequence > last) end();
      };
      const maybeDone = () => void confirm().catch((error: unknown) => end(natsFailure(error, 'sink-missing')));
      const reader = new StreamReader({
        link,
        stream,
        created: info.created,
        after,
        headersOnly: true,
        prefetchBytes: tailPrefetchBytes,
        missing: 'sink-missing',
        message: (message, sequence, _seconds, _nanos, pending) => {
          if (sequence <= last) observe(sequence, readTail(rawHeaders(message), this.#place, sequence));
          reader.want(tailPrefetchBytes);
          if (sequence >= last) end();
          else if (pending === 0) maybeDone();
        },
        idle: maybeDone,
        failed: end,
      });
      const unlisten = link.listen({ disconnected: end });
      signal.addEventListener('abort', closed);
    });
    return last;
  }

  /** What is thrown here must not reach the client, which would stop reading from its socket without a word. */
  #received(error: Error | null, message: Msg): void {
    try {
      if (error === null) {
        this.#onAnswer(message);
        return;
      }
      // The answers' subscription was refused, and is gone.
      this.#subscribedTo = undefined;
      this.#options.events.unsure(natsFailure(error, 'sink-missing'), false);
    } catch (thrown) {
      queueMicrotask(() => {
        throw thrown;
      });
    }
  }

  #onAnswer(message: Msg): void {
    const subject = rawSubject(message);
    const dot = subject.lastIndexOf(46);
    const roundAt = this.#inbox.length + 1;
    if (decimal(subject, roundAt, dot) !== this.#round) return;
    const ordinal = decimal(subject, dot + 1, subject.length);
    if (ordinal <= this.#answered) return;
    const payload = rawPayload(message);
    const sequence = this.#plainAck(payload);
    if (sequence === undefined) this.#explain(ordinal, payload, rawHeaders(message));
    else this.#stored(ordinal, sequence);
  }

  #stored(ordinal: number, sequence: number): void {
    if (ordinal !== this.#answered + 1) {
      this.#early.set(ordinal, sequence);
      return;
    }
    let next: number | undefined = sequence;
    while (next !== undefined) {
      this.#answered++;
      this.#lastSequence = next;
      // In id mode each answer tells a place of its own; in a chain the newest one speaks for all.
      if (this.#withIds) this.#options.events.stored(this.#answered, next);
      next = this.#early.get(this.#answered + 1);
      this.#early.delete(this.#answered + 1);
    }
    if (!this.#withIds) this.#report();
  }

  /** Once for all answers of a socket read. */
  #report(): void {
    if (this.#reporting) return;
    this.#reporting = true;
    queueMicrotask(() => {
      this.#reporting = false;
      if (this.#answered > 0) this.#options.events.stored(this.#answered, this.#lastSequence);
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
    if (payload.length === 0 && headers.toString('latin1', 9, 12) === '503') {
      // The stream has no leader at the moment, or no stream owns the subject.
      events.unsure({ reason: 'sink-blocked', detail: 'nobody takes the subject at the moment' }, false);
      return;
    }
    const answer = pubAnswer(payload);
    // Somebody else answers on the subject too; JetStream's own answer comes, or it is missed in time.
    if (answer === undefined) return;
    if ('error' in answer) {
      const { err_code: code, description } = answer.error;
      events.unsure(failureOfCode(code, description), isChainBroken(code));
    } else if (answer.stream !== stream) {
      events.unsure({ reason: 'sink-subject', detail: `stream ${answer.stream} owns a subject of this link` }, false);
    } else if (answer.duplicate === true) {
      // Only our own ids are in use here: this very record was stored by an append whose answer was lost. Its place is found by reading.
      events.unsure({ reason: 'sink-blocked', detail: 'stored before; reading on' }, true);
    } else {
      this.#stored(ordinal, answer.seq);
    }
  }
}

type PubAnswer =
  | { readonly stream: string; readonly seq: number; readonly duplicate?: boolean }
  | { readonly error: { readonly err_code: number; readonly description: string } };

/** An answer of JetStream to a publish; undefined for anything else. */
function pubAnswer(payload: Buffer): PubAnswer | undefined {
  if (payload[0] !== 0x7b) return undefined;
  let answer: Partial<{ stream: unknown; seq: unknown; error: { err_code?: unknown } | null }>;
  try {
    answer = JSON.parse(payload.toString('utf8'));
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
  const refused = typeof answer.error?.err_code === 'number';
  const taken = typeof answer.stream === 'string' && typeof answer.seq === 'number';
  return refused || taken ? (answer as PubAnswer) : undefined;
}

/** The cluster where a relayed record was first seen. */
function originCluster(view: RecordView): string | undefined {
  if (view.identityEnd === view.identityStart) return undefined;
  const slash = view.buffer.indexOf(47, view.identityStart);
  return view.buffer.toString('latin1', view.identityStart, slash);
}
