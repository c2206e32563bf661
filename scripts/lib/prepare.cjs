// What must be there before anything runs: npm packages, dist/, nats-servers. Each step looks first and does nothing if
// nothing changed, so that a second run works offline and starts at once.
'use strict';
const { createHash } = require('node:crypto');
const fs = require('node:fs');
const path = require('node:path');
const { pathToFileURL } = require('node:url');
const { Halt, at, cache, say, seconds } = require('./project.cjs');
const { run, runNode } = require('./run.cjs');

const tsc = at('node_modules/typescript/bin/tsc');

// ------------------------------------------------------------------------------------------------- npm packages

async function install() {
  if (installed()) return;
  say('installing npm packages (npm ci)');
  const args = ['ci', '--include=dev', '--no-audit', '--no-fund', '--loglevel=error'];
  const npm = process.env.npm_execpath;
  const { code } = npm?.endsWith('.js') ? await runNode([npm, ...args]) : await run('npm', args);
  if (code !== 0) throw new Halt('npm ci failed (see above): the npm registry is needed once, then never again');
}

/** Whether node_modules holds what package-lock.json asks for. npm keeps its own stamp of what it installed last. */
function installed() {
  const stamp = readJson(at('node_modules/.package-lock.json'))?.packages;
  if (stamp === undefined) return false;
  const wanted = readJson(at('package-lock.json')).packages;
  const same = (name) => wanted[name] !== undefined && wanted[name].integrity === stamp[name].integrity;
  // Optional packages of other platforms are not installed; everything that is there must be as asked.
  const complete = Object.keys(wanted).every((name) => name === '' || name in stamp || wanted[name].optional === true);
  return complete && Object.keys(stamp).every(same);
}

// -------------------------------------------------------------------------------------------------------- dist

async function build() {
  const stampFile = at('dist/.build-stamp');
  const inputs = sources(at('src'));
  for (const name of ['tsconfig.json', 'tsconfig.build.json', 'package-lock.json']) inputs.push(at(name));
  const hash = createHash('sha256');
  for (const file of inputs)
    hash
      .update(`${path.relative(at(), file)}\0`)
      .update(fs.readFileSync(file))
      .update('\0');
  const stamp = `${hash.digest('hex')}\n${inputs.map((file) => path.relative(at(), file)).join('\n')}\n`;
  const last = fs.existsSync(stampFile) ? fs.readFileSync(stampFile, 'utf8') : '';
  if (last === stamp) return;
  // What was compiled from a file that is gone must go too, and an incremental build does not see what is missing.
  const gone =
    last === '' ||
    last
      .split('\n')
      .slice(1, -1)
      .some((name) => !fs.existsSync(at(name)));
  if (gone) fs.rmSync(at('dist'), { recursive: true, force: true });
  const begun = Date.now();
  const { code, output } = await runNode([tsc, '-p', at('tsconfig.build.json')], { quiet: true });
  if (code !== 0) throw new Halt(`the sources do not compile:\n${output.trimEnd()}`);
  fs.writeFileSync(stampFile, stamp);
  say(`built in ${seconds(Date.now() - begun)}`);
}

function sources(dir) {
  const files = fs.readdirSync(dir, { recursive: true, withFileTypes: true });
  return files
    .filter((entry) => entry.isFile() && entry.name.endsWith('.ts') && !entry.name.endsWith('.test.ts'))
    .map((entry) => path.join(entry.parentPath ?? entry.path, entry.name))
    .sort();
}

// -------------------------------------------------------------------------------------------------------- servers

/**
 * Fetches nats-servers if that has not been settled yet, and says which there are if `aloud`. With `required` the lack of
 * any ends the run.
 */
async function servers({ aloud, required, args = [] }) {
  if (!aloud && args.length === 0 && settled() && (!required || (await someServer()))) return;
  const flags = [...(aloud ? ['--list'] : []), ...(required ? ['--required'] : []), ...args];
  const { code } = await runNode(['--import', 'tsx', at('scripts/fetch-servers.ts'), ...flags]);
  if (code !== 0) throw new Halt('', code);
}

/** A quick look at what fetch-servers remembers: true if it would find nothing to do. */
function settled() {
  if (process.env.NATS_SERVER) return true;
  const memory = readJson(path.join(cache, 'nats-server/fetched.json'));
  return typeof memory?.settledUntilMs === 'number' && Date.now() < memory.settledUntilMs;
}

/** Our own finder, from dist: the build comes before this. */
async function someServer() {
  const { newest } = await import(pathToFileURL(at('dist/brokers/nats/server-binary.js')).href);
  return (await newest()) !== undefined;
}

function readJson(file) {
  try {
    return JSON.parse(fs.readFileSync(file, 'utf8'));
  } catch (error) {
    if (error.code === 'ENOENT' || error instanceof SyntaxError) return undefined;
    throw error;
  }
}

module.exports = { install, build, servers, tsc };
