import { expect, test } from 'vitest';
import { Delivery, parseDelivery, parseStatus } from './reader-protocol.ts';

const expected = { sequence: 123456, delivered: 789, seconds: 1795365902, nanos: 459767676, pending: 42 };

test.each([
  ['the old form', '$JS.ACK.S.causeway-1.1.123456.789.1795365902459767676.42'],
  ['the form with domain and account', '$JS.ACK.hub.AbCdEf.S.causeway-1.1.123456.789.1795365902459767676.42'],
  ['the same with a random token', '$JS.ACK.hub.AbCdEf.S.causeway-1.1.123456.789.1795365902459767676.42.x9'],
])('a delivery, %s', (_name, reply) => {
  const delivery = new Delivery();
  parseDelivery(Buffer.from(reply), delivery);
  const prefixEnd = reply.indexOf('1.123456');
  expect({ ...delivery }).toEqual({ ...expected, prefixEnd });
});

test('a reply subject that is none of them is an error', () => {
  expect(() => parseDelivery(Buffer.from('_INBOX.a.b'), new Delivery())).toThrow('not the reply subject of a delivery');
});

test.each([
  ['NATS/1.0 100 Idle Heartbeat\r\nNats-Last-Consumer: 1\r\n\r\n', 100, 'Idle Heartbeat', undefined],
  [
    'NATS/1.0 409 Message Size Exceeds MaxBytes\r\nNats-Pending-Messages: 3\r\nNats-Pending-Bytes: 869\r\n\r\n',
    409,
    'Message Size Exceeds MaxBytes',
    869,
  ],
  ['NATS/1.0 503\r\n\r\n', 503, '', undefined],
  ['NATS/1.0 409 Consumer Deleted\r\n\r\n', 409, 'Consumer Deleted', undefined],
])('status %j', (block, code, text, pendingBytes) => {
  expect(parseStatus(Buffer.from(block))).toEqual({ code, text, pendingBytes });
});
