// Children: started one at a time, given our signals, and never left behind.
'use strict';
const { spawn } = require('node:child_process');
const { constants } = require('node:os');
const { Halt, root } = require('./project.cjs');

/** After a signal a child may drain; a daemon's own deadline is shorter than this. */
const drainLimitMs = 60_000;

let current;
let ending;

/** Ctrl-C in a terminal reaches the whole foreground group by itself; passing it on would make it two. */
const fromTerminal = (signal) =>
  signal === 'SIGINT' && (process.stdin.isTTY || process.stdout.isTTY || process.stderr.isTTY);

function end(signal) {
  const first = ending === undefined;
  ending ??= signal;
  if (current === undefined) process.exit(128 + constants.signals[signal]);
  if (!fromTerminal(signal)) current.kill(signal);
  if (first) setTimeout(() => current?.kill('SIGKILL'), drainLimitMs).unref();
}

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => end(signal));
process.on('exit', () => current?.kill('SIGKILL'));

// npm that is killed cannot pass that on; its death must not leave a demo running behind.
const parent = process.ppid;
const watch = setInterval(() => {
  if (process.ppid === parent) return;
  clearInterval(watch);
  end('SIGTERM');
}, 500).unref();

/**
 * Runs a command to its end. Gives { code, output }; code is 128 + N if signal N ended it. `quiet` collects the output
 * instead of showing it. Ends this process, after the child, if we were told to end meanwhile.
 */
function run(command, args, options = {}) {
  const { quiet = false, cwd = root, env = process.env } = options;
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { cwd, env, stdio: quiet ? ['ignore', 'pipe', 'pipe'] : 'inherit' });
    current = child;
    let output = '';
    for (const stream of quiet ? [child.stdout, child.stderr] : []) {
      stream.setEncoding('utf8').on('data', (text) => {
        output += text;
      });
    }
    child.once('error', (error) => {
      current = undefined;
      reject(new Halt(`cannot run ${command}: ${error.message}`));
    });
    child.once('close', (exitCode, signal) => {
      current = undefined;
      const code = signal === null ? exitCode : 128 + constants.signals[signal];
      // The child's own answer to the signal counts: a daemon that drained says 0.
      if (ending !== undefined) process.exit(quiet ? 128 + constants.signals[ending] : code);
      resolve({ code, output });
    });
  });
}

/** Runs a Node script with the Node that runs us. */
const runNode = (args, options) => run(process.execPath, args, options);

module.exports = { run, runNode };
