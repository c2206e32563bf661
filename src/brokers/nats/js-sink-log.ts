import { createInbox, type Msg, type NatsConnection, type Subscription } from 'nats';
import type { CreatePlan } from '../../topology/plan.ts';
import { subjectMatches } from '../../topology/subjects.ts';
import { type Failure, FailureError } from '../../wire/reasons.ts';
import type { RecordView } from '../../wire/record-view.ts';
import type { HeldAppend, Sink, SinkFacts, SinkLane, SinkLogEvents, SinkMessage, SinkObserver } from '../broker.ts';
import { messageAt, type StoredMessage, streamInfo } from './api.ts';
import { AppendAnswers } from './append-answers.ts';
import { inboxPrefix, type NatsLink } from './connection.ts';
import { natsFailure } from './errors.ts';
import { headerTarget, plainTarget } from './header-policy.ts';
import { isUnderItsId, provenanceFault, readTail, sinkHeaders } from './provenance.ts';
import { RawHeaders } from './raw-message.ts';
import { sinkFacts } from './sink-facts.ts';
import { readHeaders } from './sink-tail.ts';
import { createStream } from './stream-create.ts';
import { readStreamSource } from './stream-source.ts';

export interface JetStreamSinkLogOptions {
  readonly link: NatsLink;
  /** The own cluster's name. */
  readonly cluster: string;
  readonly stream: string;
  readonly events: SinkLogEvents;
  /** Whether this daemon may still write; absent: there is no other one. */
  readonly mayAppend?: (() => boolean) | undefined;
}

/** For so long the answers to what is in flight are waited for before the stream is read, in ms. */
const quietMs = 2000;
/** A server takes no longer header blocks (error 10097), whatever its max_payload. */
const maxHeaderBytes = 65_535;

/**
 * A sink stream on JetStream. Appends are plain publishes with an own reply inbox; PubAcks are read without JSON unless there is
 * something to explain. The client's own `publish` with a promise, a timer and a parsed answer per record costs ten times as much.
 */
export class JetStreamSinkLog implements Sink {
  readonly #options: JetStreamSinkLogOptions;
  readonly #place: string;
  readonly #inbox = createInbox(inboxPrefix);
  readonly #answers: AppendAnswers;
  readonly #unlisten: () => void;
  #subscription: Subscription | undefined;
  #subscribedTo: NatsConnection | undefined;
  /** Subjects of the stream, once they are known. */
  #subjects: readonly string[] | undefined;
  /** What it makes of reserved headers, once that is known. */
  #target = plainTarget;
  readonly #closing = new AbortController();
  #hold: ((append: HeldAppend) => void) | undefined;

