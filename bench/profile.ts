import { readFileSync } from 'node:fs';
import { basename } from 'node:path';
import { renderTable } from './report.ts';

/** The part of a .cpuprofile that is used here; the format is that of the DevTools protocol, `Profiler.Profile`. */
interface CpuProfile {
  readonly nodes: readonly {
    readonly id: number;
    readonly callFrame: { readonly functionName: string; readonly url: string; readonly lineNumber: number };
  }[];
  readonly samples: readonly number[];
  /** Microseconds before each sample. */
  readonly timeDeltas: readonly number[];
}

/** The functions in which a process spent most of its time, callees apart, as shares of the time it was not idle. */
export function renderProfile(file: string, top = 15): string {
  const profile = JSON.parse(readFileSync(file, 'utf8')) as CpuProfile;
  const names = new Map(profile.nodes.map(({ id, callFrame }) => [id, placeOf(callFrame)]));
  const micros = new Map<string, number>();
  for (const [index, id] of profile.samples.entries()) {
    const name = names.get(id)!;
    // The time between two samples belongs to what the first of them found.
    micros.set(name, (micros.get(name) ?? 0) + (profile.timeDeltas[index + 1] ?? 0));
  }
  const idle = micros.get('(idle)') ?? 0;
  micros.delete('(idle)');
  const busy = [...micros.values()].reduce((sum, value) => sum + value, 0);
  const rows = [...micros]
    .sort(([, a], [, b]) => b - a)
    .slice(0, top)
    .map(([name, value]) => [`${((100 * value) / busy).toFixed(1)} %`, name]);
  const share = ((100 * busy) / (busy + idle)).toFixed(0);
  return `${basename(file)}: busy ${(busy / 1000).toFixed(0)} ms, ${share} % of its life\n${renderTable(['self', 'function'], rows)}`;
}

function placeOf({ functionName, url, lineNumber }: CpuProfile['nodes'][number]['callFrame']): string {
  const name = functionName === '' ? '(anonymous)' : functionName;
  if (url === '') return name;
  const path = url.replace(/^file:\/\//, '').replace(/^.*\/(node_modules|dist)\//, '');
  return `${name} ${path}:${lineNumber + 1}`;
}
