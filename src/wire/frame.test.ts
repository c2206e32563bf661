import { expect, test } from 'vitest';
import { type Ack, decodeFrame, encodeFrame } from './frame.ts';

const ack: Ack = {
  kind: 'ack',
  epoch: 7,
  stored: { incarnation: 'i', sequence: 5 },
  creditLimit: 300,
  arrivedBytes: 2 ** 40,
  arrivedMs: 300,
};
/** As a peer of version 2 sends it. */
const before = '220c080712050a0169100518ac02';

test('an Ack says how much has arrived; a peer that does not know that skips it', () => {
  expect(decodeFrame(encodeFrame(ack))).toEqual(ack);
  const more = encodeFrame(ack).toString('hex');
  expect(more.slice(4, 4 + before.length - 4)).toBe(before.slice(4));
  expect(more.slice(4 + before.length - 4)).toBe('2080808080802028ac02');
});

test('an Ack of an older peer says nothing of what has arrived', () => {
  expect(decodeFrame(Buffer.from(before, 'hex'))).toEqual({ ...ack, arrivedBytes: 0, arrivedMs: 0 });
});
