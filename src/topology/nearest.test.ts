import { expect, it } from 'vitest';
import { nearest } from './nearest.ts';

const keys = ['cluster', 'listen', 'links', 'monitor', 'to'];

it.each([
  ['clutser', 'cluster'],
  ['Listen', 'listen'],
  ['link', 'links'],
  ['monitoring', 'monitor'],
  ['ot', 'to'],
  ['gateway', undefined],
  ['x', undefined],
  ['', undefined],
  ['cluster'.repeat(20), undefined],
])('%j is probably %j', (text, expected) => {
  expect(nearest(text, keys)).toBe(expected);
});
