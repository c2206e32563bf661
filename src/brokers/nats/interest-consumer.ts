import { randomBytes } from 'node:crypto';
import { JetStreamApiError } from '@nats-io/jetstream';
import { createInbox, type Msg, type NatsConnection } from 'nats';
import { pause } from '../../lib/pause.ts';
import { type Failure, FailureError } from '../../wire/reasons.ts';
import { type ConsumerInfo, call, consumerInfo, consumerNotFound, deleteConsumer } from './api.ts';
import { inboxPrefix, type NatsLink } from './connection.ts';
import { isPassing, natsFailure } from './errors.ts';
import { rawReply } from './raw-message.ts';
import { Delivery, parseDelivery } from './reader-protocol.ts';

/** Records whose headers are fetched at once, to acknowledge the last of them. */
const fetchRecords = 500;
const fetchBytes = 1024 * 1024;
/** A server that says nothing for so long is asked again, in ms. */
const silenceMs = 3000;
const retryMs = 250;
/** A consumer of a moment is gone after so long at the latest. */
const tidyMs = 10_000;

export interface InterestConsumerOptions {
  readonly link: NatsLink;
  readonly stream: string;
  readonly name: string;
  readonly replicas: number;
  /** It cannot go on; nothing comes after this. */
  readonly failed: (failure: Failure) => void;
}

/**
 * Keeps what a lane has not stored in a stream of Interest retention, which holds a record as long as a consumer wants it: a durable consumer
 * of headers, that acknowledges all up to a record at once (I1). The records themselves are read by another one. It is never deleted while
 * the lane is wanted: what is published meanwhile would be gone.
 */
export class InterestConsumer {
  readonly #options: InterestConsumerOptions;
  readonly #closing = new AbortController();
  /** Fetched and not acknowledged: sequence and subject of the acknowledgement. */
  readonly #fetched = new Map<number, string>();
  readonly #delivery = new Delivery();
  #target = 0;
  /** -1: to be looked at. */
  #done = 0;
  /** What the server had when something was acknowledged last. */
  #floor = -1;
  /** The reader after whose making the stream was tidied. */
  #tidied = '';
  #working = false;

  constructor(options: InterestConsumerOptions) {
    this.#options = options;
  }

  /** The sink has stored everything up to there. */
  settle(sequence: number): void {
    this.#target = Math.max(this.#target, sequence);
    void this.#work();
  }

  /**
   * Looks whether the server still has the acknowledgements, and the consumer: a new leader may have lost the last of them. `reader`: the
   * name of the consumer that reads.
   */
  look(reader: string): void {
    this.#done = -1;
    void this.#work().then(() => this.#tidy(reader));
  }

  /**
   * Servers (2.10, run) leave a record in the stream for good that is acknowledged at the moment at which another consumer is made. When one is
   * deleted that has delivered nothing, they look at every record again.
   */
  async #tidy(reader: string): Promise<void> {
    const { link, stream, replicas } = this.#options;
    const { connection } = link;
    if (reader === this.#tidied || connection === undefined || this.#closing.signal.aborted) return;
    this.#tidied = reader;
    const name = `causeway-${randomBytes(8).toString('hex')}`;
    const config = {
      name,
      deliver_policy: 'all',
      ack_policy: 'none',
      mem_storage: true,
      num_replicas: replicas,
      inactive_threshold: tidyMs * 1e6,
    };
    try {
      await call(connection, `${link.api}.CONSUMER.CREATE.${stream}.${name}`, { stream_name: stream, config });
      await deleteConsumer(connection, link.api, stream, name);
    } catch {
      // The next look tries again; what is wrong, the reader finds out by itself.
      this.#tidied = '';
    }
  }

  close(): void {
    this.#closing.abort();
    this.#fetched.clear();
  }

