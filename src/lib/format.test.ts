import { describe, expect, it } from 'vitest';
import { formatBytes, formatCount, formatDuration, orUnknown } from './format.ts';

describe('formatDuration', () => {
  it.each([
    [0, '0ms'],
    [950, '950ms'],
    [4_000, '4s'],
    [125_000, '2m 5s'],
    [3_600_000, '1h'],
    [3_601_000, '1h'],
    [273_600_000, '3d 4h'],
    [-1_500, '-1s'],
  ])('%d ms is %s', (ms, text) => {
    expect(formatDuration(ms)).toBe(text);
  });
});

describe('formatBytes and formatCount', () => {
  it('uses binary units and separates thousands', () => {
    expect([0, 1023, 1536, 5 * 1024 ** 3].map(formatBytes)).toEqual(['0 B', '1023 B', '1.5 KiB', '5.0 GiB']);
    expect(formatCount(1_234_567)).toBe('1,234,567');
  });
});

describe('orUnknown', () => {
  it('keeps zero apart from unknown', () => {
    expect(orUnknown(0, formatCount)).toBe('0');
    expect(orUnknown(undefined, formatCount)).toBe('unknown');
  });
});
