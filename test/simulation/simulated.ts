/** What the tests of all worlds share. */
import { expect, test } from 'vitest';
import { faultKinds } from './faults.ts';
import { type RunResult, simulate } from './simulation.ts';

/** Of each world, in `npm test`, unless it says otherwise. */
const usualSeeds = 340;
/** Of one test. */
const perTest = 85;
/** Of so many of its seeds one at least has to meet a kind of fault. */
const oneIn = 34;
/** Lines of the trace of a seed that failed. */
const shownLines = 60;

/** What a seed that failed has to say, and how it is run again. */
async function told({ world, seed, violations, faults }: RunResult): Promise<string> {
  const { trace } = await simulate({ world, seed, trace: true });
  const at = trace.findIndex((line) => line.includes('VIOLATION'));
  const end = at < 0 ? trace.length : at + 5;
  return [
    `world ${world}, seed ${seed}: ${faults.join(', ')}`,
    ...violations,
    ...trace.slice(Math.max(0, end - shownLines), end),
    `npm run sim -- --world ${world} --seed ${seed} --trace`,
  ].join('\n');
}

/** Two daemons of one cluster that race, and connections that bring late what they held when they were given up. */
const circumstances = ['twins', 'lateness'];

/** Runs a world with its seeds; the first one that fails is shown. */
export function simulated(world: string, seeds = usualSeeds): void {
  const struck = new Map<string, number>();
  for (let first = 1; first <= seeds; first += perTest) {
    test(`seeds ${first} to ${first + perTest - 1} of ${world}`, async () => {
      for (let seed = first; seed < first + perTest; seed++) {
        const result = await simulate({ world, seed });
        for (const kind of new Set(result.faults.map((fault) => fault.split(' ')[1]!)))
          struck.set(kind, (struck.get(kind) ?? 0) + 1);
        if (result.violations.length > 0) expect.fail(await told(result));
      }
    });
  }

  test(`${world} meets faults of every kind in those seeds`, () => {
    const rare = [...faultKinds, ...circumstances].filter(
      (kind) => (struck.get(kind) ?? 0) < Math.floor(seeds / oneIn),
    );
    expect(rare).toEqual([]);
  });
}
