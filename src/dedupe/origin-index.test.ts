import { expect, test } from 'vitest';
import { OriginIndex } from './origin-index.ts';

test('a relayed record is held once, whatever path it comes over', () => {
  const index = new OriginIndex();
  expect(index.addRelayed('plant/S/i1/7/1700000000000000001')).toBe(true);
  expect(index.addRelayed('plant/S/i1/7/1700000000000000001')).toBe(false);
  expect(index.space('plant/S/i1').add(7)).toBe(false);
  expect(index.addRelayed('plant/S/i2/7/1700000000000000001')).toBe(true);
});

test('a record whose append did not come to pass may be appended again', () => {
  const index = new OriginIndex();
  index.addRelayed('plant/S/i1/7/1');
  index.deleteRelayed('plant/S/i1/7/1');
  expect(index.addRelayed('plant/S/i1/7/1')).toBe(true);
});
