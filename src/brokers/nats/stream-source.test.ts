import { describe, expect, test } from 'vitest';
import { readStreamSource, sourceIndex } from './stream-source.ts';

const block = (...lines: string[]): Buffer => Buffer.from(`NATS/1.0\r\n${lines.join('\r\n')}\r\n\r\n`);

describe('Nats-Stream-Source as servers write it', () => {
  test.each([
    [
      '2.9, another domain',
      'TELEMETRY:LTXMcqHH 5',
      { stream: 'TELEMETRY', index: 'TELEMETRY:LTXMcqHH', sequence: 5, route: undefined },
    ],
    ['2.9, the same account', 'PLAIN 3', { stream: 'PLAIN', index: 'PLAIN', sequence: 3, route: undefined }],
    ['2.10', 'PLAIN 3 > >', { stream: 'PLAIN', index: 'PLAIN', sequence: 3, route: '> >' }],
    ['2.10, filter', 'S:LTXMcqHH 5 a.b >', { stream: 'S', index: 'S:LTXMcqHH', sequence: 5, route: 'a.b >' }],
    [
      '2.15, transform',
      'S:LTXMcqHH 5 telemetry.> fleet.x.> telemetry.a WFHK5g96',
      { stream: 'S', index: 'S:LTXMcqHH', sequence: 5, route: 'telemetry.> fleet.x.>' },
    ],
    [
      'several transforms',
      'S 7 a.>\fb.> x.>\fy.> a.1',
      { stream: 'S', index: 'S', sequence: 7, route: 'a.>\fb.> x.>\fy.>' },
    ],
    ['a name beyond ASCII', 'MÜNCHEN 9 > >', { stream: 'MÜNCHEN', index: 'MÜNCHEN', sequence: 9, route: '> >' }],
  ])('%s', (_name, value, expected) => {
    expect(readStreamSource(block('A: b', `Nats-Stream-Source: ${value}`, 'C: d'))).toEqual(expected);
  });

  test.each([
    ['no headers', Buffer.alloc(0)],
    ['none of them', block('A: b')],
    ['an application’s own text', block('A: Nats-Stream-Source: S 5')],
    ['not of that form', block('Nats-Stream-Source: nonsense')],
  ])('%s: not sourced', (_name, bytes) => {
    expect(readStreamSource(bytes)).toBeUndefined();
  });
});

test('the index of a source is what servers make of its stream and API prefix', () => {
  expect(sourceIndex('TELEMETRY', '$JS.plant-a.API')).toBe('TELEMETRY:LTXMcqHH');
  expect(sourceIndex('PLAIN', undefined)).toBe('PLAIN');
});
