import { expect, test } from 'vitest';
import { readArguments } from './arguments.ts';

test('without a word it is the throughput that is measured; every other bench has its name', () => {
  expect(readArguments([])).toMatchObject({ bench: 'throughput', write: false, options: { repeat: 5 } });
  expect(readArguments(['--quick', '--write'])).toMatchObject({
    bench: 'throughput',
    write: true,
    options: { repeat: 2 },
  });
  expect(readArguments(['outage', '--rounds', '2', '--cuts', 'packets'])).toEqual({
    bench: 'outage',
    write: false,
    options: { cuts: ['packets'], rounds: 2, cutSeconds: 30 },
  });
  expect(readArguments(['lines', '--lines', '1mbit,200ms', '--only', 'sources'])).toMatchObject({
    bench: 'lines',
    options: { lines: ['1mbit', '200ms'], systems: ['sources'], payloads: ['json', 'random'] },
  });
  expect(readArguments(['soak', '--minutes', '3'])).toEqual({ bench: 'soak', write: false, options: { minutes: 3 } });
});

test.each([
  [['speed'], 'there is no bench "speed"'],
  [['outage', '--cuts', 'reset,frozen'], '--cuts takes reset, silent, packets, not "frozen"'],
  [['lines', '--only', 'mirror'], '--only takes causeway, sources, not "mirror"'],
  [['soak', '--minutes', '0.5'], '--minutes takes whole numbers from 1 to 100000, not "0.5"'],
  [['soak', '--quick'], "Unknown option '--quick'"],
])('%j is refused with words', (args, message) => {
  expect(() => readArguments(args)).toThrow(message);
});
