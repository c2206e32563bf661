import { jetstream, jetstreamManager, RetentionPolicy, StorageType } from '@nats-io/jetstream';
import { silentLogger } from '../../lib/logger.ts';
import type { Reason } from '../../wire/reasons.ts';
import { NatsLink } from './connection.ts';
import { natsFailure } from './errors.ts';

const answerTimeoutMs = 5000;
/** For what is shown and soon asked again. */
const glanceTimeoutMs = 1000;
const glanceFailures: readonly Reason[] = ['nats-unreachable', 'jetstream-unavailable', 'source-missing'];
const readAheadBytes = 8 * 1024 * 1024;
const silenceMs = 30_000;

export interface NewRecord {
  readonly subject: string;
  readonly payload: string;
}

/**
 * An application beside Causeway, as the demo needs one: makes a stream, appends to it, reads it. Uses the official client the
 * way its manual shows, and nothing of what the lanes are made of but the connection and the names of failures.
 */
export class StreamClient {
  readonly #link: NatsLink;

  /** Connects to one server, and again whenever that is lost. */
  constructor(url: string, name: string) {
    this.#link = new NatsLink({ plan: { servers: [url] }, name, log: silentLogger });
    this.#link.start();
  }

  get connected(): boolean {
    return this.#link.connection !== undefined;
  }

  close(): Promise<void> {
    return this.#link.stop();
  }

  /** Makes a file stream with Limits retention; it may exist already, alike. */
  async make(stream: string, subjects: readonly string[]): Promise<void> {
    const manager = await jetstreamManager(this.#link.require());
    await manager.streams.add({
      name: stream,
      subjects: [...subjects],
      retention: RetentionPolicy.Limits,
      storage: StorageType.File,
    });
  }

  /** How many records a stream holds of each subject; undefined as long as the server does not say, or has no such stream. */
  async subjects(stream: string): Promise<ReadonlyMap<string, number> | undefined> {
    const connection = this.#link.connection;
    if (connection === undefined) return undefined;
    try {
      const manager = await jetstreamManager(connection, { checkAPI: false, timeout: glanceTimeoutMs });
      const { state } = await manager.streams.info(stream, { subjects_filter: '>' });
      return new Map(Object.entries(state.subjects ?? {}));
    } catch (error) {
      const { reason } = natsFailure(error);
      if (glanceFailures.includes(reason)) return undefined;
      throw error;
    }
  }

  /** Payload of the last record whose subject fits; undefined if there is none. */
  async lastOf(stream: string, subject: string): Promise<string | undefined> {
    const manager = await jetstreamManager(this.#link.require(), { checkAPI: false, timeout: answerTimeoutMs });
    return (await manager.streams.getMessage(stream, { last_by_subj: subject }))?.string();
  }

  /**
   * Appends records behind sequence `last`, all at once and each on condition that it follows on the one before. Rejects as soon
   * as anything is wrong; how many of them are stored is then for `lastOf` to say.
   */
  async append(last: number, records: readonly NewRecord[]): Promise<void> {
    const client = jetstream(this.#link.require(), { timeout: answerTimeoutMs });
    await this.#whileConnected(
      Promise.all(
        records.map(({ subject, payload }, i) =>
          client.publish(subject, payload, { expect: { lastSequence: last + i } }),
        ),
      ),
    );
  }

  /** Publishes a record under an id, so that it is not stored again if it was stored within the duplicate window of its stream. */
  async publish(id: string, { subject, payload }: NewRecord): Promise<void> {
    const client = jetstream(this.#link.require(), { timeout: answerTimeoutMs });
    await this.#whileConnected(client.publish(subject, payload, { msgID: id }));
  }

  /** Reads a stream from its first record to the last it has now. Rejects if it cannot. */
  async readAll(stream: string, observe: (subject: string, payload: string) => void): Promise<void> {
    const connection = this.#link.require();
    const { state } = await (await jetstreamManager(connection)).streams.info(stream);
    if (state.messages === 0) return;
    const consumer = await jetstream(connection).consumers.get(stream);
    let done: () => void = () => undefined;
    let heardMs = performance.now();
    const complete = new Promise<void>((resolve) => {
      done = resolve;
    });
    const messages = await consumer.consume({
      max_bytes: readAheadBytes,
      callback: (message) => {
        heardMs = performance.now();
        if (message.seq <= state.last_seq) observe(message.subject, message.string());
        if (message.seq >= state.last_seq) done();
      },
    });
    let watch: NodeJS.Timeout | undefined;
    const silence = new Promise<never>((_, reject) => {
      watch = setInterval(() => {
        if (performance.now() - heardMs > silenceMs) reject(new Error(`${stream} gave no record for ${silenceMs} ms`));
      }, 1000);
    });
    const ended = messages.closed().then((error) => {
      throw error instanceof Error ? error : new Error(`the reading of ${stream} was ended`);
    });
    try {
      await Promise.race([complete, silence, ended]);
    } finally {
      clearInterval(watch);
      messages.stop();
    }
  }

  /** The client lets requests wait for their time-out when the connection is gone. */
  async #whileConnected(answers: Promise<unknown>): Promise<void> {
    let lost: (error: Error) => void = () => undefined;
    const disconnected = new Promise<never>((_, reject) => {
      lost = reject;
    });
    const unlisten = this.#link.listen({ disconnected: ({ detail }) => lost(new Error(detail)) });
    try {
      await Promise.race([answers, disconnected]);
    } finally {
      unlisten();
    }
  }
}
