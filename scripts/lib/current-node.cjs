// A current Node.js from npm, beside the one that the user has.
'use strict';
const fs = require('node:fs');
const path = require('node:path');
const { Halt, cache, say } = require('./project.cjs');
const { run, runNode } = require('./run.cjs');

/** The newest Node.js that npm has for this machine: { path, version }. Offline, the one fetched before. */
async function currentNode() {
  const name = `node-linux-${process.arch}`;
  if (process.platform !== 'linux' || !['x64', 'arm64'].includes(process.arch)) {
    throw new Halt(
      `npm has a current Node.js for Linux on x64 and arm64 only: install one and run \`npm test\` with it`,
    );
  }
  const dir = path.join(cache, 'node-current');
  const binary = path.join(dir, 'node_modules', name, 'bin/node');
  fs.mkdirSync(dir, { recursive: true });
  fs.writeFileSync(path.join(dir, 'package.json'), '{ "private": true }\n');
  const args = ['install', `${name}@latest`, '--no-audit', '--no-fund', '--no-package-lock', '--loglevel=error'];
  const options = { cwd: dir, quiet: true };
  const npm = process.env.npm_execpath;
  const done = npm?.endsWith('.js') ? await runNode([npm, ...args], options) : await run('npm', args, options);
  if (done.code !== 0) {
    if (!fs.existsSync(binary)) throw new Halt(`npm cannot install ${name}: ${done.output.trim().split('\n')[0]}`);
    say(`npm cannot be asked for a newer ${name}; using the one fetched before`);
  }
  const { code, output } = await run(binary, ['--version'], { quiet: true });
  if (code !== 0) throw new Halt(`the Node.js of ${name} does not run here: ${output.trim()}`);
  return { path: binary, version: output.trim() };
}

module.exports = { currentNode };
