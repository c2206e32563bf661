import { jetstream, jetstreamManager, RetentionPolicy, StorageType } from '@nats-io/jetstream';
import { silentLogger } from '../../lib/logger.ts';
import { NatsLink } from './connection.ts';

const answerTimeoutMs = 5000;
const readAheadBytes = 8 * 1024 * 1024;
const silenceMs = 30_000;

/**
 * An application beside Causeway, as the demo needs one: makes a stream, appends to it, reads it. Uses the official client the
 * way its manual shows, and nothing of what the lanes are made of but the connection.
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

  /** The last sequence of a stream. */
  async last(stream: string): Promise<number> {
    const manager = await jetstreamManager(this.#link.require());
    return (await manager.streams.info(stream)).state.last_seq;
  }

  /**
   * Appends records behind sequence `last`, all at once and each on condition that it follows on the one before. Rejects as soon
   * as anything is wrong; how many of them are stored is then for `last` to say.
   */
  async append(
    last: number,
    records: readonly { readonly subject: string; readonly payload: string }[],
  ): Promise<void> {
    const client = jetstream(this.#link.require(), { timeout: answerTimeoutMs });
    let lost: (error: Error) => void = () => undefined;
    // The client lets requests wait for their time-out when the connection is gone.
    const disconnected = new Promise<never>((_, reject) => {
      lost = reject;
    });
    const unlisten = this.#link.listen({ disconnected: ({ detail }) => lost(new Error(detail)) });
    try {
      const answers = records.map(({ subject, payload }, i) =>
        client.publish(subject, payload, { expect: { lastSequence: last + i } }),
      );
      await Promise.race([Promise.all(answers), disconnected]);
    } finally {
      unlisten();
    }
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
}
