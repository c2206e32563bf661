import fc from 'fast-check';
import { expect, test } from 'vitest';
import { OriginIndex } from './origin-index.ts';
import { decodeSpaces, encodeSpaces, spacesFromJson, spacesToJson } from './origin-snapshot.ts';

const record = fc.record({
  space: fc.constantFrom('a/S/i', 'a/S/j', 'zürich/T/i'),
  sequence: fc.integer({ min: 1, max: 60 }),
  time: fc.integer({ min: 1, max: 2 ** 50 }),
});

test('what is kept is read again as the same', () => {
  fc.assert(
    fc.property(fc.array(record), (records) => {
      const index = new OriginIndex();
      for (const one of records) index.add(one);
      const again = spacesFromJson(spacesToJson(index.spaces))!;
      expect([...again.keys()]).toEqual([...index.spaces.keys()]);
      for (const [name, { set, times }] of again) {
        const space = index.space(name);
        expect([...set.bounds()]).toEqual([...space.set.bounds()]);
        expect([...times.marks(), times.latest]).toEqual([...space.times.marks(), space.times.latest]);
      }
    }),
  );
});

test('anything else is refused', () => {
  const index = new OriginIndex();
  for (const sequence of [3, 5, 9]) index.add({ space: 'a/S/i', sequence, time: 1000 + sequence });
  const whole = Buffer.from(spacesToJson(index.spaces), 'base64');
  for (let cut = 1; cut < whole.length; cut++)
    expect(spacesFromJson(whole.subarray(0, cut).toString('base64')), `${cut}`).toBeUndefined();
  // A name of one letter, an interval from 0 on, no marks.
  const wrong = [undefined, {}, 3, Buffer.from([1, 97, 1, 0, 1, 0, 0]).toString('base64')];
  for (const one of wrong) expect(spacesFromJson(one)).toBeUndefined();
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 40 }), (bytes) => {
      spacesFromJson(Buffer.from(bytes).toString('base64'));
    }),
  );
});

test('coding goes in pieces, however many intervals one space has', () => {
  const index = new OriginIndex();
  for (let n = 1; n <= 50_000; n++) index.space('a/S/i').set.add(3 * n);
  const pieces = [...encodeSpaces(index.spaces)];
  expect(pieces.length).toBeGreaterThan(10);
  const decoding = decodeSpaces(Buffer.concat(pieces));
  let steps = 0;
  let step = decoding.next();
  for (; step.done !== true; step = decoding.next()) steps++;
  expect(steps).toBeGreaterThan(4);
  expect(step.value?.get('a/S/i')?.set.intervals).toBe(50_000);
});
