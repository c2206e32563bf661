/** `npm run sim`: seeds for as long as one likes. */
import { parseArgs } from 'node:util';
import { realTime } from './clock.ts';
import { type RunResult, simulate } from './simulation.ts';
import { worlds } from './worlds.ts';

const { values } = parseArgs({
  options: {
    seeds: { type: 'string', default: '2000' },
    minutes: { type: 'string' },
    seed: { type: 'string' },
    from: { type: 'string', default: '1' },
    world: { type: 'string' },
    trace: { type: 'boolean', default: false },
  },
});

const names = values.world === undefined ? Object.keys(worlds) : [values.world];
const first = Number(values.seed ?? values.from);
const last = values.seed === undefined ? first + Number(values.seeds) - 1 : first;
const untilMs = realTime.now() + Number(values.minutes ?? '1e9') * 60_000;

function show({ world, seed, violations, trace, faults }: RunResult): void {
  console.log(`${world} ${seed}: ${faults.join(', ')}`);
  for (const line of trace) console.log(line);
  for (const violation of violations) console.log(`  ${violation}`);
  console.log(`  npm run sim -- --world ${world} --seed ${seed} --trace`);
}

const begunMs = realTime.now();
let [runs, failed, events, records] = [0, 0, 0, 0];
for (let seed = first; seed <= last && realTime.now() < untilMs; seed++) {
  const world = names[seed % names.length]!;
  const result = await simulate({ world, seed, trace: values.trace });
  runs++;
  events += result.events;
  records += result.records;
  if (result.violations.length === 0 && !values.trace) continue;
  if (result.violations.length > 0) failed++;
  show(result);
}
const seconds = (realTime.now() - begunMs) / 1000;
console.log(`${runs} runs, ${failed} failed, ${events} events, ${records} records, ${seconds.toFixed(1)} s`);
process.exitCode = failed > 0 ? 1 : 0;
