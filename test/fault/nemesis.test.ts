/**
 * Random topologies under random faults, all drawn from a seed. A few seeds are always the same; `npm run nemesis` runs one that failed
 * (`--seed N`), or others for as long as one likes (`--minutes M`).
 */
import { randomInt } from 'node:crypto';
import { test } from 'vitest';
import { runNemesis } from '../support/nemesis.ts';
import { describeSchedule, drawSchedule, usualSeeds } from '../support/nemesis-schedule.ts';

const runLimitMs = 400_000;
/** No machine runs more. */
const mostPerMinute = 12;
const minutes = process.env.CAUSEWAY_NEMESIS_MINUTES;
const given = process.env.CAUSEWAY_NEMESIS_SEED;
const endMs = performance.now() + Number(minutes ?? Number.POSITIVE_INFINITY) * 60_000;

function seeds(): readonly number[] {
  const first = Number(given ?? randomInt(2 ** 30));
  if (minutes !== undefined)
    return Array.from({ length: Math.ceil(Number(minutes) * mostPerMinute) }, (_, i) => first + i);
  return given === undefined ? usualSeeds : [first];
}

test.for(seeds())(
  'seed %i: nothing is lost, twice or out of order that the ledger does not name',
  {
    timeout: runLimitMs,
  },
  async (seed, context) => {
    context.skip(performance.now() > endMs, 'time is over');
    console.info(describeSchedule(drawSchedule(seed)));
    console.info(await runNemesis(drawSchedule(seed)));
  },
);
