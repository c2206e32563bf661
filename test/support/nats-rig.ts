/** What tests of brokers/nats share: links, streams, records on a real server. */
import { jetstream } from '@nats-io/jetstream';
import { connect, createInbox, type NatsConnection } from 'nats';
import { call, type StreamInfo, streamInfo } from '../../src/brokers/nats/api.ts';
import { NatsLink } from '../../src/brokers/nats/connection.ts';
import { RawHeaders } from '../../src/brokers/nats/raw-message.ts';
import { silentLogger } from '../../src/lib/logger.ts';
import type { NatsPlan } from '../../src/topology/plan.ts';
import { until } from './until.ts';

export const api = '$JS.API';

export interface LinkFixture extends AsyncDisposable {
  readonly link: NatsLink;
}

/** A started link; waits until it is connected unless told not to. */
export async function openLink(
  servers: string | readonly string[],
  plan: Omit<NatsPlan, 'servers'> = {},
  waitForIt = true,
): Promise<LinkFixture> {
  const link = new NatsLink({ plan: { ...plan, servers: [servers].flat() }, name: 'test', log: silentLogger });
  link.start();
  const fixture = { link, [Symbol.asyncDispose]: () => link.stop() };
  if (waitForIt) await untilUp(fixture);
  return fixture;
}

export type Client = NatsConnection & AsyncDisposable;

/** A user whose name is also the password, for servers that demand one. */
export function asUser(name: string): Pick<NatsPlan, 'user' | 'password'> {
  const variable = `CAUSEWAY_TEST_USER_${name.toUpperCase()}`;
  process.env[variable] = name;
  return { user: { env: variable }, password: { env: variable } };
}

/** A plain client, for what the application would do; `user` as for `asUser`. */
export async function client(servers: string | readonly string[], user?: string): Promise<Client> {
  const nc = await connect({
    servers: [servers].flat() as string[],
    ...(user === undefined ? {} : { user, pass: user }),
    reconnectTimeWait: 50,
    maxReconnectAttempts: -1,
    waitOnFirstConnect: true,
  });
  return Object.assign(nc, { [Symbol.asyncDispose]: () => nc.close() });
}

/** Waits until a link has a connection, for instance after its server came back. */
export async function untilUp({ link }: LinkFixture): Promise<void> {
  await until(() => link.connection !== undefined, { what: () => `a connection: ${link.failure?.detail}` });
}

/** Makes a stream and waits until it can be used. */
export async function makeStream(
  nc: NatsConnection,
  config: Record<string, unknown> & { name: string },
): Promise<void> {
  await until(() => call(nc, `${api}.STREAM.CREATE.${config.name}`, { subjects: [`${config.name}.>`], ...config }), {
    what: `stream ${config.name}`,
  });
}

export async function changeStream(nc: NatsConnection, stream: string, change: Record<string, unknown>): Promise<void> {
  const { config } = await streamInfo(nc, api, stream);
  await call(nc, `${api}.STREAM.UPDATE.${stream}`, { ...config, ...change });
}

export function infoOf(nc: NatsConnection, stream: string): Promise<StreamInfo> {
  return streamInfo(nc, api, stream);
}

/** What a client publishes while it has no connection is thrown away. */
async function untilConnected(nc: NatsConnection): Promise<void> {
  await until(async () => (await nc.rtt()) >= 0, { what: 'a connection' });
}

export interface Draft {
  readonly subject: string;
  readonly payload: Uint8Array;
  readonly headers?: Uint8Array;
}

/** Publishes drafts number `from` to `to`, in order, each acknowledged by JetStream; many at a time. */
export async function publishAll(
  nc: NatsConnection,
  from: number,
  to: number,
  draft: (number: number) => Draft,
): Promise<void> {
  const windowRecords = 1000;
  const windowBytes = 4 * 1024 * 1024;
  await untilConnected(nc);
  const inbox = createInbox();
  let next = from;
  let waiting = 0;
  let waitingBytes = 0;
  const sizes: number[] = [];
  await new Promise<void>((resolve, reject) => {
    const send = () => {
      while (next <= to && waiting < windowRecords && waitingBytes < windowBytes) {
        const { subject, payload, headers } = draft(next++);
        sizes.push(payload.length);
        waiting++;
        waitingBytes += payload.length;
        nc.publish(subject, payload, {
          reply: inbox,
          ...(headers === undefined ? {} : { headers: new RawHeaders(headers).asHeaders }),
        });
      }
    };
    const subscription = nc.subscribe(inbox, {
      callback: (error, message) => {
        const answer = error === null ? message.string() : String(error);
        waiting--;
        waitingBytes -= sizes.shift() ?? 0;
        if (!answer.includes('"seq":') || answer.includes('"error"')) reject(new Error(`publish refused: ${answer}`));
        send();
        if (waiting === 0 && next > to) resolve();
      },
    });
    send();
    if (waiting === 0) resolve();
    nc.closed().then(() => reject(new Error('connection closed')), reject);
    void subscription.closed.catch(reject);
  });
}

/** A draft whose payload says its number; `bytes` long at least. */
export function numbered(subject: string, bytes = 0): (number: number) => Draft {
  return (number) => {
    const text = String(number);
    return { subject, payload: Buffer.alloc(Math.max(bytes, text.length), text.padEnd(Math.max(bytes, text.length))) };
  };
}

export function numberOf(payload: Uint8Array): number {
  return Number.parseInt(Buffer.from(payload.subarray(0, 20)).toString('latin1'), 10);
}

export interface StoredRecord {
  readonly sequence: number;
  readonly subject: string;
  readonly text: string;
  /** Values of a header, in order. */
  header(name: string): readonly string[];
}

/** Everything that a stream holds at this moment, read by the official client. */
export async function readAll(nc: NatsConnection, stream: string): Promise<StoredRecord[]> {
  await untilConnected(nc);
  const { state } = await until(() => infoOf(nc, stream), { what: `stream ${stream}` });
  const records: StoredRecord[] = [];
  if (state.messages === 0) return records;
  const consumer = await jetstream(nc).consumers.get(stream);
  const messages = await consumer.consume({ max_messages: 1000 });
  for await (const message of messages) {
    const { headers } = message;
    records.push({
      sequence: message.seq,
      subject: message.subject,
      text: message.string(),
      header: (name) => headers?.values(name) ?? [],
    });
    if (message.seq >= state.last_seq || message.info.pending === 0) break;
  }
  return records;
}
