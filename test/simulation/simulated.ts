/** What the tests of all worlds share. */
import { expect, test } from 'vitest';
import { type RunResult, simulate } from './simulation.ts';

/** Of each world, in `npm test`. */
const seeds = 340;
/** Of one test. */
const perTest = 85;
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

/** Runs a world with its seeds; the first one that fails is shown. */
export function simulated(world: string): void {
  for (let first = 1; first <= seeds; first += perTest) {
    test(`seeds ${first} to ${first + perTest - 1} of ${world}`, async () => {
      for (let seed = first; seed < first + perTest; seed++) {
        const result = await simulate({ world, seed });
        if (result.violations.length > 0) expect.fail(await told(result));
      }
    });
  }
}
