import { execFile } from 'node:child_process';
import { main } from './site.ts';

interface Line {
  readonly report?: { readonly lane: string; readonly verdict: string };
}

/**
 * Runs `causeway verify`, as an operator would, at the daemon with this topology file: what it says of each lane of a link. A lane of which it
 * says nothing is missing.
 */
export function verify(file: string, link: string, signal: AbortSignal): Promise<ReadonlyMap<string, string>> {
  const args = [...process.execArgv, main, 'verify', link, '--json', '--config', file];
  return new Promise((resolve) => {
    execFile(process.execPath, args, { signal, maxBuffer: 16 * 1024 * 1024 }, (_, out) => {
      // What a command that was ended wrote last may be half a line.
      const lines = signal.aborted ? [] : out.split('\n').filter((line) => line !== '');
      const reports = lines.flatMap((line) => (JSON.parse(line) as Line).report ?? []);
      resolve(new Map(reports.map(({ lane, verdict }) => [lane, verdict])));
    });
  });
}