  constructor(options: JetStreamSinkLogOptions) {
    this.#options = options;
    this.#place = `${options.cluster}/${options.stream}`;
    this.#answers = new AppendAnswers(this.#inbox, options.stream, options.events, (sequence) =>
      this.#compare(sequence),
    );
    this.#unlisten = options.link.listen({
      disconnected: (failure) => {
        this.#answers.loseAll();
        options.events.unsure(failure, false);
      },
      denied: (failure, { operation, subject }) => {
        if (operation !== 'publish' || !this.#owns(subject)) return;
        this.#answers.lose();
        options.events.unsure(failure, false);
      },
    });
  }

  close(): void {
    this.#closing.abort();
    this.#unlisten();
    this.#subscription?.unsubscribe();
    this.#answers.begin();
  }

  restart(): void {
    this.#answers.begin();
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
    plain = false,
  ): Failure | undefined {
    const { connection } = this.#options.link;
    const reply = this.#answers.next(expectLast === undefined);
    // Not connected: the loss of the connection has been reported, or will be, and the writer starts over. And so it is with a daemon whose
    // turn is over: it is about to hear that.
    if (connection === undefined || this.#options.mayAppend?.() === false) {
      this.#answers.lose();
      return undefined;
    }
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
    // Another stream might take it.
    if (!this.#owns(subject))
      return this.#refused({
        reason: 'sink-subject',
        detail: `stream ${this.#options.stream} has no subject ${subject}`,
      });
    const labels = { lane: lane.id, source: `${lane.from}/${lane.sourceStream}`, place: this.#place };
    const headers = sinkHeaders(view, labels, incarnation, previous, expectLast, plain ? plainTarget : this.#target);
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
    const send = (): Failure | undefined => {
      try {
        connection.publish(subject, payload, { reply, headers: new RawHeaders(headers).asHeaders });
      } catch (error) {
        if (!connection.isClosed())
          return { reason: 'record-refused', detail: error instanceof Error ? error.message : String(error) };
        this.#answers.lose();
      }
      return undefined;
    };
    if (this.#hold !== undefined) {
      this.#hold((wanted) => this.#release(connection, wanted ? send : undefined));
      return undefined;
    }
    const failure = send();
    return failure && this.#refused(failure);
  }

  /** Sends what was held back, if it is still wanted and its connection still there. */
  #release(connection: NatsConnection, send: (() => Failure | undefined) | undefined): void {
    if (send === undefined || this.#options.link.connection !== connection) {
      this.#answers.lose();
      return;
    }
    const failure = send();
    if (failure === undefined) return;
    this.#answers.lose();
    this.#options.events.unsure(failure, false);
  }

  gate(hold: ((append: HeldAppend) => void) | undefined): void {
    this.#hold = hold;
  }

  quiet(): Promise<void> {
    return this.#answers.quiet(quietMs);
  }

  #owns(subject: string): boolean {
    return this.#subjects?.some((pattern) => subjectMatches(pattern, subject)) ?? true;
  }

  #refused(failure: Failure): Failure {
    this.#answers.takeBack();
    return failure;
  }

  async facts(): Promise<SinkFacts> {
    const { link, stream } = this.#options;
    const info = await named(() => streamInfo(link.require(), link.api, stream));
    this.#subjects = info.config.subjects ?? [];
    this.#target = headerTarget(info.config);
    return sinkFacts(info);
  }

  create(plan: CreatePlan): Promise<Failure | undefined> {
    return createStream(this.#options.link, this.#options.stream, plan);
  }

  async messageAt(sequence: number): Promise<SinkMessage | undefined> {
    const found = await this.#messageAt(sequence);
    if (found === undefined) return undefined;
    const { seconds, nanos, payload, headers } = found;
    return { seconds, nanos, payload, record: readTail(headers, this.#place, sequence) };
  }

  async #messageAt(sequence: number): Promise<StoredMessage | undefined> {
    const { link, stream } = this.#options;
    return named(() => messageAt(link.require(), link.api, stream, sequence));
  }

  /** Whether the record at `sequence` is the one that its message id names. Deleted since, it was stored once; that is all that is asked. */
  async #compare(sequence: number): Promise<Failure | undefined> {
    try {
      const found = await this.#messageAt(sequence);
      if (found === undefined) return undefined;
      if (isUnderItsId(found.headers, this.#place, sequence)) {
        const record = readTail(found.headers, this.#place, sequence);
        if (record !== undefined) this.#options.events.held(record);
        return undefined;
      }
      return { reason: 'id-taken', detail: `record ${sequence} of others has the message id of one of ours` };
    } catch (error) {
      return natsFailure(error, 'sink-missing');
    }
  }

  async tail(after: number, observe: SinkObserver): Promise<number> {
    await this.quiet();
    const facts = await this.facts();
    await this.scan(after, facts, observe, this.#closing.signal);
    return facts.lastSequence;
  }

  scan(after: number, facts: SinkFacts, observe: SinkObserver, signal: AbortSignal): Promise<void> {
    const { link, stream } = this.#options;
    const headers = (sequence: number, block: Buffer): void => {
      const record = readTail(block, this.#place, sequence);
      observe(sequence, record, record === undefined ? readStreamSource(block) : undefined);
    };
    return readHeaders({ link, stream, facts, after, headers, signal });
  }

  /** What is thrown here must not reach the client, which would stop reading from its socket without a word. */
  #received(error: Error | null, message: Msg): void {
    try {
      if (error === null) {
        this.#answers.take(message);
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
}

/** Makes a FailureError of whatever a call to the server throws. */
async function named<T>(call: () => Promise<T>): Promise<T> {
  try {
    return await call();
  } catch (error) {
    const { reason, detail } = natsFailure(error, 'sink-missing');
    throw new FailureError(reason, detail, { cause: error });
  }
}

/** The cluster where a relayed record was first seen. */
function originCluster(view: RecordView): string | undefined {
  if (view.identityEnd === view.identityStart) return undefined;
  const slash = view.buffer.indexOf(47, view.identityStart);
  return view.buffer.toString('latin1', view.identityStart, slash);
}
