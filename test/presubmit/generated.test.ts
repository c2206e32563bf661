import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import { tempDir } from '../support/temp.ts';
import { projectFiles, root, textOf } from './tree.ts';

const run = promisify(execFile);
const bin = join(root, 'node_modules/.bin');
// buf starts protoc-gen-es by name.
const options = { cwd: root, env: { ...process.env, PATH: `${bin}${delimiter}${process.env.PATH}` } };

test('the generated code is what `npm run gen` makes of proto/', async () => {
  await using dir = await tempDir('gen');
  await run(join(bin, 'buf'), ['generate', '--output', dir.path], options);
  const made = projectFiles(dir.path).length;
  const kept = projectFiles().filter((file) => file.startsWith('src/wire/gen/'));
  expect(made).toBe(kept.length);
  for (const file of kept) expect(await readFile(join(dir.path, file), 'utf8'), file).toBe(textOf(file));
});

test('proto/ passes the linter of buf', async () => {
  await run(join(bin, 'buf'), ['lint'], options);
});
