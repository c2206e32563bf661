import fc from 'fast-check';
import { expect, test } from 'vitest';
import { OriginIndex } from './origin-index.ts';

test('a relayed record is held once, whatever path it comes over', () => {
  const index = new OriginIndex();
  expect(index.addRelayed('plant/S/i1/7/1700000000000000001')).toBe(true);
  expect(index.addRelayed('plant/S/i1/7/1700000000000000001')).toBe(false);
  expect(index.add({ space: 'plant/S/i1', sequence: 7, time: 1_700_000_000_000_000 })).toBe(false);
  expect(index.addRelayed('plant/S/i1/8/1700000000000005001')).toBe(true);
});

test('a record whose append did not come to pass may be appended again', () => {
  const index = new OriginIndex();
  index.addRelayed('plant/S/i1/7/1');
  index.deleteRelayed('plant/S/i1/7/1');
  expect(index.addRelayed('plant/S/i1/7/1')).toBe(true);
});

test('an identity that is no longer remembered by text is still held', () => {
  const index = new OriginIndex();
  const identity = (n: number) => `plant/S/i1/${n}/17000000000000000${n}`;
  for (let n = 1; n <= 100_100; n++) index.addRelayed(identity(n));
  expect(index.size.recent).toBe(100_000);
  for (const n of [1, 50, 100, 100_100]) expect(index.addRelayed(identity(n))).toBe(false);
  expect(index.size).toMatchObject({ spaces: 1, intervals: 1 });
});

test('a copy stands on its own, and an index begins anew with what it is given', () => {
  const index = new OriginIndex();
  index.addRelayed('plant/S/i1/7/1700000000000000001');
  const copy = index.copy();
  index.add({ space: 'plant/S/i1', sequence: 8, time: 0 });
  expect(copy.space('plant/S/i1').has(8)).toBe(false);
  index.addRelayed('edge/S/i1/3/1700000000000000001');
  index.restore(copy.spaces);
  expect(index.addRelayed('plant/S/i1/7/1700000000000000001')).toBe(false);
  expect(index.addRelayed('edge/S/i1/3/1700000000000000001')).toBe(true);
});

test('a record that somebody else noted is held no longer than that, however often it was asked for', () => {
  const index = new OriginIndex();
  const identity = 'plant/S/i1/7/1700000000000000001';
  const seven = { space: 'plant/S/i1', sequence: 7, time: 1_700_000_000_000_000 };
  index.add(seven);
  expect([index.addRelayed(identity), index.addRelayed(identity)]).toEqual([false, false]);
  index.delete(seven);
  expect(index.addRelayed(identity)).toBe(true);
  index.deleteRelayed(identity);
  expect(index.add(seven)).toBe(true);
});

/** A record that its source stored in a second of its own, under the label that a lane gave the source. */
const at = (sequence: number, second: number, label: string) => ({
  space: `a/S/${label}`,
  sequence,
  time: second * 1e6,
});

test('I4: lanes that call one stream by different labels bring the same records, however late and from wherever they begin', () => {
  for (const total of [20, 10_000]) {
    const index = new OriginIndex();
    for (let n = 1; n <= total; n++) expect(index.add(at(n, n, 'one'))).toBe(true);
    for (let n = 1; n <= total; n++) expect(index.add(at(n, n, 'two'))).toBe(false);
    for (let n = total / 2; n <= total; n++) expect(index.add(at(n, n, 'three'))).toBe(false);
    expect(index.add(at(total + 1, total + 1, 'two'))).toBe(true);
    expect(index.add(at(total + 1, total + 1, 'one'))).toBe(false);
    // Taken back, it may be stored under either.
    index.delete(at(total + 1, total + 1, 'two'));
    expect(index.add(at(total + 1, total + 1, 'one'))).toBe(true);
  }
});

test('I3: numbers that a source used again are other records, under a new label as under the one it had', () => {
  for (const label of ['new', 'old']) {
    const index = new OriginIndex();
    for (let n = 1; n <= 100; n++) index.add(at(n, n, 'old'));
    // It lost what followed 60. Each of them comes over two ways.
    for (let n = 61; n <= 120; n++) {
      expect(index.add(at(n, 1000 + n, label)), `${label} ${n}`).toBe(true);
      expect(index.add(at(n, 1000 + n, label)), `${label} ${n}`).toBe(false);
    }
    for (let n = 1; n <= 100; n++) expect(index.add(at(n, n, 'old'))).toBe(false);
    index.delete(at(70, 1070, label));
    expect(index.add(at(70, 70, 'old'))).toBe(false);
    expect(index.add(at(70, 1070, label))).toBe(true);
  }
});

