import { chmod, mkdir, symlink, writeFile } from 'node:fs/promises';
import { delimiter, dirname, join } from 'node:path';
import { expect, test } from 'vitest';
import { tempDir } from '../../../test/support/temp.ts';
import { atLeast, compareVersions, formatVersion, locateServers, newest } from './server-binary.ts';

/** A shell script in place of a server. */
async function fake(path: string, body: string): Promise<string> {
  await mkdir(dirname(path), { recursive: true });
  await writeFile(path, `#!/bin/sh\n${body}\n`);
  await chmod(path, 0o755);
  return path;
}

const says = (version: string): string => `echo "nats-server: v${version}"`;

/** What is found below `root`, leaving out what this machine may have installed. */
async function search(root: string, env: NodeJS.ProcessEnv, extra: readonly string[] = []) {
  const skipped: string[] = [];
  const all = await locateServers(env, extra, (path, reason) => skipped.push(`${path}: ${reason}`), 2_000);
  const found = all.filter((one) => one.path.startsWith(root)).map((one) => formatVersion(one.version));
  return { found, skipped: skipped.filter((line) => line.startsWith(root)) };
}

test('PATH, extra folders and the folders below them are searched; the newest comes first', async () => {
  await using dir = await tempDir();
  await fake(join(dir.path, 'a/nats-server'), says('2.9.10'));
  await fake(join(dir.path, 'b/nats-server'), says('2.10.27'));
  await fake(join(dir.path, 'cache/nats-server'), says('2.10.3'));
  await fake(join(dir.path, 'cache/2.15.1/nats-server'), says('2.15.1-RC.1'));
  const env = { PATH: [join(dir.path, 'a'), join(dir.path, 'b'), join(dir.path, 'gone')].join(delimiter) };
  const { found, skipped } = await search(dir.path, env, [join(dir.path, 'cache'), join(dir.path, 'nowhere')]);
  expect(found).toEqual(['2.15.1', '2.10.27', '2.10.3', '2.9.10']);
  expect(skipped).toEqual([]);
});

test('what cannot run is skipped with its reason, and the rest is found', async () => {
  await using dir = await tempDir();
  await fake(join(dir.path, 'bad/nats-server'), 'echo "libc.so.6: version GLIBC_2.99 not found" >&2; exit 1');
  await fake(join(dir.path, 'mute/nats-server'), 'echo hello');
  await fake(join(dir.path, 'hung/nats-server'), 'exec sleep 300');
  await writeFile(await fake(join(dir.path, 'foreign/nats-server'), ''), '\x7fELF\x01\x01\x01');
  await fake(join(dir.path, 'good/nats-server'), says('2.11.0'));
  const { found, skipped } = await search(dir.path, { PATH: '' }, [dir.path]);
  expect(found).toEqual(['2.11.0']);
  expect(skipped).toHaveLength(4);
  expect(skipped.join('\n')).toMatch(/GLIBC_2\.99 not found/);
  expect(skipped.join('\n')).toMatch(/prints no version: "hello/);
  expect(skipped.join('\n')).toMatch(/hung.*no answer within 2 s/);
});

test('one binary under two names is one', async () => {
  await using dir = await tempDir();
  const path = await fake(join(dir.path, 'real/nats-server'), says('2.12.0'));
  await mkdir(join(dir.path, 'link'));
  await symlink(path, join(dir.path, 'link/nats-server'));
  const { found } = await search(dir.path, { PATH: '' }, [dir.path]);
  expect(found).toEqual(['2.12.0']);
});

test('NATS_SERVER is an explicit choice: nothing else is looked at', async () => {
  await using dir = await tempDir();
  const chosen = await fake(join(dir.path, 'mine'), says('2.10.1'));
  await fake(join(dir.path, 'path/nats-server'), says('2.99.0'));
  const env = { NATS_SERVER: chosen, PATH: join(dir.path, 'path') };
  expect(await newest(env, [dir.path])).toEqual({ path: chosen, version: [2, 10, 1] });
  const missing = join(dir.path, 'typo');
  const { found, skipped } = await search(dir.path, { ...env, NATS_SERVER: missing });
  expect(found).toEqual([]);
  expect(skipped).toEqual([`${missing}: NATS_SERVER names a file that does not exist`]);
});

test('versions compare by number', () => {
  expect(compareVersions([2, 9, 10], [2, 10, 0])).toBeLessThan(0);
  expect(atLeast([2, 10, 0], 2, 10)).toBe(true);
  expect(atLeast([2, 10, 13], 2, 10, 14)).toBe(false);
  expect(atLeast([3, 0, 0], 2, 99, 99)).toBe(true);
});
