import { JetStreamApiError } from '@nats-io/jetstream';
import type { NatsConnection } from 'nats';
import type { Opening } from '../../wire/frame.ts';
import { type Failure, FailureError } from '../../wire/reasons.ts';
import type { Consume } from '../broker.ts';
import {
  type ConsumerInfo,
  call,
  consumerInfo,
  consumerNotFound,
  deleteConsumer,
  messageFrom,
  type StreamInfo,
  streamInfo,
} from './api.ts';
import type { NatsLink } from './connection.ts';
import { InterestConsumer } from './interest-consumer.ts';
import { QueueConsumer } from './queue-consumer.ts';
import type { ReaderConsumer } from './reader-consumer.ts';
import { type ProvenStart, proveStart } from './source-proof.ts';

/** Why a stream cannot be read as the link says; undefined if it can. */
export function retentionFault({ config }: StreamInfo, consume: Consume | undefined): Failure | undefined {
  const { name, retention } = config;
  const fault = (detail: string): Failure => ({ reason: 'source-unsupported', detail });
  if (consume === undefined && retention !== 'limits')
    return fault(`${name} has ${retention} retention: it can only be drained, by a link that says consume: true`);
  if (consume !== undefined && retention === 'limits')
    return fault(`${name} has limits retention: a link with consume: true would drain it, and cannot`);
  return undefined;
}

/** Name of the consumer that a lane has at a stream which it drains. */
export function consumerName(lane: string): string {
  return `causeway_${lane.replaceAll('/', '_')}`;
}

/** What a source does about a stream that it drains. */
export interface Drain {
  readonly start: ProvenStart;
  /** The consumer to read by, if it is the one that acknowledges. */
  readonly reader?: ReaderConsumer;
  /** Of the consumer to read by otherwise. */
  readonly replicas?: number;
  /** The last sequence when the lane began. What others had taken by then is no loss. */
  readonly begunAt: number;
  /** The sink has stored everything up to there. */
  settle(sequence: number): void;
  /** Now and then, with what the server says of the consumer that is read by. */
  look(info: ConsumerInfo): void;
  close(): void;
}

export interface DrainOptions {
  readonly link: NatsLink;
  readonly connection: NatsConnection;
  readonly info: StreamInfo;
  readonly consume: Consume;
  readonly opening: Pick<Opening, 'cursor' | 'witnesses' | 'start'>;
  /** It cannot be drained any more. */
  readonly failed: (failure: Failure) => void;
}

/**
 * Up to where positions are lost that are missing up to `hole`; 0 if none is: nobody else removes anything from a stream that is drained, but
 * for its limits, a purge, and consumers that were there before.
 */
export function lostUpTo({ begunAt }: Drain, hole: number): number {
  return hole > begunAt ? hole : 0;
}

/** Proves where a lane stands in a stream that it drains, and prepares its consumer. Throws what calls throw. */
export function beginDrain(options: DrainOptions): Promise<Drain> {
  const { info, opening } = options;
  const { cursor, start } = opening;
  if (cursor === undefined && start !== undefined && start.at !== 'all')
    throw new FailureError('source-unsupported', `${info.config.name} is drained: a lane begins at its first record`);
  return info.config.retention === 'interest' ? drainInterest(options) : drainQueue(options);
}

async function drainQueue({ link, connection, info, consume, opening }: DrainOptions): Promise<Drain> {
  const stream = info.config.name;
  const [name, ...replaces] = namesOf(consume);
  const before = opening.cursor === undefined ? undefined : await findConsumer(connection, link.api, stream, consume);
  const begunAt = opening.cursor === undefined ? info.state.last_seq : begunBefore(before, info);
  const proven = await proveStart(connection, link.api, info, opening, 0);
  const start = await withTaken(connection, link.api, info, proven, begunAt);
  const { at, gap } = proven;
  const queue = new QueueConsumer({
    link,
    stream,
    name: name!,
    description: describe(consume, info, begunAt),
    replaces,
    // The proof ends where a gap of missing records begins.
    provenUpTo: gap?.reason === 'expired' ? gap.after.sequence : at.sequence,
    goneUpTo: start.at.sequence,
  });
  return {
    start,
    reader: queue,
    begunAt,
    settle: (sequence) => queue.settle(sequence),
    look: ({ ack_floor }) => queue.confirmed(ack_floor.stream_seq),
    close: () => undefined,
  };
}

