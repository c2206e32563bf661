// The commands behind npm's scripts: prepare under the lock, then run the thing itself without it.
'use strict';
const fs = require('node:fs');
const path = require('node:path');
const { parseArgs } = require('node:util');
const { currentNode } = require('./current-node.cjs');
const { locked } = require('./lock.cjs');
const { build, install, servers } = require('./prepare.cjs');
const { Halt, at, say } = require('./project.cjs');
const { runNode } = require('./run.cjs');
const { testRun } = require('./test-run.cjs');

/** npm runs scripts in the project's folder and tells where the user was: FILE is meant from there. */
const userDir = process.env.INIT_CWD ?? process.cwd();

/** Exit code. */
const wrongUsage = 2;

const commands = {
  /** No arguments: the demo. A file: a daemon on it. Options alone go to the demo, other words are the CLI's commands. */
  async start(args) {
    const line = startArgs(args);
    // The demo needs a server; a daemon on a file may need one, and then says so itself; other commands do not.
    await prepare({ required: line[0] === 'demo', skip: !['demo', 'run'].includes(line[0]) });
    return (await runNode([at('dist/main.js'), ...line], { cwd: userDir })).code;
  },

  async test(args) {
    const stages = await prepare({ aloud: true, required: true });
    return testRun(args, stages);
  },

  /** The suite once more, on the newest Node.js that npm has. */
  async 'test:current'(args) {
    const node = await locked(currentNode);
    say(`running the suite on Node.js ${node.version}`);
    const env = { ...process.env, PATH: `${path.dirname(node.path)}${path.delimiter}${process.env.PATH}` };
    const { run } = require('./run.cjs');
    return (await run(node.path, [at('scripts/bootstrap.cjs'), 'test', ...args], { env })).code;
  },

  async bench(args) {
    await prepare({ aloud: true, required: true });
    return (await runNode(['--import', 'tsx', at('bench/run.ts'), ...args])).code;
  },

  /**
   * Memory over minutes, a bench that takes part in no other run; then as many minutes of the fault suite; then, as long as that takes, those tests that
   * repeat a thing more often here than in `npm test` (test/support/soak.ts).
   */
  async 'test:soak'(args) {
    const { minutes = '10' } = parseArgs({ args, options: { minutes: { type: 'string' } }, strict: false }).values;
    const memory = await commands.bench(['soak', ...args]);
    // What bench says about wrong arguments is all there is to say.
    if (memory === wrongUsage) return memory;
    const faults = await commands.nemesis(['--minutes', minutes]);
    const line = [
      'run',
      '--project',
      'fault',
      '--project',
      'integration',
      'replicated-sink',
      'store-and-ack',
      'common-defects',
    ];
    const env = { ...process.env, CAUSEWAY_SOAK: '1' };
    const often = (await runNode([at('node_modules/vitest/vitest.mjs'), ...line], { env })).code;
    return memory || faults || often;
  },

  /** Seeds of the fault suite: one that failed, or others for as long as one likes. */
  async nemesis(args) {
    const { seed, minutes } = nemesisOptions(args);
    await prepare({ aloud: true, required: true });
    const env = {
      ...process.env,
      ...(seed === undefined ? {} : { CAUSEWAY_NEMESIS_SEED: seed }),
      ...(minutes === undefined ? {} : { CAUSEWAY_NEMESIS_MINUTES: minutes }),
    };
    const line = ['run', '--project', 'fault', 'test/fault/nemesis.test.ts'];
    return (await runNode([at('node_modules/vitest/vitest.mjs'), ...line], { env })).code;
  },

  /** Seeds of the simulation, as many or as long as one likes. It needs no server. */
  async sim(args) {
    await prepare({ aloud: true, skip: true });
    return (await runNode(['--import', 'tsx', at('test/simulation/run.ts'), ...args])).code;
  },

  /** Which nats-servers there are; `--retry` asks again for those that could not be had. */
  async servers(args) {
    await prepare({ aloud: true, required: true, args });
    return 0;
  },
};

function nemesisOptions(args) {
  try {
    const { values } = parseArgs({ args, options: { seed: { type: 'string' }, minutes: { type: 'string' } } });
    for (const [name, text] of Object.entries(values))
      if (!/^\d{1,9}$/.test(text)) throw new Error(`--${name} takes a whole number, not ${JSON.stringify(text)}`);
    return values;
  } catch (error) {
    say(`nemesis: ${error.message}\n\nUsage: npm run nemesis [-- [--seed N] [--minutes M]]`);
    throw new Halt('', wrongUsage);
  }
}

/** What a CLI command is called cannot also be meant as a file, unless there is one. */
const cliCommands = ['run', 'check', 'graph', 'init', 'permissions', 'certs', 'status', 'schema', 'demo', 'help'];
const cliOptions = ['-h', '--help', '-V', '--version'];

function startArgs(args) {
  const first = args[0];
  if (first === undefined) return ['demo'];
  if (cliOptions.includes(first)) return args;
  if (first.startsWith('-')) return ['demo', ...args];
  if (cliCommands.includes(first) && !fs.existsSync(path.resolve(userDir, first))) return args;
  return ['run', ...args];
}

/** Gives the time of each step, for the summary of `npm test`. */
async function prepare(wanted) {
  const stages = [];
  const step = async (name, work) => {
    const begun = Date.now();
    await work();
    stages.push([name, Date.now() - begun]);
  };
  await locked(async () => {
    await step('install', install);
    await step('build', build);
    if (!wanted.skip) await step('servers', () => servers(wanted));
  });
  return stages;
}

async function main(argv) {
  const [name, ...args] = argv;
  if (!Object.hasOwn(commands, name ?? '')) {
    console.error(`causeway: bootstrap.cjs knows ${Object.keys(commands).join(', ')}`);
    process.exit(2);
  }
  try {
    process.exit(await commands[name](args));
  } catch (error) {
    if (!(error instanceof Halt)) throw error;
    if (error.message !== '') say(error.message);
    process.exit(error.exitCode);
  }
}

module.exports = { main };
