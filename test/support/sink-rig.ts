import type { SinkLane } from '../../src/brokers/broker.ts';
import type { NatsLink } from '../../src/brokers/nats/connection.ts';
import { ControlStore } from '../../src/brokers/nats/control-store.ts';
import { NatsBroker } from '../../src/brokers/nats/nats-broker.ts';
import type { SinkSession } from '../../src/daemon/sink-session.ts';
import { SinkStream } from '../../src/daemon/sink-stream.ts';
import type { SinkWriterOptions, StoredEffect } from '../../src/lane/sink-writer-events.ts';
import type { Logger } from '../../src/lib/logger.ts';
import { BatchBuilder, decodeBatch } from '../../src/wire/batch.ts';
import { type Failure, failureFrom } from '../../src/wire/reasons.ts';
import { until } from './until.ts';

const none = new Uint8Array();

/** A lane of which records arrive. `origin`: who saw the records first; its own source if absent. */
export interface RigLane {
  readonly id: string;
  readonly origin?: (sequence: number) => string;
  readonly acceptsOrigin?: SinkLane['acceptsOrigin'];
  /** Its link does not say where it begins; else with the first record. */
  readonly untold?: true;
}

/** Lines that a daemon would have logged. */
export class Lines implements Logger {
  readonly lines: { readonly event: string; readonly fields: Record<string, unknown> }[] = [];
  debug = (event: string, fields = {}) => void this.lines.push({ event, fields });
  info = this.debug;
  warn = this.debug;
  error = this.debug;
  child = () => this;

  of(event: string): Record<string, unknown>[] {
    return this.lines.filter((line) => line.event === event).map(({ fields }) => fields);
  }
}

/** A sink stream as the daemon has it, and sessions that bring records. Another of it on the same link is the daemon after a restart. */
export class SinkRig implements AsyncDisposable {
  readonly sink: SinkStream;
  readonly log = new Lines();
  readonly store: ControlStore;

  constructor(
    link: NatsLink,
    stream: string,
    options: { readonly shared?: boolean; readonly writer?: Partial<SinkWriterOptions> } = {},
  ) {
    this.store = new ControlStore(link, () => this.sink.keepAgain());
    const links = { control: link, reader: link, writer: link };
    const broker = new NatsBroker({ cluster: 'hub', links, store: this.store });
    this.sink = new SinkStream({ broker, cluster: 'hub', stream, log: this.log, ...options });
  }

  start(): this {
    this.sink.start();
    return this;
  }

  /** Opens a session of a lane, as soon as the sink lets it. */
  async open(lane: RigLane): Promise<RigSession> {
    const session = new RigSession(lane);
    let failure: Failure | undefined;
    await until(
      async () => {
        try {
          await session.open(this.sink);
          return true;
        } catch (error) {
          failure = failureFrom(error);
          return false;
        }
      },
      { what: () => `a session of ${lane.id}: ${JSON.stringify(failure)}` },
    );
    return session;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.sink.stop();
  }
}

export class RigSession {
  readonly #lane: RigLane;
  #session: SinkSession | undefined;
  stored = 0;
  records = 0;
  duplicates = 0;
  ended: Failure | undefined;
  /** Called whenever more is known to be stored. */
  heard: () => void = () => undefined;

  constructor(lane: RigLane) {
    this.#lane = lane;
  }

  async open(sink: SinkStream, signal = new AbortController().signal): Promise<void> {
    const { id, untold, acceptsOrigin = () => true } = this.#lane;
    const [, from] = id.split('/');
    const all = { map: (subject: string) => subject, allows: () => true };
    this.#session = await sink.open(
      { id, from: from!, sourceStream: 'S', ...all, acceptsOrigin },
      { id, sourceStream: 'S', ...(untold ? {} : { start: { at: 'all' } as const }) },
      {
        stored: (effect) => this.#onStored(effect),
        parked: () => undefined,
        ended: (failure) => this.#onEnded(failure),
      },
      signal,
    );
  }

  /** Where the sink says the lane stands. */
  get cursor(): number {
    return this.#session?.cursor?.sequence ?? 0;
  }

  /** Brings records and waits until they are stored; `subject` is theirs at the sink, `bytes` how long at least. */
  async bring(subject: string, sequences: readonly number[], bytes = 0): Promise<void> {
    this.send(subject, sequences, bytes);
    const last = sequences.at(-1)!;
    await until(() => this.stored >= last, { what: () => `record ${last}: ${JSON.stringify(this.ended)}` });
  }

  send(subject: string, sequences: readonly number[], bytes = 0): void {
    const { id, origin } = this.#lane;
    const builder = new BatchBuilder('inc', sequences[0]! - 1, 8 << 20);
    for (const n of sequences) {
      const identity = origin === undefined ? none : Buffer.from(origin(n));
      builder.append(
        n,
        1_700_000_000,
        n,
        Buffer.from(subject),
        none,
        Buffer.from(`${id}:${n}`.padEnd(bytes)),
        identity,
      );
    }
    this.#session!.append(decodeBatch(builder.frame(1, 1, 0)));
  }

  close(): void {
    this.#session?.close();
  }

  #onStored(effect: StoredEffect): void {
    this.stored = effect.position.sequence;
    this.records += effect.records;
    this.duplicates += effect.duplicates;
    this.heard();
  }

  #onEnded(failure: Failure): void {
    this.ended = failure;
  }
}
