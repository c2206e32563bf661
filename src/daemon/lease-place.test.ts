import { expect, test } from 'vitest';
import { placeOf } from './lease-place.ts';

const at = (port: number, host = '127.0.0.1') => placeOf({ host, port });

test.runIf(process.platform === 'linux')(
  'a place is the same for who comes after, and another for everybody else',
  () => {
    expect(at(7444)).toBeDefined();
    expect(at(7444)).toBe(at(7444));
    expect(new Set([at(7444), at(7445), at(7444, '0.0.0.0')]).size).toBe(3);
  },
);

test('a port that the system chooses is no place', () => {
  expect(at(0)).toBeUndefined();
});
