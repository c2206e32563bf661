import { expect, test } from 'vitest';
import { count, median, renderRatios, renderTable, type SizeResult, sizeName } from './report.ts';

const figures = (recordsPerSecond: number, steadyPerSecond: number) => ({
  recordsPerSecond,
  steadyPerSecond,
  bytesPerSecond: 0,
  cpuMicrosPerRecord: new Map(),
  peakRssBytes: new Map(),
});

test('the median is the one in the middle, or half way between the two', () => {
  expect(median([3])).toBe(3);
  expect(median([9, 1, 5])).toBe(5);
  expect(median([10, 1, 2, 4])).toBe(3);
});

test('a table is as wide as its widest cells, with words to the left and figures to the right', () => {
  const table = renderTable(
    ['a', 'system', 'n'],
    [
      ['128 B', 'x', '1'],
      ['1', 'causeway', '12,345'],
    ],
  );
  expect(table.split('\n')).toEqual([
    '| a     | system   |      n |',
    '| ----- | -------- | -----: |',
    '| 128 B | x        |      1 |',
    '| 1     | causeway | 12,345 |',
  ]);
});

test('ratios are those of pairs, and a pair of which one failed is none', () => {
  const result: SizeResult = {
    payloadBytes: 1024,
    records: 10,
    runs: {
      causeway: [figures(50, 60), undefined, figures(30, 30), figures(100, 10)],
      sources: [figures(100, 100), figures(1, 1), figures(100, 50), undefined],
    },
  };
  const [, , row] = renderRatios([result]).split('\n');
  expect(row?.split('|').map((cell) => cell.trim())).toEqual([
    '',
    '1 KiB',
    '0.40',
    '0.30 - 0.50',
    '0.60',
    '0.60 - 0.60',
    '2',
    '',
  ]);
  expect(renderRatios([{ ...result, runs: { ...result.runs, sources: [] } }])).toBe('');
});

test('counts and sizes read well', () => {
  expect([count(1234567.4), sizeName(128), sizeName(16 * 1024)]).toEqual(['1,234,567', '128 B', '16 KiB']);
});
