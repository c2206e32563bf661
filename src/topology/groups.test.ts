import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { groupOf, groupsOverlap, inGroup, isMeant, nameMatches, namePatternsOverlap } from './groups.ts';
import { parseBytes, sizeText } from './leaves.ts';
import type { GroupPlan } from './plan.ts';

const pattern = fc.stringMatching(/^[ab*]{1,6}$/);
const name = fc.stringMatching(/^[ab]{1,6}$/);
const group = (match: string, ...except: readonly string[]): GroupPlan => ({
  name: `g-${match.length}`,
  match,
  except,
});

describe('patterns of names', () => {
  it('cover what the same pattern as a regular expression covers', () => {
    fc.assert(
      fc.property(pattern, name, (one, text) => {
        expect(nameMatches(one, text)).toBe(new RegExp(`^${one.replaceAll('*', '.*')}$`).test(text));
      }),
    );
  });

  it('overlap wherever a name fits both', () => {
    fc.assert(
      fc.property(pattern, pattern, name, (one, two, text) => {
        if (nameMatches(one, text) && nameMatches(two, text)) expect(namePatternsOverlap(one, two)).toBe(true);
        expect(namePatternsOverlap(one, two)).toBe(namePatternsOverlap(two, one));
      }),
    );
    expect(namePatternsOverlap('a*', 'b*')).toBe(false);
    expect(namePatternsOverlap('*a', '*b')).toBe(false);
    expect(namePatternsOverlap('a*b', 'ab')).toBe(true);
  });

  it('take no time that grows with the stars', () => {
    const long = `${'*a'.repeat(31)}b`;
    expect(namePatternsOverlap(long, 'a'.repeat(64))).toBe(false);
  });
});

describe('groups', () => {
  it('overlap only in names that neither excepts, where that can be known', () => {
    expect(groupsOverlap(group('edge-*', 'edge-13'), group('edge-13'))).toBe(false);
    expect(groupsOverlap(group('edge-13'), group('edge-*', 'edge-13'))).toBe(false);
    expect(groupsOverlap(group('edge-13'), group('edge-*'))).toBe(true);
    expect(groupsOverlap(group('edge-13', 'edge-13'), group('edge-*'))).toBe(false);
    expect(groupsOverlap(group('edge-*', 'edge-1'), group('*-1', 'edge-1'))).toBe(true);
  });

  it('have every cluster that fits, but for exceptions and those with an entry of their own', () => {
    const edges: GroupPlan = { name: 'edges', match: 'edge-*', except: ['edge-13'] };
    const file = { peers: [{ cluster: 'edge-7', dial: [] }], groups: [edges] };
    expect(['edge-1', 'edge-13', 'edge-7', 'plant'].map((one) => groupOf(file, one)?.name)).toEqual([
      'edges',
      undefined,
      undefined,
      undefined,
    ]);
    expect(inGroup(edges, 'edge-7'), 'the pattern alone').toBe(true);
    expect(isMeant(file, 'edges', 'edge-1')).toBe(true);
    expect(isMeant(file, 'edge-1', 'edge-1'), 'a member is meant by its group alone').toBe(false);
    expect(isMeant(file, 'edges', 'edge-7')).toBe(false);
    expect(isMeant(file, 'edge-7', 'edge-7')).toBe(true);
  });
});

it('writes a size as the file would have it', () => {
  expect([1, 1023, 1024, 1536, 3 * 1024 ** 3].map(sizeText)).toEqual(['1B', '1023B', '1KiB', '1536B', '3GiB']);
  fc.assert(
    fc.property(fc.integer({ min: 1 }), (bytes) => {
      expect(parseBytes(sizeText(bytes))).toBe(bytes);
    }),
  );
});