  async #work(): Promise<void> {
    if (this.#working) return;
    this.#working = true;
    const { signal } = this.#closing;
    while (!signal.aborted && this.#done < this.#target) {
      try {
        const target = this.#target;
        if (await this.#advance(this.#options.link.require(), target)) this.#done = target;
      } catch (error) {
        if (signal.aborted) break;
        // What was fetched may be unknown to whoever answers next.
        this.#fetched.clear();
        const failure = this.#failureOf(error);
        if (!isPassing(failure)) {
          this.close();
          this.#options.failed(failure);
          break;
        }
        await pause(retryMs, signal);
      }
    }
    this.#working = false;
  }

  #failureOf(error: unknown): Failure {
    const { stream, name } = this.#options;
    if (error instanceof JetStreamApiError && error.code === consumerNotFound)
      return {
        reason: 'consumer-lost',
        detail: `the consumer ${name} of ${stream} was deleted: nothing keeps its records`,
      };
    return natsFailure(error);
  }

  /** One step. True if nothing up to the target is left to be acknowledged that can be. */
  async #advance(connection: NatsConnection, target: number): Promise<boolean> {
    const { link, stream, name } = this.#options;
    const info = await consumerInfo(connection, link.api, stream, name);
    if (info.ack_floor.stream_seq >= target) return this.#forget(target);
    let best = 0;
    let beyond = false;
    for (const sequence of this.#fetched.keys()) {
      if (sequence > target) beyond = true;
      else best = Math.max(best, sequence);
    }
    if (best > 0) {
      await this.#acknowledge(connection, this.#fetched.get(best)!, info);
      this.#forget(best);
      return false;
    }
    // Fetched by an earlier run, or before the last look.
    const { consumer_seq: serial, stream_seq: sequence } = info.delivered;
    if (info.num_ack_pending > 0 && sequence <= target) {
      const subject = `$JS.ACK.${stream}.${name}.1.${sequence}.${serial}.0.0`;
      await this.#acknowledge(connection, subject, info);
      return false;
    }
    // What an earlier run fetched beyond the target is acknowledged together with what goes before it.
    if (sequence >= target || beyond || info.num_ack_pending > 0 || info.num_pending === 0) return true;
    // No more than there may be up to the target: what is fetched beyond it waits there.
    await this.#fetch(connection, Math.min(fetchRecords, target - sequence));
    return false;
  }

  #forget(upTo: number): true {
    for (const sequence of this.#fetched.keys()) if (sequence <= upTo) this.#fetched.delete(sequence);
    return true;
  }

  /** With an answer, so that it is known to have arrived. A server that does not get on by it is not asked in a storm. */
  async #acknowledge(connection: NatsConnection, subject: string, { ack_floor }: ConsumerInfo): Promise<void> {
    if (ack_floor.stream_seq === this.#floor) await pause(retryMs, this.#closing.signal);
    this.#floor = ack_floor.stream_seq;
    await connection.request(subject, undefined, { timeout: silenceMs });
  }

  /** Asks for what is there, and no longer. */
  async #fetch(connection: NatsConnection, batch: number): Promise<void> {
    const { link, stream, name } = this.#options;
    const inbox = createInbox(inboxPrefix);
    let got = 0;
    await new Promise<void>((resolve, reject) => {
      let timer: NodeJS.Timeout | undefined;
      const end = (error?: Error): void => {
        clearTimeout(timer);
        subscription.unsubscribe();
        if (error === undefined) resolve();
        else reject(error);
      };
      const wait = (): void => {
        clearTimeout(timer);
        timer = setTimeout(
          () => (got > 0 ? end() : end(new FailureError('nats-unreachable', 'the server does not answer'))),
          silenceMs,
        );
      };
      const subscription = connection.subscribe(inbox, {
        callback: (error, message) => {
          if (error !== null) end(error);
          else if (!this.#take(message) || ++got === batch) end();
          else wait();
        },
      });
      wait();
      const request = { batch, max_bytes: fetchBytes, no_wait: true };
      connection.publish(`${link.api}.CONSUMER.MSG.NEXT.${stream}.${name}`, JSON.stringify(request), { reply: inbox });
    });
  }

  /** False for a status, with which the server ends what was asked for. */
  #take(message: Msg): boolean {
    const reply = rawReply(message);
    if (reply.length === 0) return false;
    parseDelivery(reply, this.#delivery);
    this.#fetched.set(this.#delivery.sequence, reply.toString('latin1'));
    return true;
  }
}
