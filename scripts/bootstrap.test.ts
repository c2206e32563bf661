import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';

const bootstrap = resolve(fileURLToPath(import.meta.url), '../bootstrap.cjs');

test('the way in has nothing in it that an old Node could not parse', () => {
  const code = readFileSync(bootstrap, 'utf8').replace(/^\/\/.*$/gm, '');
  expect(code).not.toMatch(/=>|`|\b(const|let|class|async|await|import)\b|\?\.|\?\?|\.\.\.|,\s*\)/);
});

test('a Node that is too old is told in one line what is needed', async () => {
  const pretend = `Object.defineProperty(process.versions, 'node', { value: '18.20.8' }); require(${JSON.stringify(bootstrap)})`;
  const failure = promisify(execFile)(process.execPath, ['-e', pretend]);
  await expect(failure).rejects.toMatchObject({
    code: 1,
    stderr: 'causeway: needs Node.js 20.19 or later, this is 18.20.8: install a current Node.js\n',
  });
});

test('an unknown command is told which there are', async () => {
  const failure = promisify(execFile)(process.execPath, [bootstrap, 'fly']);
  await expect(failure).rejects.toMatchObject({ code: 2, stderr: expect.stringContaining('start, test') });
});
