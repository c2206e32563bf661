import type { NatsConnection } from 'nats';
import { type Failure, FailureError } from '../../wire/reasons.ts';
import type {
  Broker,
  ExportRules,
  RetentionLimits,
  Sink,
  SinkLogEvents,
  SourceBounds,
  SourceState,
  SourceStream,
  Survey,
} from '../broker.ts';
import type { SinkStore } from '../store.ts';
import { deleteConsumer, messageFrom, type StreamInfo, streamInfo } from './api.ts';
import type { NatsLink } from './connection.ts';
import { consumerName } from './drain.ts';
import { natsFailure } from './errors.ts';
import { JetStreamSinkLog } from './js-sink-log.ts';
import { SharedSource } from './shared-source.ts';
import { NatsSurvey } from './survey.ts';

/** Three connections, so that a burst of data delays neither the calls nor the other direction. */
export interface NatsLinks {
  readonly control: NatsLink;
  readonly reader: NatsLink;
  readonly writer: NatsLink;
}

export interface NatsBrokerOptions {
  /** The own cluster's name. */
  readonly cluster: string;
  readonly links: NatsLinks;
  readonly store: SinkStore;
  /** Whether this daemon may still write to sinks; asked for each record. Absent: there is no other one. */
  readonly mayAppend?: (() => boolean) | undefined;
}

/** A NATS cluster with JetStream. */
export class NatsBroker implements Broker {
  readonly store: SinkStore;
  readonly #cluster: string;
  readonly #links: NatsLinks;
  readonly #mayAppend: (() => boolean) | undefined;

  constructor({ cluster, links, store, mayAppend }: NatsBrokerOptions) {
    this.#cluster = cluster;
    this.#links = links;
    this.#mayAppend = mayAppend;
    this.store = store;
  }

  get failure(): Failure | undefined {
    return this.#links.control.failure;
  }

  source(stream: string, { batchBytes, prefetchBytes, ringBytes, memory }: SourceBounds): SourceStream {
    const { reader: link } = this.#links;
    return new SharedSource({ link, cluster: this.#cluster, stream, batchBytes, prefetchBytes, ringBytes, memory });
  }

  async head(stream: string): Promise<number> {
    return (await this.sourceState(stream)).lastSequence;
  }

  sourceState(stream: string): Promise<SourceState> {
    return this.#ask(async (connection, api) => {
      const { ts, config, state } = await streamInfo(connection, api, stream);
      const { last_seq: lastSequence, messages, bytes } = state;
      const atMs = ts === undefined ? Date.now() : Date.parse(ts);
      return { atMs, lastSequence, messages, bytes, limits: limitsOf(config) };
    });
  }

  storedMs(stream: string, sequence: number): Promise<number | undefined> {
    return this.#ask(async (connection, api) => {
      const found = await messageFrom(connection, api, stream, sequence);
      return found === undefined ? undefined : found.seconds * 1000 + Math.floor(found.nanos / 1e6);
    });
  }

  async #ask<T>(question: (connection: NatsConnection, api: string) => Promise<T>): Promise<T> {
    const { control } = this.#links;
    try {
      return await question(control.require(), control.api);
    } catch (error) {
      const { reason, detail } = natsFailure(error);
      throw new FailureError(reason, detail, { cause: error });
    }
  }

  async letGo(stream: string, lane: string): Promise<void> {
    const { control } = this.#links;
    try {
      await deleteConsumer(control.require(), control.api, stream, consumerName(lane));
    } catch (error) {
      const { reason, detail } = natsFailure(error);
      // With the stream its consumers went.
      if (reason !== 'source-missing') throw new FailureError(reason, detail, { cause: error });
    }
  }

  requireSinks(): void {
    this.#links.writer.require();
  }

  listen(connected: () => void): () => void {
    return this.#links.writer.listen({ connected });
  }

  sink(stream: string, events: SinkLogEvents): Sink {
    const [link, cluster, mayAppend] = [this.#links.writer, this.#cluster, this.#mayAppend];
    return new JetStreamSinkLog({ link, cluster, stream, events, mayAppend });
  }

  surveySource(stream: string, rules: ExportRules): Survey {
    return new NatsSurvey({ link: this.#links.reader, cluster: this.#cluster, stream, rules });
  }

  surveySink(stream: string): Survey {
    return new NatsSurvey({ link: this.#links.reader, cluster: this.#cluster, stream, rules: undefined });
  }
}

/** A stream that refuses new records at its size deletes old ones by their age only. */
function limitsOf({ max_age = 0, max_bytes = -1, max_msgs = -1, discard }: StreamInfo['config']): RetentionLimits {
  const bySize = discard !== 'new';
  return {
    ...(max_age > 0 ? { maxAgeMs: max_age / 1e6 } : {}),
    ...(bySize && max_bytes > 0 ? { maxBytes: max_bytes } : {}),
    ...(bySize && max_msgs > 0 ? { maxMessages: max_msgs } : {}),
  };
}
