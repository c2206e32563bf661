import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { tempDir } from '../../test/support/temp.ts';
import { until } from '../../test/support/until.ts';

const lockModule = resolve(fileURLToPath(import.meta.url), '../lock.cjs');

/** A process that takes the lock, appends NAME+ to a journal, holds until its input ends, and appends NAME-. */
function holder(dir: string, name: string) {
  const program = `
    const { appendFileSync } = require('node:fs');
    const note = (what) => appendFileSync(${JSON.stringify(join(dir, 'journal'))}, what + ' ');
    require(${JSON.stringify(lockModule)}).locked(async () => {
      note('${name}+');
      await new Promise((done) => process.stdin.once('end', done).resume());
      note('${name}-');
    }, ${JSON.stringify(join(dir, 'lock'))});`;
  return spawn(process.execPath, ['-e', program], { stdio: ['pipe', 'ignore', 'pipe'] });
}

const journal = async (dir: string): Promise<string> => {
  const file = join(dir, 'journal');
  return existsSync(file) ? (await readFile(file, 'utf8')).trim() : '';
};

test('a second run waits for the first, and says so', async () => {
  await using dir = await tempDir('lock');
  const first = holder(dir.path, 'a');
  await until(async () => (await journal(dir.path)) === 'a+', { what: 'the first run to hold the lock' });
  const second = holder(dir.path, 'b');
  const [said] = (await once(second.stderr, 'data')) as [Buffer];
  expect(said.toString()).toContain(`waiting for another run to finish its preparation (process ${first.pid})`);
  expect(await journal(dir.path)).toBe('a+');
  first.stdin.end();
  second.stdin.end();
  await once(second, 'exit');
  expect(await journal(dir.path)).toBe('a+ a- b+ b-');
  expect(existsSync(join(dir.path, 'lock'))).toBe(false);
});

test.each([
  ['of a killed run', undefined],
  ['of a pid that another process has now', JSON.stringify({ pid: process.pid, start: '1' })],
  ['with nonsense in it', 'nonsense'],
])('a lock %s is taken over', async (_, content) => {
  await using dir = await tempDir('lock');
  if (content === undefined) {
    const killed = holder(dir.path, 'killed');
    await until(async () => (await journal(dir.path)) === 'killed+', { what: 'the run to hold the lock' });
    killed.kill('SIGKILL');
    await once(killed, 'exit');
    expect(existsSync(join(dir.path, 'lock'))).toBe(true);
  } else {
    await writeFile(join(dir.path, 'lock'), content);
  }
  const next = holder(dir.path, 'next');
  next.stdin.end();
  await once(next, 'exit');
  expect(await journal(dir.path)).toMatch(/next\+ next-$/);
});
