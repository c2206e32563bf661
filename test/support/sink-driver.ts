import type { NatsConnection } from 'nats';
import { expect } from 'vitest';
import type { SinkLane } from '../../src/brokers/broker.ts';
import type { NatsLink } from '../../src/brokers/nats/connection.ts';
import { JetStreamSinkLog } from '../../src/brokers/nats/js-sink-log.ts';
import { OriginIndex } from '../../src/dedupe/origin-index.ts';
import { SinkWriter } from '../../src/lane/sink-writer.ts';
import {
  type AppendMode,
  type QuarantineEffect,
  type SinkWriterEvent,
  type SinkWriterOptions,
  sinkWriterDefaults,
} from '../../src/lane/sink-writer-events.ts';
import { pause } from '../../src/lib/pause.ts';
import { BatchBuilder, decodeBatch } from '../../src/wire/batch.ts';
import { type Failure, failureFrom } from '../../src/wire/reasons.ts';
import { readAll } from './nats-rig.ts';
import { until } from './until.ts';

export interface DrivenRecord {
  readonly subject: string;
  readonly payload: Buffer;
  readonly headers?: Buffer;
  /** When its source stored it, Unix seconds. Default: long ago. */
  readonly seconds?: number;
}

/** A lane that yields records 1, 2, 3 and so on, from behind the cursor that the sink has. */
export interface DrivenLane {
  readonly id: string;
  readonly record: (number: number) => DrivenRecord;
  readonly map?: SinkLane['map'];
  readonly allows?: SinkLane['allows'];
}

interface Feed {
  readonly lane: DrivenLane;
  total: number;
  fed: number;
  epoch: number;
  batches: number;
}

const batchRecords = 100;
const batchesInFlight = 20;
const none = Buffer.alloc(0);

/** A SinkWriter over a real JetStreamSinkLog: the least that makes them run, without checkpoints and sessions. */
export class SinkDriver {
  readonly sink: JetStreamSinkLog;
  readonly writer: SinkWriter;
  readonly health: (Failure | undefined)[] = [];
  readonly modes: AppendMode[] = [];
  readonly refused: Failure[] = [];
  readonly quarantined: QuarantineEffect[] = [];
  reads = 0;
  /** Whether it is this daemon's turn to write. */
  turn = true;
  readonly #feeds = new Map<string, Feed>();
  readonly #stopped = new AbortController();
  readonly #timer: NodeJS.Timeout;
  #epoch = 0;

  constructor(link: NatsLink, stream: string, options: Partial<SinkWriterOptions> = {}) {
    this.sink = new JetStreamSinkLog({
      link,
      cluster: 'hub',
      stream,
      mayAppend: () => this.turn,
      events: {
        stored: (count, sinkSequence) => this.#step({ type: 'stored', count, sinkSequence }),
        held: (record) => this.#step({ type: 'held', record }),
        unsure: (failure, chainBroken) => this.#step({ type: 'unsure', failure, chainBroken }),
      },
    });
    this.writer = new SinkWriter(this.sink, new OriginIndex(), 'hub/SINK', { ...sinkWriterDefaults, ...options });
    this.#timer = setInterval(() => this.#step({ type: 'tick' }), 50);
    this.#step({ type: 'start', accounted: 0 });
  }

  /** What keeps the sink from taking records, by the last word. */
  get failure(): Failure | undefined {
    return this.health.at(-1);
  }

  /** Feeds a lane up to record `total`. */
  feed(lane: DrivenLane, total: number): void {
    const feed = this.#feeds.get(lane.id) ?? { lane, total, fed: 0, epoch: 0, batches: 0 };
    feed.total = total;
    this.#feeds.set(lane.id, feed);
    this.#serve();
  }

  stored(lane: string): number {
    return this.writer.lane(lane).cursor?.sequence ?? 0;
  }

  async untilStored(lane: string, number: number): Promise<void> {
    await until(() => this.stored(lane) >= number, {
      what: () => `${number} records of ${lane}; ${this.stored(lane)} are stored; ${JSON.stringify(this.failure)}`,
      deadlineMs: 40_000,
    });
  }

