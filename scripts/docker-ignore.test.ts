import { expect, test } from 'vitest';
import { ignoredBy } from './docker-ignore.ts';

const allowlist = `
# only these
*
!src
!deploy/docker/check.mjs
**/*.test.ts
`;

test.each([
  ['secret.key', true],
  ['.git/config', true],
  ['deploy/docker/other.mjs', true],
  ['deploy/docker/check.mjs', false],
  ['src', false],
  ['src/main.ts', false],
  ['src/deep/er/x.ts', false],
  ['src/main.test.ts', true],
  ['src/deep/er/x.test.ts', true],
  ['srcs/main.ts', true],
])('%s: %s', (path, ignored) => expect(ignoredBy(allowlist)(path)).toBe(ignored));

test('the last rule that matches decides, and a rule for a folder is one for what lies in it', () => {
  const ignored = ignoredBy('docs/\n!docs/README.md\n/a?c/*.md\nx/**\n');
  expect(ignored('docs/cli.md')).toBe(true);
  expect(ignored('docs/README.md')).toBe(false);
  expect(ignored('abc/x.md')).toBe(true);
  expect(ignored('abc/d/x.md')).toBe(false);
  expect(ignored('abbc/x.md')).toBe(false);
  expect(ignored('x/y/z')).toBe(true);
  expect(ignored('other')).toBe(false);
});
