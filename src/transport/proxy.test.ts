import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { tempDir } from '../../test/support/temp.ts';
import { FailureError } from '../wire/reasons.ts';
import { isExcepted, proxyTo } from './proxy.ts';

const hub = { host: 'hub.example', port: 7443 };
const url = 'http://proxy.example:3128';

function refused(...args: Parameters<typeof proxyTo>): string {
  try {
    proxyTo(...args);
  } catch (error) {
    if (error instanceof FailureError && error.failure.reason === 'proxy-unusable') return error.failure.detail;
    throw error;
  }
  throw new Error('not refused');
}

describe('the proxy of a peer', () => {
  it.each([
    ['http://proxy.example:3128', { host: 'proxy.example', port: 3128 }],
    ['http://proxy.example', { host: 'proxy.example', port: 80 }],
    ['http://[fd00::1]:3128/', { host: 'fd00::1', port: 3128 }],
    ['10.0.0.1:3128', { host: '10.0.0.1', port: 3128 }],
    ['proxy:3128', { host: 'proxy', port: 3128 }],
  ])('%s is at %j', (text, address) => {
    expect(proxyTo(hub, { env: 'P' }, { P: text })).toEqual({ address });
  });

  it('is reached over TLS where its URL says so', () => {
    const secure = { address: { host: 'proxy.example', port: 443 }, tls: {} };
    expect(proxyTo(hub, { url: 'https://proxy.example' }, {})).toEqual(secure);
  });

  it('is none if the variable is unset or empty, or excepts the address', () => {
    expect(proxyTo(hub, { env: 'P' }, {})).toBeUndefined();
    expect(proxyTo(hub, { env: 'P' }, { P: '' })).toBeUndefined();
    expect(proxyTo(hub, { url, except: ['hub.example'] }, {})).toBeUndefined();
    expect(proxyTo(hub, { url, except: { env: 'NO' } }, { NO: 'a, .example  b' })).toBeUndefined();
    expect(proxyTo(hub, { url, except: { env: 'NO' } }, {})).toBeDefined();
  });

  it('takes a name and a password from the variable, and rather from the file', async () => {
    await using dir = await tempDir();
    const file = join(dir.path, 'password');
    await writeFile(file, 'from:file\n');
    const env = { P: 'http://us%20er:p%40ss@proxy.example:3128' };
    expect(proxyTo(hub, { env: 'P' }, env)?.login).toBe('us er:p@ss');
    process.env.CAUSEWAY_TEST_USER = 'other';
    try {
      const given = { env: 'P', user: { env: 'CAUSEWAY_TEST_USER' }, password: { file } };
      expect(proxyTo(hub, given, env)?.login).toBe('other:from:file');
    } finally {
      delete process.env.CAUSEWAY_TEST_USER;
    }
  });

  it.each(['http://', 'socks5://proxy:1080', 'http://proxy/path', 'http://proxy:99999', 'secret word'])(
    'cannot be %s, which is not repeated',
    (text) => {
      expect(refused(hub, { env: 'P' }, { P: text })).toBe(
        'the environment variable P is not the URL of a proxy: http://HOST:PORT or https://HOST:PORT',
      );
    },
  );

  it('is not used if its secrets cannot be read', () => {
    const missing = { file: 'no/such/file' };
    expect(refused(hub, { url, user: missing, password: missing }, {})).toMatch(/cannot read no\/such\/file: ENOENT/);
    expect(refused(hub, { url: 'https://p', ca: 'no/such/file' }, {})).toMatch(/authorities of the proxy: ENOENT/);
    expect(refused(hub, { env: 'P' }, { P: 'http://%zz:x@p' })).not.toContain('%zz');
  });
});

describe('an exception', () => {
  it.each([
    ['*', 'anything', true],
    ['example.com', 'example.com', true],
    ['example.com', 'hub.EXAMPLE.com', true],
    ['example.com', 'badexample.com', false],
    ['.example.com', 'hub.example.com', true],
    ['.example.com', 'example.com', false],
    ['*.example.com', 'a.b.example.com', true],
    ['*.example.com', 'example.com', false],
    ['example.com:7443', 'example.com', true],
    ['example.com:443', 'example.com', false],
    ['10.1.2.3', '10.1.2.3', true],
    ['10.1.2.3:7443', '10.1.2.3', true],
    ['10.0.0.0/8', '10.255.0.1', true],
    ['10.0.0.0/8', '11.0.0.1', false],
    ['10.0.0.0/8', 'ten.example', false],
    ['10.0.0.0/33', '10.0.0.1', false],
    ['10.0.0.0/x', '10.0.0.1', false],
    ['::1', '::1', true],
    ['[::1]', '::1', true],
    ['[::1]:7443', '::1', true],
    ['[::1]:443', '::1', false],
    ['fd00::/8', 'fd12::1', true],
    ['fd00::/8', 'fe80::1', false],
    ['::/0', '10.0.0.1', false],
    ['', 'hub', false],
    ['.', 'hub', false],
  ])('%s for %s: %s', (pattern, host, covered) => {
    expect(isExcepted({ host, port: 7443 }, [pattern])).toBe(covered);
  });
});