  stop(): void {
    this.#stopped.abort();
    clearInterval(this.#timer);
    this.sink.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.stop();
  }

  #step(event: SinkWriterEvent): void {
    if (this.#stopped.signal.aborted) return;
    for (const effect of this.writer.step(event, performance.now())) {
      if (effect.type === 'read') void this.#read(effect.after, effect.delayMs);
      else if (effect.type === 'health') this.health.push(effect.failure);
      else if (effect.type === 'mode') this.modes.push(effect.mode);
      else if (effect.type === 'stored') this.#feeds.get(effect.lane)!.batches--;
      else if (effect.type === 'quarantine') {
        const { lane, epoch } = effect;
        this.quarantined.push(effect);
        queueMicrotask(() => this.#step({ type: 'quarantined', lane: lane.id, epoch }));
      } else if (effect.type === 'refused') {
        this.refused.push(effect.failure);
        this.#feeds.delete(effect.lane);
      }
    }
    // Not from within: what is fed makes further steps.
    queueMicrotask(() => this.#serve());
  }

  #serve(): void {
    if (!this.writer.isOpen) return;
    for (const feed of this.#feeds.values()) {
      if (feed.epoch === 0) {
        feed.epoch = ++this.#epoch;
        feed.fed = this.stored(feed.lane.id);
        const { id, map = (subject) => subject, allows = () => true } = feed.lane;
        this.#step({
          type: 'open',
          lane: { id, from: id.split('/')[1]!, sourceStream: 'S', map, allows, acceptsOrigin: () => true },
          epoch: feed.epoch,
        });
      }
      while (feed.fed < feed.total && feed.batches < batchesInFlight && this.writer.isOpen) this.#batch(feed);
    }
  }

  #batch(feed: Feed): void {
    const builder = new BatchBuilder('inc', feed.fed, 1 << 20);
    while (feed.fed < feed.total && builder.count < batchRecords) {
      const { subject, payload, headers = none, seconds = 1_700_000_000 } = feed.lane.record(feed.fed + 1);
      if (!builder.append(feed.fed + 1, seconds, feed.fed, Buffer.from(subject), headers, payload)) break;
      feed.fed++;
    }
    feed.batches++;
    const batch = decodeBatch(builder.frame(feed.epoch, 1, 0));
    this.#step({ type: 'batch', lane: feed.lane.id, epoch: feed.epoch, batch });
  }

  async #read(after: number, delayMs: number): Promise<void> {
    await pause(delayMs, this.#stopped.signal);
    if (this.#stopped.signal.aborted) return;
    this.reads++;
    try {
      const lastSequence = await this.sink.tail(after, (sequence, record) => this.writer.observe(sequence, record));
      this.#step({ type: 'tail', lastSequence });
    } catch (error) {
      this.#step({ type: 'read-failed', failure: failureFrom(error) });
    }
  }
}

/** A lane whose records say where they come from and their number. */
export function laneOf(cluster: string, subject = 'S.x', bytes = 0): DrivenLane {
  return {
    id: `fleet/${cluster}/hub`,
    record: (number) => ({ subject, payload: Buffer.from(`${cluster}:${number}`.padEnd(bytes)) }),
  };
}

export interface Outcome {
  /** Numbers of the lane in the order they are stored. */
  readonly numbers: readonly number[];
  /** How many of them stand behind a later one. */
  readonly late: number;
}

/** What the sink holds of a lane, by the payloads. */
export async function outcome(nc: NatsConnection, lane: DrivenLane, stream = 'S'): Promise<Outcome> {
  const cluster = lane.id.split('/')[1]!;
  const records = await readAll(nc, stream);
  const numbers = records
    .filter(({ text }) => text.startsWith(`${cluster}:`))
    .map(({ text }) => Number.parseInt(text.slice(cluster.length + 1), 10));
  let highest = 0;
  let late = 0;
  for (const number of numbers) {
    if (number < highest) late++;
    highest = Math.max(highest, number);
  }
  return { numbers, late };
}

export function upTo(count: number): number[] {
  return Array.from({ length: count }, (_, i) => i + 1);
}

/** The oracle: nothing lost, nothing twice, in order. */
export async function expectAll(nc: NatsConnection, lane: DrivenLane, count: number, stream = 'S'): Promise<void> {
  expect((await outcome(nc, lane, stream)).numbers).toEqual(upTo(count));
}