async function drainInterest({ link, connection, info, consume, opening, failed }: DrainOptions): Promise<Drain> {
  const stream = info.config.name;
  const [name, ...replaced] = namesOf(consume);
  const { cursor } = opening;
  const before = await findConsumer(connection, link.api, stream, consume);
  const begunAt = cursor === undefined && before === undefined ? info.state.last_seq : begunBefore(before, info);
  const make = (from: number | undefined): Promise<unknown> =>
    call(connection, `${link.api}.CONSUMER.CREATE.${stream}.${name}`, {
      stream_name: stream,
      config: {
        name,
        durable_name: name,
        description: describe(consume, info, begunAt),
        ...(from === undefined
          ? { deliver_policy: 'all' }
          : { deliver_policy: 'by_start_sequence', opt_start_seq: from }),
        ack_policy: 'all',
        headers_only: true,
        max_deliver: -1,
        max_ack_pending: -1,
        replay_policy: 'instant',
      },
    });
  let floor = before?.ack_floor.stream_seq ?? 0;
  // Before anything else: from here on the stream keeps what comes.
  if (cursor === undefined && before === undefined) await make(undefined);
  const now = await streamInfo(connection, link.api, stream);
  const proven = await proveStart(connection, link.api, now, opening, floor);
  if (before?.name !== name && (cursor !== undefined || before !== undefined)) {
    await make(proven.at.sequence + 1);
    floor = 0;
  }
  for (const old of replaced) await deleteConsumer(connection, link.api, stream, old);
  const start = await withTaken(connection, link.api, now, proven, begunAt);
  // Last: nobody would close it after a call that failed, and it would go on to acknowledge for a session that never was.
  const interest = new InterestConsumer({ link, stream, name: name!, replicas: info.config.num_replicas, failed });
  if (proven.at.sequence > floor) interest.settle(proven.at.sequence);
  return {
    start,
    replicas: info.config.num_replicas,
    begunAt,
    settle: (sequence) => interest.settle(sequence),
    look: (reader) => interest.look(reader.name),
    close: () => interest.close(),
  };
}

/** Names of the lane's consumer: the present one first, then the one it had under an earlier name. */
function namesOf({ lane, previously }: Consume): string[] {
  return [consumerName(lane), ...(previously === undefined ? [] : [consumerName(previously)])];
}

function describe({ lane }: Consume, { created }: StreamInfo, begunAt: number): string {
  return `Causeway lane ${lane}, begun at ${created} ${begunAt}`;
}

/** Where the lane began, as the consumer that it had says; 0 if that is gone, or was of another stream of this name. */
function begunBefore(before: ConsumerInfo | undefined, { created }: StreamInfo): number {
  const match = /, begun at (\S+) (\d+)$/.exec(before?.config.description ?? '');
  return match?.[1] === created ? Number(match[2]) : 0;
}

async function findConsumer(
  connection: NatsConnection,
  api: string,
  stream: string,
  consume: Consume,
): Promise<ConsumerInfo | undefined> {
  for (const name of namesOf(consume)) {
    try {
      return await consumerInfo(connection, api, stream, name);
    } catch (error) {
      if (!(error instanceof JetStreamApiError) || error.code !== consumerNotFound) throw error;
    }
  }
  return undefined;
}

/** What is missing behind the cursor was not deleted by limits alone; and if nothing is left, nobody would tell it. */
async function withTaken(
  connection: NatsConnection,
  api: string,
  info: StreamInfo,
  proven: ProvenStart,
  begunAt: number,
): Promise<ProvenStart> {
  if (proven.begins === true || (proven.gap !== undefined && proven.gap.reason !== 'expired')) return proven;
  const at = proven.gap?.after ?? proven.at;
  const { time, ...rest } = proven;
  const last = info.state.last_seq;
  const left = last > at.sequence ? await messageFrom(connection, api, info.config.name, at.sequence + 1) : undefined;
  const missing = left === undefined ? last : left.sequence - 1;
  if (missing <= at.sequence) return proven;
  if (missing <= begunAt) return { at };
  const upTo = { incarnation: at.incarnation, sequence: missing };
  return { ...rest, at: upTo, gap: { after: at, upTo, reason: 'taken' } };
}
