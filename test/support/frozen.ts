import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { until } from './until.ts';

/** Waits until a process that was told to stop (SIGSTOP) has stopped in all its threads: until then it may still answer. */
export async function untilFrozen(pid: number): Promise<void> {
  await until(() => statesOf(pid).every((state) => state === 'T'), {
    what: () => `process ${pid} to stand still (${statesOf(pid).join('')})`,
    everyMs: 1,
  });
}

/** State letters of the threads, or of the whole process where the system has no /proc. */
function statesOf(pid: number): string[] {
  if (process.platform !== 'linux')
    return [
      execFileSync('ps', ['-o', 'state=', '-p', `${pid}`])
        .toString()
        .trim()[0]!,
    ];
  // The name before the state may hold anything, brackets too.
  return readdirSync(`/proc/${pid}/task`).map((task) =>
    readFileSync(`/proc/${pid}/task/${task}/stat`, 'utf8')
      .replace(/^.*\) /s, '')
      .charAt(0),
  );
}
