import { JetStreamApiError } from '@nats-io/jetstream';
import type { NatsConnection } from 'nats';
import type { Opening } from '../../wire/frame.ts';
import { type Failure, FailureError } from '../../wire/reasons.ts';
import type { Consume } from '../broker.ts';
import { consumerInfo, consumerNotFound, type StreamInfo } from './api.ts';
import type { NatsLink } from './connection.ts';
import { QueueConsumer } from './queue-consumer.ts';
import { type ProvenStart, proveStart } from './source-proof.ts';

/** Why a stream cannot be read as the link says; undefined if it can. */
export function retentionFault({ config }: StreamInfo, consume: Consume | undefined): Failure | undefined {
  const { name, retention } = config;
  const fault = (detail: string): Failure => ({ reason: 'source-unsupported', detail });
  if (consume === undefined && retention !== 'limits')
    return fault(`${name} has ${retention} retention: it can only be drained, by a link that says consume: true`);
  if (consume !== undefined && retention !== 'workqueue')
    return fault(`${name} has ${retention} retention, and a link with consume: true drains workqueue`);
  return undefined;
}

/** Name of the consumer that a lane has at a stream which it drains. */
export function consumerName(lane: string): string {
  return `causeway_${lane.replaceAll('/', '_')}`;
}

/** What a source does about a stream that is drained. */
export class Drain {
  readonly consumer: QueueConsumer;
  readonly #begunAt: number;

  /** `begunAt`: the last sequence when the lane began. What others had taken by then is no loss. */
  constructor(consumer: QueueConsumer, begunAt: number) {
    this.consumer = consumer;
    this.#begunAt = begunAt;
  }

  /**
   * Up to where positions are lost that are missing up to `hole`: nobody else removes anything from such a stream, but for its limits, a
   * purge, and consumers that were there before.
   */
  lostUpTo(hole: number): number {
    return hole > this.#begunAt ? hole : 0;
  }
}

/** Proves where a lane stands in a stream that it drains, and prepares its consumer. Throws FailureError. */
export async function beginDrain(
  link: NatsLink,
  connection: NatsConnection,
  info: StreamInfo,
  { lane, previously }: Consume,
  opening: Pick<Opening, 'cursor' | 'witnesses' | 'start'>,
): Promise<{ readonly drain: Drain; readonly start: ProvenStart }> {
  const stream = info.config.name;
  const { cursor, start } = opening;
  if (cursor === undefined && start !== undefined && start.at !== 'all')
    throw new FailureError('source-unsupported', `${stream} is drained: a lane begins at its first record`);
  const name = consumerName(lane);
  const names = [name, ...(previously === undefined ? [] : [consumerName(previously)])];
  const begunAt = cursor === undefined ? info.state.last_seq : await begunBefore(connection, link.api, info, names);
  const proven = await proveStart(connection, link.api, info, opening, true);
  const consumer = new QueueConsumer({
    link,
    stream,
    name,
    description: `Causeway lane ${lane}, begun at ${info.created} ${begunAt}`,
    replaces: names.slice(1),
    provenUpTo: proven.at.sequence,
  });
  return { drain: new Drain(consumer, begunAt), start: asDrained(proven, begunAt) };
}

/** Where the lane began, as the consumer that it had says; 0 if that is gone, or was of another stream of this name. */
async function begunBefore(
  connection: NatsConnection,
  api: string,
  { config, created }: StreamInfo,
  names: readonly string[],
): Promise<number> {
  for (const name of names) {
    try {
      const { description = '' } = (await consumerInfo(connection, api, config.name, name)).config;
      const match = /, begun at (\S+) (\d+)$/.exec(description);
      if (match?.[1] === created) return Number(match[2]);
    } catch (error) {
      if (!(error instanceof JetStreamApiError) || error.code !== consumerNotFound) throw error;
    }
  }
  return 0;
}

/** What is missing behind the cursor was not deleted by limits alone. */
function asDrained(start: ProvenStart, begunAt: number): ProvenStart {
  const { gap } = start;
  if (gap?.reason !== 'expired') return start;
  if (gap.upTo.sequence <= begunAt) return { at: gap.after };
  return { ...start, gap: { ...gap, reason: 'taken' } };
}