test('I3: among the newest records time decides to the microsecond, be the clock of the source right or not', () => {
  const index = new OriginIndex();
  for (let n = 1; n <= 3000; n++) index.add({ space: 'a/S/old', sequence: n, time: n * 1000 });
  for (let n = 2900; n <= 3000; n++) {
    expect(index.add({ space: 'a/S/new', sequence: n, time: n * 1000 - 1 }), `${n}`).toBe(true);
    expect(index.add({ space: 'a/S/newer', sequence: n, time: n * 1000 }), `${n}`).toBe(false);
  }
});

test('I3: the same under one label, if a way was slow to bring what was there before', () => {
  const index = new OriginIndex();
  for (let n = 1; n <= 33; n++) index.add(at(n, n, 'one'));
  for (let n = 34; n <= 50; n++) index.add(at(n, 100 + n, 'one'));
  expect([index.add(at(33, 120, 'one')), index.add(at(33, 120, 'one')), index.add(at(33, 33, 'one'))]).toEqual([
    true,
    false,
    false,
  ]);
});

test('I3: nor does it matter in which order they came, or that a number had no record', () => {
  const index = new OriginIndex();
  index.addEmpty('a/S/old', 1, 100);
  for (const n of [2, 90, 50, 99, 51]) index.add({ space: 'b/S/old', sequence: n, time: n * 1000 });
  for (const n of [2, 90, 99]) index.add({ space: 'a/T/old', sequence: n, time: n * 1000 });
  index.addEmpty('a/T/old', 1, 100);
  for (const n of [2, 50, 51, 90]) expect(index.add({ space: 'b/S/new', sequence: n, time: n * 1000 + 1 })).toBe(true);
  for (const n of [2, 50, 51, 90]) expect(index.add({ space: 'b/S/newer', sequence: n, time: n * 1000 })).toBe(false);
  expect(index.add({ space: 'a/T/new', sequence: 50, time: 50_000 })).toBe(true);
  expect(index.add({ space: 'a/S/new', sequence: 50, time: 50_000 })).toBe(true);
});

test('I3: a number that had no record is in use when the source uses it again, even if its clock was set back', () => {
  const index = new OriginIndex();
  index.addEmpty('a/T/one', 1, 10);
  expect([index.add({ space: 'a/T/one', sequence: 10, time: 1 }), index.add(at(5, 100, 'one'))]).toEqual([true, true]);
  index.addEmpty('a/S/one', 6, 10);
  for (const n of [6, 10]) expect([index.add(at(n, 50, 'one')), index.add(at(n, 50, 'one'))]).toEqual([true, false]);
  expect([index.add(at(5, 100, 'one')), index.add(at(5, 50, 'one'))]).toEqual([false, true]);
});

test('what is kept of times is bounded', () => {
  const index = new OriginIndex();
  for (let n = 1; n <= 20_000; n++) index.add(at(n, n, 'one'));
  expect(index.space('a/S/one').times.size).toBeLessThanOrEqual(256);
});

test('with records under any labels, as the lanes of a stream bring them that is cut and grows, each is held once', () => {
  const step = fc.oneof(
    fc.record({ do: fc.constant('grow' as const), count: fc.integer({ min: 1, max: 9 }) }),
    fc.record({ do: fc.constant('cut' as const), count: fc.integer({ min: 1, max: 9 }) }),
    fc.record({ do: fc.constant('carry' as const), count: fc.integer({ min: 0, max: 3 }) }),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
      const index = new OriginIndex();
      let stream: number[] = [];
      let clock = 0;
      let cuts = 0;
      const stored = new Set<string>();
      for (const { do: what, count } of steps) {
        if (what === 'grow') stream = [...stream, ...Array.from({ length: count }, () => ++clock)];
        if (what === 'cut') {
          stream = stream.slice(0, -count);
          cuts++;
        }
        // One of several lanes; each of them noticed every cut, and calls what is left by a label of its own.
        if (what === 'carry')
          for (const [i, second] of stream.entries()) {
            const key = `${i}/${second}`;
            expect(index.add(at(i + 1, second, `${cuts}-${count}`))).toBe(!stored.has(key));
            stored.add(key);
          }
      }
    }),
  );
});
