/** What the processes of a system have used, from /proc: Linux only. */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';

/** Length of the ticks that the kernel counts in, in microseconds; usually 10,000. */
const tickMicros = 1e6 / Number(execFileSync('getconf', ['CLK_TCK'], { encoding: 'utf8' }));

/** User and system time of all threads of a process so far, in microseconds. Throws when it has ended. */
export function cpuMicros(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  // The name, second field, is in parentheses and may itself hold blanks and parentheses.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) * tickMicros;
}

/** The most resident memory that a process has had, in bytes. Throws when it has ended. */
export function peakRssBytes(pid: number): number {
  const line = /^VmHWM:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'));
  if (line === null) throw new Error(`/proc/${pid}/status has no VmHWM`);
  return Number(line[1]) * 1024;
}
