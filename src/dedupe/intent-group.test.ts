import fc from 'fast-check';
import { expect, it } from 'vitest';
import { decodeGroup, encodeGroup } from './intent-group.ts';

const number = fc.integer({ min: 0, max: 2 ** 50 });
const record = fc
  .record({
    lane: fc.constantFrom('l/a/h', 'l/b/h'),
    incarnation: fc.constantFrom('i', 'j'),
    sequence: number,
    space: fc.constantFrom('a/S/i', 'höher/S/i'),
    originSequence: number,
    originTime: number,
    seconds: fc.integer({ min: 0, max: 2 ** 32 }),
    nanos: fc.integer({ min: 0, max: 999_999_999 }),
    back: fc.integer({ min: 0, max: 1000 }),
  })
  .map(({ back, ...rest }) => ({ ...rest, previous: Math.max(0, rest.sequence - back) }));
const group = fc.record({
  number,
  base: number,
  known: number,
  othersMs: number,
  records: fc.array(fc.option(record, { nil: undefined, freq: 9 }), { maxLength: 40 }),
});

it('reads back what was written', () => {
  fc.assert(
    fc.property(group, (one) => {
      expect(decodeGroup(encodeGroup(one))).toEqual(one);
    }),
  );
});

it('takes about ten bytes for a record among its like', () => {
  const records = Array.from({ length: 1000 }, (_, i) => ({
    lane: 'telemetry/plant-a/hub',
    incarnation: 'x4j2',
    sequence: 900_000 + i,
    previous: 899_999 + i,
    space: 'plant-a/TELEMETRY/x4j2',
    originSequence: 900_000 + i,
    originTime: 1_790_000_000_000_000 + Math.floor((i * 999_000) / 1000),
    seconds: 1_790_000_000,
    nanos: i * 999_000,
  }));
  expect(encodeGroup({ number: 5, base: 1e9, known: 1e9, othersMs: 0, records }).length).toBeLessThan(11_000);
});

it('takes nothing else for a group', () => {
  const records = [undefined, undefined];
  const bytes = encodeGroup({ number: 1, base: 2, known: 2, othersMs: 0, records });
  for (const wrong of [bytes.subarray(1), bytes.subarray(0, -1), Buffer.concat([bytes, bytes]), Buffer.from([255])])
    expect(decodeGroup(wrong)).toBeUndefined();
});
