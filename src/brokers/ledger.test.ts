import { describe, expect, it } from 'vitest';
import { placeGap } from './ledger.ts';
import type { KeptGap, LedgerEntry } from './store.ts';

const gap = (upTo: number, change: Partial<LedgerEntry> = {}, incarnation = 'one'): LedgerEntry => ({
  lane: 't/a/b',
  after: { incarnation: 'one', sequence: 10 },
  upTo: { incarnation, sequence: upTo },
  reason: 'expired',
  at: '2026-01-02',
  ...change,
});
const kept = (entry: LedgerEntry, revision = 1): KeptGap => ({
  ...entry,
  key: `${entry.upTo.incarnation}.${entry.upTo.sequence}`,
  revision,
});
const known = { acknowledged: { at: '2026-01-03', by: 'alice' } };
const nothing = { enter: undefined, replace: [], rest: undefined, acknowledged: false };

describe('a gap that is entered', () => {
  it('is an entry', () => {
    expect(placeGap(gap(20), [])).toEqual({ ...nothing, enter: gap(20) });
  });

  it('is none where one covers it', () => {
    expect(placeGap(gap(20), [kept(gap(20))])).toEqual(nothing);
    expect(placeGap(gap(20), [kept(gap(30, known))])).toEqual({ ...nothing, acknowledged: true });
  });

  it('takes the place of what it has grown from, and is as old', () => {
    const before = kept(gap(15, { at: '2026-01-01' }));
    expect(placeGap(gap(20), [before])).toEqual({
      ...nothing,
      enter: gap(20, { at: '2026-01-01' }),
      replace: [before],
    });
  });

  it('is only the rest of what is acknowledged', () => {
    expect(placeGap(gap(20), [kept(gap(12, known)), kept(gap(15, known)), kept(gap(17))])).toEqual({
      ...nothing,
      rest: gap(20, { after: { incarnation: 'one', sequence: 15 } }),
    });
  });

  it('is the same under another label of the incarnation that follows', () => {
    const regressed = { reason: 'regressed' } as const;
    const open = kept(gap(8, regressed, 'two'));
    expect(placeGap(gap(8, regressed, 'three'), [open])).toEqual({
      ...nothing,
      enter: gap(8, regressed, 'three'),
      replace: [open],
    });
    const settled = kept(gap(8, { ...regressed, ...known }, 'two'));
    expect(placeGap(gap(8, regressed, 'three'), [settled])).toEqual({
      ...nothing,
      enter: gap(8, { ...regressed, ...known }, 'three'),
      replace: [settled],
      acknowledged: true,
    });
  });

  it('is another where it goes on elsewhere, whatever was acknowledged', () => {
    const settled = kept(gap(8, { reason: 'regressed', ...known }, 'two'));
    const found = gap(5, { reason: 'regressed' }, 'three');
    expect(placeGap(found, [settled])).toEqual({ ...nothing, enter: found });
  });
});
