// `npm test`: types, style, then every test; closing with the numbers alone on a line.
'use strict';
const fs = require('node:fs');
const path = require('node:path');
const { at, cache, say, seconds } = require('./project.cjs');
const { tsc } = require('./prepare.cjs');
const { runNode } = require('./run.cjs');

/** `stages` are the times of what was done before: [name, ms]. Gives the exit code. */
async function testRun(args, stages) {
  const failures = [];
  const stage = async (name, work) => {
    const begun = Date.now();
    const code = await work();
    stages.push([name, Date.now() - begun]);
    if (code !== 0) failures.push(name);
    return code;
  };
  const check = (name, script, checkArgs) =>
    stage(name, async () => {
      const { code, output } = await runNode([script, ...checkArgs], { quiet: true });
      if (code !== 0) process.stdout.write(`${name}:\n${output}\n`);
      return code;
    });

  await check('types', tsc, ['-p', at('tsconfig.json'), '--noEmit']);
  await check('style', at('node_modules/@biomejs/biome/bin/biome'), ['check', at()]);

  const report = path.join(cache, `test-${process.pid}.json`);
  let counts;
  try {
    await stage('tests', async () => {
      const reporters = ['--reporter=default', '--reporter=json', `--outputFile.json=${report}`];
      return (await runNode([at('node_modules/vitest/vitest.mjs'), 'run', ...reporters, ...args])).code;
    });
    counts = count(report);
  } finally {
    fs.rmSync(report, { force: true });
  }

  // A check, or a run that went wrong without any single test to blame, must not close with "0 failed".
  const failed = counts.failed + failures.filter((name) => name !== 'tests' || counts.failed === 0).length;
  say(stages.map(([name, ms]) => `${name} ${seconds(ms)}`).join(', '));
  if (failures.length > 0) say(`failed: ${failures.join(', ')}`);
  process.stdout.write(`${counts.passed} passed, ${failed} failed, ${counts.skipped} skipped\n`);
  return failures.length > 0 ? 1 : 0;
}

/** Vitest's report in Jest's JSON. A file that could not even be loaded counts as one failed test. */
function count(report) {
  if (!fs.existsSync(report)) return { passed: 0, failed: 0, skipped: 0 };
  const results = JSON.parse(fs.readFileSync(report, 'utf8'));
  const unloaded = results.testResults.filter((file) => file.status === 'failed' && file.assertionResults.length === 0);
  return {
    passed: results.numPassedTests,
    failed: results.numFailedTests + unloaded.length,
    skipped: results.numPendingTests + results.numTodoTests,
  };
}

module.exports = { testRun };
