import { JetStreamApiError } from '@nats-io/jetstream';
import type { NatsConnection } from 'nats';

/** While a cluster elects a leader nobody answers at all; whoever asks tries again soon. */
const timeoutMs = 3000;
/** There is no such consumer (server error). */
export const consumerNotFound = 10014;

/** The part of a stream's information that Causeway uses (STREAM.INFO). */
export interface StreamInfo {
  readonly created: string;
  /** When this was so, by the server's clock; from 2.10 on. */
  readonly ts?: string;
  readonly config: {
    readonly name: string;
    readonly subjects?: readonly string[];
    readonly retention: 'limits' | 'interest' | 'workqueue';
    readonly max_msgs_per_subject?: number;
    /** In nanoseconds; 0 for none. */
    readonly max_age?: number;
    readonly max_bytes?: number;
    readonly max_msgs?: number;
    readonly num_replicas: number;
    readonly discard?: 'old' | 'new';
    readonly no_ack?: boolean;
    readonly sealed?: boolean;
    readonly allow_msg_ttl?: boolean;
    readonly allow_rollup_hdrs?: boolean;
    readonly allow_msg_counter?: boolean;
    readonly mirror?: unknown;
    readonly sources?: readonly { readonly name: string; readonly external?: { readonly api: string } | null }[] | null;
  };
  readonly state: {
    readonly messages: number;
    readonly bytes: number;
    readonly first_seq: number;
    readonly last_seq: number;
  };
}

/** A stored message as STREAM.MSG.GET gives it. */
export interface StoredMessage {
  readonly subject: string;
  readonly sequence: number;
  readonly seconds: number;
  readonly nanos: number;
  readonly headers: Buffer;
  readonly payload: Buffer;
}

interface ApiAnswer {
  readonly error?: { readonly code: number; readonly err_code: number; readonly description: string };
}

/** A call of the JetStream API. Throws JetStreamApiError for what the server refuses, the client's errors otherwise. */
export async function call<T>(nc: NatsConnection, subject: string, body?: unknown): Promise<T> {
  const message = await nc.request(subject, body === undefined ? undefined : JSON.stringify(body), {
    timeout: timeoutMs,
  });
  const answer = message.json<T & ApiAnswer>();
  if (answer.error !== undefined) throw new JetStreamApiError(answer.error);
  return answer;
}

export function streamInfo(nc: NatsConnection, api: string, stream: string): Promise<StreamInfo> {
  return call<StreamInfo>(nc, `${api}.STREAM.INFO.${stream}`);
}

/** The part of a consumer's information that Causeway uses (CONSUMER.INFO). */
export interface ConsumerInfo {
  readonly name: string;
  readonly config: { readonly description?: string };
  readonly delivered: { readonly consumer_seq: number; readonly stream_seq: number };
  /** Everything up to there is acknowledged. */
  readonly ack_floor: { readonly stream_seq: number };
  /** Delivered and not acknowledged. */
  readonly num_ack_pending: number;
  readonly num_pending: number;
}

export function consumerInfo(nc: NatsConnection, api: string, stream: string, name: string): Promise<ConsumerInfo> {
  return call<ConsumerInfo>(nc, `${api}.CONSUMER.INFO.${stream}.${name}`);
}

/** Removes a consumer; one that is not there is as good. */
export async function deleteConsumer(nc: NatsConnection, api: string, stream: string, name: string): Promise<void> {
  try {
    await call(nc, `${api}.CONSUMER.DELETE.${stream}.${name}`);
  } catch (error) {
    if (!(error instanceof JetStreamApiError) || error.code !== consumerNotFound) throw error;
  }
}

/** The message at a sequence, asked of the stream's leader; undefined if there is none there. */
export function messageAt(
  nc: NatsConnection,
  api: string,
  stream: string,
  sequence: number,
): Promise<StoredMessage | undefined> {
  return getMessage(nc, api, stream, { seq: sequence });
}

/** The first message at a sequence or behind it; undefined if there is none. */
export function messageFrom(
  nc: NatsConnection,
  api: string,
  stream: string,
  sequence: number,
): Promise<StoredMessage | undefined> {
  return getMessage(nc, api, stream, { seq: sequence, next_by_subj: '>' });
}

/** The last message under a subject; undefined if there is none. */
export function lastMessageOn(
  nc: NatsConnection,
  api: string,
  stream: string,
  subject: string,
): Promise<StoredMessage | undefined> {
  return getMessage(nc, api, stream, { last_by_subj: subject });
}

async function getMessage(
  nc: NatsConnection,
  api: string,
  stream: string,
  query: { readonly seq: number; readonly next_by_subj?: string } | { readonly last_by_subj: string },
): Promise<StoredMessage | undefined> {
  interface Answer {
    readonly message: {
      readonly subject: string;
      readonly seq: number;
      readonly hdrs?: string;
      readonly data?: string;
      readonly time: string;
    };
  }
  try {
    const { message } = await call<Answer>(nc, `${api}.STREAM.MSG.GET.${stream}`, query);
    return {
      subject: message.subject,
      sequence: message.seq,
      ...parseTime(message.time),
      headers: Buffer.from(message.hdrs ?? '', 'base64'),
      payload: Buffer.from(message.data ?? '', 'base64'),
    };
  } catch (error) {
    if (error instanceof JetStreamApiError && (error.code === 10037 || error.code === 10043)) return undefined;
    throw error;
  }
}

/** RFC 3339 with up to nine fractional digits, as Go writes it. */
export function parseTime(text: string): { readonly seconds: number; readonly nanos: number } {
  const match = /^(.{19})(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)$/.exec(text);
  if (match === null) throw new Error(`not a time: ${text}`);
  return {
    seconds: Math.floor(Date.parse(`${match[1]}${match[3]}`) / 1000),
    nanos: Number((match[2] ?? '').padEnd(9, '0')),
  };
}
