/** Throughput on the loopback device: Causeway beside JetStream sources over a leaf node, doing the same work in turn. */
import { join, resolve } from 'node:path';
import type { ThroughputOptions } from './arguments.ts';
import { profileInto, startCauseway } from './causeway.ts';
import { type Figures, measure } from './measure.ts';
import type { Workload } from './payloads.ts';
import { renderProfile } from './profile.ts';
import { type BenchReport, count, renderFigures, renderRatios, type SizeResult, sizeName } from './report.ts';
import { startSources } from './sources.ts';
import type { System, SystemName } from './system.ts';

/** Size by size, and within a size the systems in turn, each going first in every other pair. */
export async function throughput(options: ThroughputOptions): Promise<BenchReport> {
  const { sizes, systems, repeat, payload, recordsOf } = options;
  const results: SizeResult[] = [];
  let failures = 0;
  for (const payloadBytes of sizes) {
    const workload: Workload = { kind: payload, payloadBytes, records: recordsOf(payloadBytes) };
    const runs: Record<SystemName, (Figures | undefined)[]> = { causeway: [], sources: [] };
    for (let pair = 0; pair < repeat; pair++) {
      for (const name of pair % 2 === 0 ? systems : [...systems].reverse()) {
        const figures = await runOnce(name, workload, options);
        runs[name].push(figures);
        if (figures === undefined) failures++;
      }
    }
    results.push({ payloadBytes, records: workload.records, runs });
  }
  const sizesRun = results.map(({ payloadBytes, records }) => `${count(records)} records of ${sizeName(payloadBytes)}`);
  const leaf = options.plainLeaf ? 'without TLS' : 'with mutual TLS';
  return {
    notes: [`${sizesRun.join(', ')}; payload ${payload}; ${repeat} pairs; leaf node ${leaf}`],
    text: [renderFigures(results), renderRatios(results)].filter((part) => part !== '').join('\n\n'),
    failures,
  };
}

/** One run on fresh servers with fresh daemons; undefined when it failed, with the reason on the terminal. */
async function runOnce(
  name: SystemName,
  workload: Workload,
  { plainLeaf, profileDir }: ThroughputOptions,
): Promise<Figures | undefined> {
  const what = `${sizeName(workload.payloadBytes).padEnd(7)} ${name.padEnd(8)} ${count(workload.records)} records`;
  const profiles = profileDir === undefined ? undefined : resolve(profileDir, String(workload.payloadBytes));
  let system: System | undefined;
  try {
    if (name === 'sources') system = await startSources({ plainLeaf });
    else system = await startCauseway(profiles === undefined ? {} : { nodeOptions: profileInto(profiles) });
    const figures = await measure(system, workload);
    console.log(`${what}: ${count(figures.recordsPerSecond)}/s`);
    return figures;
  } catch (error) {
    console.error(
      `${what}: FAILED: ${error instanceof Error ? error.message : String(error)}\n${system?.logs() ?? ''}`,
    );
    return undefined;
  } finally {
    await system?.end();
    if (system !== undefined && profiles !== undefined) printProfiles(profiles);
  }
}

function printProfiles(dir: string): void {
  for (const cluster of ['plant', 'hub']) console.log(`\n${renderProfile(join(dir, `${cluster}.cpuprofile`))}`);
}
