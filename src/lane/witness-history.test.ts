import { expect, test } from 'vitest';
import type { Witness } from '../wire/position.ts';
import { WitnessHistory } from './witness-history.ts';

const witness = (sequence: number, incarnation = 'i'): Witness => ({
  position: { incarnation, sequence },
  seconds: 0,
  nanos: 0,
  digest: Buffer.alloc(16),
});

test('keeps the newest, and older ones further and further apart', () => {
  const history = new WitnessHistory();
  for (let sequence = 1; sequence <= 1000; sequence++) history.add(witness(sequence));
  const kept = history.list().map(({ position }) => position.sequence);
  expect(kept[0]).toBe(1000);
  expect(kept.length).toBeGreaterThan(5);
  expect(kept.at(-1)).toBeLessThan(900);
  expect(new WitnessHistory(history.list()).list()[0]?.position.sequence).toBe(1000);
});

test.each([1, 2, 8, 9])('witnesses of an earlier incarnation are dropped, be there %i of them', (count) => {
  const history = new WitnessHistory();
  for (let sequence = 1; sequence <= count; sequence++) history.add(witness(sequence));
  history.add(witness(1, 'j'));
  expect(history.list().map(({ position }) => position)).toEqual([{ incarnation: 'j', sequence: 1 }]);
});

test('a record that a source goes on behind is known by the label that it has then', () => {
  const history = new WitnessHistory([witness(9), witness(5)]);
  const at = (sequence: number, incarnation: string) => ({ incarnation, sequence });
  expect(history.relabelled(at(9, 'i'), at(5, 'j'))).toEqual(witness(5, 'j'));
  expect(history.relabelled(at(9, 'i'), at(4, 'j'))).toBeUndefined();
  expect(history.relabelled(at(9, 'h'), at(5, 'j'))).toBeUndefined();
});
