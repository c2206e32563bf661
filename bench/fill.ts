import { setTimeout as delay } from 'node:timers/promises';
import { DiscardPolicy, jetstreamManager, StorageType } from '@nats-io/jetstream';
import { connect, createInbox, type NatsConnection } from 'nats';
import { subjectOf, type Workload, writePayload } from './payloads.ts';
import { subjects } from './system.ts';

/** Records on their way to the server; it holds about 10,000 per stream before it refuses more. */
const windowRecords = 4096;
const windowBytes = 16 * 1024 * 1024;
/** How often a feed publishes what is due. */
const feedEveryMs = 10;

/** Makes a file stream for the subjects of a workload. With `maxBytes` it refuses what goes beyond that. */
export async function makeStream(url: string, name: string, maxBytes?: number): Promise<void> {
  const connection = await connect({ servers: url });
  try {
    const manager = await jetstreamManager(connection);
    const limit = maxBytes === undefined ? {} : { max_bytes: maxBytes, discard: DiscardPolicy.New };
    await manager.streams.add({ name, subjects: [...subjects], storage: StorageType.File, ...limit });
  } finally {
    await connection.close();
  }
}

/** Makes stream `name` and puts every record of the workload into it, in order: record number i gets sequence i + 1. */
export async function fillStream(url: string, name: string, workload: Workload): Promise<void> {
  await makeStream(url, name);
  const publisher = await Publisher.open(url, workload);
  try {
    for (let index = 0; index < workload.records; index++) await publisher.publish();
    await publisher.settled();
    const { state } = await publisher.stream(name);
    if (state.messages !== workload.records || state.last_seq !== workload.records) {
      throw new Error(
        `filling ${name}: it holds ${state.messages} records up to ${state.last_seq}, not ${workload.records}`,
      );
    }
  } finally {
    await publisher.close();
  }
}

/** Publishes records at a steady rate until it is told to stop. */
export class Feed {
  readonly #publisher: Publisher;
  readonly #running: Promise<void>;
  #stopped = false;

  private constructor(publisher: Publisher, perSecond: number) {
    this.#publisher = publisher;
    this.#running = this.#run(perSecond);
    // Whoever stops it hears of its failure.
    this.#running.catch(() => undefined);
  }

  /** Makes stream `name` and begins. */
  static async start(
    url: string,
    name: string,
    { perSecond, ...kind }: Omit<Workload, 'records'> & { readonly perSecond: number },
  ): Promise<Feed> {
    await makeStream(url, name);
    return new Feed(await Publisher.open(url, kind), perSecond);
  }

  /** Records published so far. */
  get published(): number {
    return this.#publisher.published;
  }

  /** Gives the number of records that the stream holds. Throws if one of them was refused. */
  async stop(): Promise<number> {
    this.#stopped = true;
    try {
      await this.#running;
      await this.#publisher.settled();
      return this.published;
    } finally {
      await this.#publisher.close();
    }
  }

  async #run(perSecond: number): Promise<void> {
    const begunMs = performance.now();
    while (!this.#stopped) {
      const due = ((performance.now() - begunMs) / 1000) * perSecond;
      while (this.published < due) await this.#publisher.publish();
      await delay(feedEveryMs);
    }
  }
}

/** Plain publishes with an inbox of our own, as many in flight as the server takes; every answer is checked. */
class Publisher {
  readonly #connection: NatsConnection;
  readonly #kind: Omit<Workload, 'records'>;
  readonly #inbox = createInbox();
  readonly #window: number;
  #published = 0;
  #answered = 0;
  #refused: string | undefined;
  #wake: (() => void) | undefined;
  #wakeAt = 0;

  private constructor(connection: NatsConnection, kind: Omit<Workload, 'records'>) {
    this.#connection = connection;
    this.#kind = kind;
    this.#window = Math.max(64, Math.min(windowRecords, Math.floor(windowBytes / kind.payloadBytes)));
    connection.subscribe(this.#inbox, {
      callback: (error, answer) => {
        this.#answered++;
        // `{"stream":...}`, or `{"error":...}`.
        if (error !== null) this.#refused ??= error.message;
        else if (answer.data[2] !== 0x73) this.#refused ??= answer.string();
        if (this.#answered >= this.#wakeAt || this.#refused !== undefined) this.#wake?.();
      },
    });
  }

  static async open(url: string, kind: Omit<Workload, 'records'>): Promise<Publisher> {
    return new Publisher(await connect({ servers: url }), kind);
  }

  get published(): number {
    return this.#published;
  }

  /** Publishes the next record, as soon as the window has room for it. */
  async publish(): Promise<void> {
    if (this.#published - this.#answered >= this.#window) await this.#answers(this.#published - this.#window / 2);
    // The client keeps the payload until it has written it to the socket, so each needs memory of its own.
    const payload = Buffer.allocUnsafe(this.#kind.payloadBytes);
    writePayload(this.#kind.kind, this.#published, payload);
    this.#connection.publish(subjectOf(this.#published), payload, { reply: this.#inbox });
    this.#published++;
  }

  /** Waits until every record has been stored. Throws if one was refused. */
  settled(): Promise<void> {
    return this.#answers(this.#published);
  }

  async stream(name: string) {
    return (await jetstreamManager(this.#connection)).streams.info(name);
  }

  close(): Promise<void> {
    return this.#connection.close();
  }

  async #answers(count: number): Promise<void> {
    await new Promise<void>((resolve) => {
      this.#wakeAt = count;
      this.#wake = resolve;
      if (this.#answered >= count || this.#refused !== undefined) resolve();
    });
    if (this.#refused !== undefined) throw new Error(`filling: ${this.#refused}`);
  }
}
