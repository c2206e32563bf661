import { basename } from 'node:path/posix';
import { expect, test } from 'vitest';
import { isGenerated, projectFiles, textOf } from './tree.ts';

const files = projectFiles();
const code = files.filter((file) => /^(src|test|bench|scripts)\/.*\.(ts|cjs|mjs|js)$/.test(file) && !isGenerated(file));

test('files of code are named in kebab-case', () => {
  const kebab = /^[a-z0-9]+(-[a-z0-9]+)*(\.test)?\.(ts|cjs|mjs|js)$/;
  expect(code.filter((file) => !kebab.test(basename(file)))).toEqual([]);
});

test('a file of code has fewer than 400 lines, a test fewer than 500', () => {
  const lines = (file: string): number => textOf(file).trimEnd().split('\n').length;
  // A table of cases in a test may be longer: there is nothing in it to keep in mind at once.
  const limit = (file: string) => (file.endsWith('.test.ts') ? 500 : 400);
  expect(code.filter((file) => lines(file) >= limit(file)).map((file) => `${file}: ${lines(file)}`)).toEqual([]);
});

test('nothing names a folder of the machine it was written on', () => {
  const folders = new RegExp(`(^|[^\\w.$}/-])/(${['work', 'tmp', 'root', 'home'].join('|')})/`);
  expect(files.filter((file) => folders.test(textOf(file)))).toEqual([]);
});

test('nothing names the host of a package registry or mirror', () => {
  // Put together here, or this file would name them itself.
  const hosts = [
    ['registry', 'npmjs', 'org'],
    ['registry', 'yarnpkg', 'com'],
    ['npmmirror', 'com'],
    ['deb', 'debian', 'org'],
    ['ftp', 'debian', 'org'],
    ['security', 'debian', 'org'],
    ['snapshot', 'debian', 'org'],
    ['proxy', 'golang', 'org'],
  ].map((parts) => parts.join('.'));
  expect(files.filter((file) => hosts.some((host) => textOf(file).includes(host)))).toEqual([]);
});

test('code does not put off what it should do', () => {
  const marks = new RegExp(`\\b(${['TO', 'FIX', 'X'].map((start, i) => start + ['DO', 'ME', 'XX'][i]).join('|')})\\b`);
  expect(code.filter((file) => marks.test(textOf(file)))).toEqual([]);
});
