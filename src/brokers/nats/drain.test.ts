import type { NatsConnection } from 'nats';
import { expect, test } from 'vitest';
import { payloadDigest } from '../../wire/position.ts';
import type { NatsLink } from './connection.ts';
import { beginDrain } from './drain.ts';

const time = '2026-01-01T00:00:00Z';
const seconds = Date.parse(time) / 1000;

test('I1: an opening that fails on the way leaves nothing behind that acknowledges', async () => {
  const asked: string[] = [];
  const subjects: Readonly<Record<string, (body: { readonly seq: number }) => object>> = {
    '$JS.API.CONSUMER.INFO.S.causeway_l_a_b': () => ({
      name: 'causeway_l_a_b',
      config: {},
      ack_floor: { stream_seq: 1 },
    }),
    '$JS.API.STREAM.INFO.S': () => info,
    '$JS.API.STREAM.MSG.GET.S': ({ seq }) => {
      // The record at the cursor is there; of what is behind it nobody tells.
      if (seq > 5) throw new Error('the connection is lost');
      return { message: { subject: 's', seq, data: '', time } };
    },
  };
  const connection = {
    request: async (subject: string, body?: string) => {
      asked.push(subject);
      const answer = subjects[subject]!(JSON.parse(body ?? '{}') as { seq: number });
      return { json: () => answer };
    },
  } as unknown as NatsConnection;
  const link = { api: '$JS.API', connection, require: () => connection } as unknown as NatsLink;
  const info = {
    created: time,
    config: { name: 'S', retention: 'interest' as const, num_replicas: 1 },
    state: { messages: 5, bytes: 500, first_seq: 2, last_seq: 9 },
  };
  const cursor = { incarnation: Date.parse(time).toString(36), sequence: 5 };
  const witnesses = [{ position: cursor, seconds, nanos: 0, digest: payloadDigest(Buffer.alloc(0)) }];
  const failed = () => undefined;
  const opening = { cursor, witnesses };
  await expect(beginDrain({ link, connection, info, consume: { lane: 'l/a/b' }, opening, failed })).rejects.toThrow(
    'the connection is lost',
  );
  // Once, to see what is there; a consumer that acknowledges would look too, before anything else.
  expect(asked.filter((subject) => subject.startsWith('$JS.API.CONSUMER.'))).toHaveLength(1);
});
