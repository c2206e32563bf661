import { expect, test } from 'vitest';
import { noBreak } from './breaks.ts';
import { simulate } from './simulation.ts';
import { worlds } from './worlds.ts';

const seeds = 8;
/** A lane that was live says that it is not. By the end of the start it may be blocked by a connection that is not made yet. */
const trouble = / lane-state \S+ (live|catching-up) (?!live|catching-up|blocked)/;

test.each(Object.keys(worlds))(
  'where nothing happens but rotations no lane of %s is ever in trouble',
  async (world) => {
    const rotations = { ...noBreak, twins: 0, faults: ['rotate'] } as const;
    let moved = 0;
    for (let seed = 1; seed <= seeds; seed++) {
      const { violations, trace } = await simulate({ world, seed, trace: true, broken: rotations });
      expect(violations, `seed ${seed}`).toEqual([]);
      const at = (text: string) => trace.findIndex((line) => line.includes(text));
      const lines = trace.slice(at('--- rotate'), at('--- the faults cease'));
      expect(
        lines.filter((line) => trouble.test(line)),
        `seed ${seed}`,
      ).toEqual([]);
      moved += lines.filter((line) => line.includes(' lane-rotated ')).length;
    }
    expect(moved).toBeGreaterThan(seeds);
  },
);
