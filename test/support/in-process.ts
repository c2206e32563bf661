import { EventEmitter } from 'node:events';
import { runCli } from '../../src/cli/program.ts';
import type { Finished } from './causeway.ts';

/** A command line without a process around it: quick, where only words and code matter. */
export async function inProcess(
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<Finished> {
  let [out, err] = ['', ''];
  const code = await runCli(args, {
    name: 'causeway',
    version: '1.2.3',
    env,
    stderrIsTerminal: false,
    stdoutColumns: () => undefined,
    out: (text) => {
      out += text;
    },
    err: (text) => {
      err += text;
    },
    signals: new EventEmitter(),
  });
  return { code, out, err };
}
