import type { NatsConnection } from 'nats';
import { expect, test } from 'vitest';
import type { NatsLink } from './connection.ts';
import { QueueConsumer } from './queue-consumer.ts';
import { Delivery } from './reader-protocol.ts';

/** A consumer whose acknowledgements are noted, as `sequence.serial`. */
function rig(provenUpTo = 0, goneUpTo = provenUpTo) {
  const acks: string[] = [];
  const connection = {
    isClosed: () => false,
    isDraining: () => false,
    publish: (subject: string) => acks.push(/\.1\.(\d+\.\d+)\.0\.0$/.exec(subject)![1]!),
  } as unknown as NatsConnection;
  const link = { connection } as unknown as NatsLink;
  const consumer = new QueueConsumer({
    link,
    stream: 'S',
    name: 'c',
    description: '',
    replaces: [],
    provenUpTo,
    goneUpTo,
  });
  const prefix = '$JS.ACK.S.c.';
  const deliver = (sequence: number, delivered: number, nanos = sequence) => {
    const delivery = Object.assign(new Delivery(), {
      sequence,
      delivered,
      nanos,
      seconds: 1,
      prefixEnd: prefix.length,
    });
    return consumer.delivered(delivery, Buffer.from(`${prefix}1.${sequence}.${delivered}.1.0`));
  };
  const make = () => consumer.made(connection);
  make();
  return { acks, consumer, deliver, make, link: link as { connection: NatsConnection | undefined } };
}

test('I1: acknowledges what is settled, once, in order, and nothing else', () => {
  const { acks, consumer, deliver } = rig();
  for (const n of [1, 2, 4, 5]) expect(deliver(n, n)).toBe('new');
  consumer.settle(3);
  consumer.settle(2);
  consumer.settle(4);
  expect(acks).toEqual(['1.1', '2.2', '4.4']);
});

test('an acknowledgement that the server has not got is sent again, by the time it should have it', () => {
  const { acks, consumer, deliver } = rig();
  for (const n of [1, 2, 3]) deliver(n, n);
  consumer.settle(2);
  acks.length = 0;
  consumer.confirmed(1);
  expect(acks).toEqual([]);
  consumer.confirmed(1);
  expect(acks).toEqual(['2.2']);
  consumer.confirmed(2);
  expect(acks).toEqual(['2.2']);
});

test('a new consumer delivers again: what is stored is acknowledged, what is on its way is left alone, what is new is handed on', () => {
  const { acks, consumer, deliver, make } = rig();
  for (const n of [1, 2, 3, 4]) deliver(n, n);
  consumer.settle(2);
  acks.length = 0;
  make();
  // The acknowledgement of the second one was lost.
  expect(deliver(2, 1)).toBe('again');
  expect(acks).toEqual(['2.1']);
  expect(deliver(3, 2)).toBe('again');
  consumer.settle(4);
  expect(deliver(4, 3)).toBe('again');
  expect(deliver(5, 4)).toBe('new');
  expect(acks).toEqual(['2.1', '3.2', '4.3']);
});

test('another record under a number that was delivered is noticed, stored or not', () => {
  for (const settled of [0, 2]) {
    const { acks, consumer, deliver, make } = rig();
    for (const n of [1, 2]) deliver(n, n);
    consumer.settle(settled);
    acks.length = 0;
    make();
    expect(deliver(2, 1, 77)).toMatchObject({ reason: 'regressed' });
    expect(acks).toEqual([]);
  }
});

test('what the proof speaks of is acknowledged by the first consumer, and has to be proven again for another', () => {
  const first = rig(10);
  expect([first.deliver(7, 1), first.deliver(10, 2), first.deliver(11, 3)]).toEqual(['again', 'again', 'new']);
  expect(first.acks).toEqual(['7.1', '10.2']);
  first.make();
  expect(first.deliver(7, 1)).toBe('again');
  const second = rig(10);
  second.make();
  expect(second.deliver(7, 1)).toMatchObject({ reason: 'consumer-lost' });
  expect(second.acks).toEqual([]);
});

test('I1: a record that was taken for gone is not acknowledged with the gap when it comes after all', () => {
  for (const settled of [10, 20]) {
    const { acks, consumer, deliver } = rig(10, 20);
    consumer.settle(settled);
    expect(deliver(15, 1)).toMatchObject({ reason: 'consumer-lost' });
    consumer.settle(30);
    expect(acks).toEqual([]);
  }
  expect(rig(10, 20).deliver(21, 1)).toBe('new');
});

test('nothing is acknowledged over a connection that is not there: it comes again', () => {
  const { acks, consumer, deliver, link, make } = rig();
  deliver(1, 1);
  const { connection } = link;
  link.connection = undefined;
  consumer.settle(1);
  expect(acks).toEqual([]);
  link.connection = connection;
  make();
  expect(deliver(1, 1)).toBe('again');
  expect(acks).toEqual(['1.1']);
});

test('I5: the oldest are forgotten, and then have to be proven', () => {
  const { acks, consumer, deliver, make } = rig();
  const many = 100_000;
  for (let n = 1; n <= many; n++) {
    deliver(n, n);
    if (n % 1000 === 0) consumer.settle(n);
  }
  expect(acks).toHaveLength(many);
  expect(acks.at(-1)).toBe(`${many}.${many}`);
  make();
  expect(deliver(many, 1)).toBe('again');
  expect(deliver(5, 2)).toMatchObject({ reason: 'consumer-lost' });
});
