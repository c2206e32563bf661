import { randomBytes } from 'node:crypto';
import { expect, test } from 'vitest';
import { BatchBuilder } from '../wire/batch.ts';
import { BatchCompressor } from './batch-compressor.ts';

function batch(payload: Uint8Array): BatchBuilder {
  const builder = new BatchBuilder('i', 0, payload.length);
  builder.append(1, 0, 0, Buffer.from('s'), new Uint8Array(), payload);
  return builder;
}

const text = batch(Buffer.alloc(10_000, 'so it goes on '));
const noise = batch(randomBytes(10_000));

test('only what shrinks is compressed, and only on a line that is full', () => {
  const compressor = new BatchCompressor();
  expect(compressor.compress(text, false)).toBeUndefined();
  expect(compressor.compress(text, true)!.length).toBeLessThan(500);
  expect(compressor.compress(batch(Buffer.alloc(200, 'x')), true)).toBeUndefined();
  expect(compressor.compress(batch(Buffer.alloc(300_000, 'x')), true)).toBeUndefined();
});

test('where nothing shrinks, it is seldom tried', () => {
  const compressor = new BatchCompressor();
  expect(compressor.compress(noise, true)).toBeUndefined();
  for (let i = 0; i < 15; i++) expect(compressor.compress(text, true)).toBeUndefined();
  expect(compressor.compress(text, true)).toBeDefined();
});
