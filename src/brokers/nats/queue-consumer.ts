import type { NatsConnection } from 'nats';
import type { Failure } from '../../wire/reasons.ts';
import type { NatsLink } from './connection.ts';
import type { ReaderConsumer } from './reader-consumer.ts';
import type { Delivery } from './reader-protocol.ts';
import { SentRecords } from './sent-records.ts';

/** Delivered and not acknowledged, at most: then the server gives out no more. */
export const maxAckPending = 10_000;
/** What is not acknowledged comes again only from a consumer that is made anew: that keeps the order. */
const ackWaitMs = 24 * 60 * 60 * 1000;

export interface QueueConsumerOptions {
  readonly link: NatsLink;
  readonly stream: string;
  readonly name: string;
  readonly description: string;
  /** Names of consumers that hold the subjects for an earlier name of the lane. */
  readonly replaces: readonly string[];
  /** Up to here the sink has proven to hold what the stream had: what is left of that is acknowledged and not read. */
  readonly provenUpTo: number;
  /** What is missing behind that and up to here was told as lost: nothing of it may come any more. */
  readonly goneUpTo: number;
}

/**
 * The consumer of a WorkQueue stream. A record is acknowledged once the sink has stored it (I1). The consumer is made anew at every
 * doubt, since one that stays gives out old records behind new ones; it then delivers everything that is not acknowledged from the
 * start, in order. What was delivered before is told by sequence and time: it is acknowledged again if it is stored, and else left
 * alone, because it is on its way. An acknowledgement that got lost is repeated.
 */
export class QueueConsumer implements ReaderConsumer {
  readonly name: string;
  readonly config: object;
  readonly replaces: readonly string[];
  readonly #options: QueueConsumerOptions;
  readonly #records = new SentRecords();
  #connection: NatsConnection | undefined;
  #lives = 0;
  /** Acknowledgement subjects of the present consumer begin so. */
  #prefix = '';
  #settled: number;
  /** What was settled when the server was asked last. */
  #asked = 0;

  constructor(options: QueueConsumerOptions) {
    this.#options = options;
    this.name = options.name;
    this.replaces = [options.name, ...options.replaces];
    this.#settled = options.provenUpTo;
    this.config = {
      durable_name: options.name,
      description: options.description,
      deliver_policy: 'all',
      ack_policy: 'explicit',
      ack_wait: ackWaitMs * 1e6,
      max_deliver: -1,
      max_ack_pending: maxAckPending,
      replay_policy: 'instant',
    };
  }

  acknowledgesAt(subject: string): boolean {
    return this.#prefix !== '' && subject.startsWith(this.#prefix);
  }

  made(connection: NatsConnection): void {
    this.#connection = connection;
    this.#prefix = '';
    this.#lives++;
    this.#records.forgetSerials();
  }

  delivered(delivery: Delivery, reply: Buffer): 'new' | 'again' | Failure {
    if (this.#prefix === '') this.#prefix = reply.toString('latin1', 0, delivery.prefixEnd);
    const { sequence, seconds, nanos } = delivery;
    const { stream } = this.#options;
    const index = this.#records.find(sequence);
    if (index === undefined) {
      const behind = sequence > this.#records.last;
      const expected = behind && sequence > this.#settled;
      // The proof of the cursor speaks of what the stream held when the lane opened.
      const proven = behind && this.#lives === 1 && sequence <= this.#options.provenUpTo;
      if (!expected && !proven) {
        const detail = `${stream} delivers record ${sequence} again: whether it is the one that was stored has to be proven`;
        return { reason: 'consumer-lost', detail };
      }
      if (expected && sequence <= this.#options.goneUpTo) {
        // Nobody would read it, and it would be acknowledged with the gap: a leader that was not up to date was asked.
        const detail = `${stream} holds record ${sequence}, which was taken for gone: it has to be proven again`;
        return { reason: 'consumer-lost', detail };
      }
      this.#records.push(delivery);
      if (expected) return 'new';
      this.#acknowledge(this.#records.count - 1);
      return 'again';
    }
    if (!this.#records.isOf(index, seconds, nanos))
      return { reason: 'regressed', detail: `${stream} holds another record ${sequence} than before` };
    this.#records.setSerial(index, delivery.delivered);
    if (sequence <= this.#settled) this.#acknowledge(index);
    return 'again';
  }

  /** The sink has stored everything up to there. */
  settle(sequence: number): void {
    if (sequence <= this.#settled) return;
    const from = this.#settled;
    this.#settled = sequence;
    this.#acknowledgeAll(from, sequence);
  }

  /** The server says that it has every acknowledgement up to `floor`. What it should have had the last time is sent again. */
  confirmed(floor: number): void {
    if (floor < this.#asked) this.#acknowledgeAll(floor, this.#asked);
    this.#asked = this.#settled;
  }

  /** Of the records behind `after` up to `upTo`. */
  #acknowledgeAll(after: number, upTo: number): void {
    for (let index = this.#records.firstBehind(after); index < this.#records.count; index++) {
      if (this.#records.sequenceAt(index) > upTo) return;
      this.#acknowledge(index);
    }
  }

  #acknowledge(index: number): void {
    const connection = this.#connection;
    if (connection === undefined || connection !== this.#options.link.connection) return;
    if (connection.isClosed() || connection.isDraining()) return;
    const serial = this.#records.serialAt(index);
    // Not delivered by the present consumer: it will be, and is acknowledged then.
    if (serial === 0) return;
    connection.publish(`${this.#prefix}1.${this.#records.sequenceAt(index)}.${serial}.0.0`);
  }
}
