import { describe, expect, it } from 'vitest';
import type { KeptLease, LeaseEntry } from '../brokers/store.ts';
import { Lease, leaseTimes } from './lease.ts';

const { holdMs, takeMs } = leaseTimes;
const at = (revision: number, entry: LeaseEntry): KeptLease => ({ revision, entry });
const other: LeaseEntry = { node: 'b', place: 'there' };

describe('a lease', () => {
  it('is free where there never was one, and held for a while after the write began', () => {
    const lease = new Lease({ node: 'a' });
    expect(lease.saw(undefined, 0)).toEqual({ free: 0 });
    expect(lease.isHeld(0)).toBe(false);
    lease.wrote(7, 100);
    expect([lease.isHeld(100 + holdMs - 1), lease.isHeld(100 + holdMs)]).toEqual([true, false]);
    expect([lease.holder, lease.revision]).toEqual(['a', 7]);
    // Nobody took it meanwhile: it is written over again.
    expect(lease.saw(at(7, { node: 'a' }), 60_000)).toEqual({ free: 7 });
  });

  it('of somebody else is taken when it has not changed for a while, by the own clock alone', () => {
    const lease = new Lease({ node: 'a' });
    expect(lease.saw(at(3, other), 1_000)).toBe('unclear');
    expect(lease.saw(at(4, other), 1_000 + takeMs)).toBe('taken');
    expect(lease.saw(at(4, other), 999 + 2 * takeMs)).toBe('unclear');
    expect(lease.saw(at(4, other), 1_000 + 2 * takeMs)).toEqual({ free: 4 });
    expect(lease.holder).toBe('b');
  });

  it('is not taken because nothing could be seen of it for a while', () => {
    const lease = new Lease({ node: 'a' });
    lease.saw(at(3, other), 0);
    lease.blind(takeMs);
    expect(lease.saw(at(3, other), takeMs + 1)).toBe('unclear');
    expect(lease.saw(at(3, other), 2 * takeMs)).toEqual({ free: 3 });
  });

  it('that was given back is taken at once', () => {
    const lease = new Lease({ node: 'a' });
    lease.saw(at(3, other), 0);
    expect(lease.saw(at(4, { ...other, released: true }), 1)).toEqual({ free: 4 });
    expect(lease.holder).toBeUndefined();
  });

  it('is lost when somebody else has written', () => {
    const lease = new Lease({ node: 'a' });
    lease.wrote(3, 0);
    lease.saw(at(4, other), 1);
    expect([lease.isHeld(1), lease.revision]).toEqual([false, undefined]);
  });

  it('of the process that had this place before is taken at once, at the first look only', () => {
    const there = { node: 'a', place: 'there' };
    expect(new Lease(there).saw(at(3, other), 0)).toEqual({ free: 3 });
    expect(new Lease({ node: 'a' }).saw(at(3, { node: 'b' }), 0)).toBe('unclear');
    // Two that take each other for their own past, as copies of a running machine do, do not do so for ever.
    const copy = new Lease(there);
    copy.wrote(4, 0);
    expect(copy.saw(at(5, other), 1)).toBe('taken');
    expect(copy.saw(at(5, other), 2)).toBe('unclear');
  });

  it('that is gone with its bucket is left to the one who had it', () => {
    const [standing, holding] = [new Lease({ node: 'a' }), new Lease({ node: 'b' })];
    standing.saw(at(3, other), 0);
    holding.wrote(3, 0);
    expect(standing.saw(undefined, takeMs - 1)).toBe('unclear');
    expect(holding.saw(undefined, 1)).toEqual({ free: 0 });
    expect(standing.saw(undefined, takeMs)).toEqual({ free: 0 });
  });

  it('is given up before anybody takes it', () => {
    expect(holdMs).toBeLessThan(takeMs);
  });
});
