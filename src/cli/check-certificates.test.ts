import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { causeway } from '../../test/support/causeway.ts';
import { type TempDir, tempDir } from '../../test/support/temp.ts';

let dir: TempDir;
beforeAll(async () => {
  dir = await tempDir('check-certificates');
  await causeway(['certs', '--trust-domain', 'acme', 'east', 'west'], { cwd: dir.path });
  await writeFile(join(dir.path, 'garbage.crt'), 'x');
});
afterAll(() => dir.remove());

async function check(cert: string, key: string): Promise<{ code: number | null; out: string }> {
  const file = `version: 1
cluster: east
trustDomain: acme
tls: { cert: ${cert}, key: ${key}, ca: certs/ca.crt }
nats: { servers: [nats://n] }
`;
  await writeFile(join(dir.path, 'east.yaml'), file);
  return await causeway(['check', 'east.yaml'], { cwd: dir.path });
}

it.each([
  ['certs/west.crt', 'certs/west.key', /^east.yaml:4:14: warning: tls.cert: identity-mismatch: .*west.crt/],
  ['certs/east.crt', 'certs/west.key', /^east.yaml:4:\d+: warning: tls.key: certificate-unusable: .*west.key/],
  ['garbage.crt', 'certs/west.key', /^east.yaml:4:14: warning: tls.cert: .*garbage.crt is no certificate/],
])('check warns of %s with %s', async (cert, key, expected) => {
  const { code, out } = await check(cert, key);
  expect(out).toMatch(expected);
  expect(code).toBe(0);
});

it('check has nothing to say of files that fit, or are not here', async () => {
  expect((await check('certs/east.crt', 'certs/east.key')).out).toMatch(/\nok\n$/);
  expect((await check('elsewhere.crt', 'elsewhere.key')).out).toMatch(/\nok\n$/);
});
