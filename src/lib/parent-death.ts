import { execFile } from 'node:child_process';

let available: Promise<boolean> | undefined;

/**
 * The command line that starts `command` so that it gets `signal` when this process dies, however it dies; as it is where
 * that cannot be had. Node has no call for prctl(PR_SET_PDEATHSIG); util-linux's setpriv sets it and then becomes the
 * command, so the pid stays the same (Linux only).
 */
export async function endingWithUs(
  signal: 'SIGTERM' | 'SIGKILL',
  command: string,
  args: readonly string[],
): Promise<readonly [command: string, args: readonly string[]]> {
  available ??= hasSetpriv();
  return (await available) ? ['setpriv', ['--pdeathsig', signal.slice(3), command, ...args]] : [command, args];
}

function hasSetpriv(): Promise<boolean> {
  return new Promise((done) => {
    if (process.platform !== 'linux') return done(false);
    execFile('setpriv', ['--pdeathsig', 'KILL', 'true'], { timeout: 5_000 }, (error) => done(error === null));
  });
}
