/** Facts about other processes, to tell an orphan of ours from a stranger that was given the same pid. */
import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';

/** Signal 0 asks whether the pid exists; EPERM means it does and is not ours. */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

/** The command line of a running process, arguments separated by spaces; undefined if it is gone, or a zombie. */
export async function commandOf(pid: number): Promise<string | undefined> {
  const fromProc = await readProc(pid, 'cmdline');
  if (fromProc !== undefined) return fromProc.replaceAll('\0', ' ').trim() || undefined;
  return process.platform === 'linux' ? undefined : ask(pid, 'command=');
}

/**
 * When a process started, in a unit of the platform's own: equal for the same pid means the same process (proc(5), field
 * 22 of stat: clock ticks since boot). Undefined if it is gone.
 */
export async function startOf(pid: number): Promise<string | undefined> {
  const stat = await readProc(pid, 'stat');
  // The second field is the name in parentheses, and may itself hold spaces and parentheses.
  if (stat !== undefined) return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19];
  return process.platform === 'linux' ? undefined : ask(pid, 'lstart=');
}

async function readProc(pid: number, what: 'cmdline' | 'stat'): Promise<string | undefined> {
  if (process.platform !== 'linux') return undefined;
  try {
    return await readFile(`/proc/${pid}/${what}`, 'utf8');
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code === 'ENOENT' || code === 'ESRCH') return undefined;
    throw error;
  }
}

function ask(pid: number, column: string): Promise<string | undefined> {
  return new Promise((done) => {
    execFile('ps', ['-o', column, '-p', String(pid)], (error, stdout) => {
      done(error === null ? stdout.trim() || undefined : undefined);
    });
  });
}
