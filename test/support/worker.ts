/** An application that works on the records of a queue: takes each as soon as it is there, and acknowledges it at once. */
import { connect, type NatsConnection } from 'nats';
import { call } from '../../src/brokers/nats/api.ts';
import { until } from './until.ts';

const durable = 'worker';
const pullMs = 100;
const laneHeader = 'Causeway-Lane';

/** A record as the worker got it. */
export interface Taken {
  readonly lane: string;
  /** Its position on the lane. */
  readonly position: number;
  readonly text: string;
}

export class Worker implements AsyncDisposable {
  readonly #connection: NatsConnection;
  readonly #timer: NodeJS.Timeout;
  /** By sequence of the stream: what it hands out again because an acknowledgement was lost counts once. */
  readonly #taken = new Map<number, Taken>();

  private constructor(connection: NatsConnection, stream: string) {
    this.#connection = connection;
    connection.subscribe('worker.inbox', {
      callback: (error, message) => {
        if (error !== null || message.reply === undefined || message.headers?.code) return;
        const sequence = Number(message.reply.split('.')[5]);
        const [lane = '', position = ''] = (message.headers?.get(laneHeader) ?? '').split(';');
        this.#taken.set(sequence, {
          lane,
          position: Number(position.split('.')[1]),
          text: message.string().slice(0, 40),
        });
        message.respond('+ACK');
      },
    });
    this.#timer = setInterval(() => {
      if (connection.isClosed()) return;
      const body = JSON.stringify({ batch: 2000, expires: 5 * pullMs * 1e6 });
      connection.publish(`$JS.API.CONSUMER.MSG.NEXT.${stream}.${durable}`, body, { reply: 'worker.inbox' });
    }, pullMs);
  }

  static async start(url: string, stream: string): Promise<Worker> {
    const options = { maxReconnectAttempts: -1, reconnectTimeWait: 50, waitOnFirstConnect: true };
    const connection = await connect({ servers: url, ...options });
    const config = { durable_name: durable, ack_policy: 'explicit', ack_wait: 2e9, max_ack_pending: 20_000 };
    const request = { stream_name: stream, config };
    await call(connection, `$JS.API.CONSUMER.DURABLE.CREATE.${stream}.${durable}`, request);
    return new Worker(connection, stream);
  }

  get count(): number {
    return this.#taken.size;
  }

  async has(count: number): Promise<void> {
    await until(() => this.count >= count, {
      deadlineMs: 120_000,
      what: () => `${count} records to be worked on, ${this.count} were`,
    });
  }

  /** The positions of a lane, in the order of the stream. */
  positions(lane: string): number[] {
    return [...this.#taken]
      .toSorted(([a], [b]) => a - b)
      .flatMap(([, one]) => (one.lane === lane ? [one.position] : []));
  }

  /** Whatever was taken, in the order of the stream. */
  get taken(): Taken[] {
    return [...this.#taken].toSorted(([a], [b]) => a - b).map(([, one]) => one);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#timer);
    await this.#connection.close();
  }
}
