import { mkdir, mkdtemp, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import type { TlsFiles } from '../topology/plan.ts';
import { type CertificateFiles, certificateFault, clusterOfCertificate, openCertificates } from './certs.ts';
import type { Certificates } from './identity.ts';
import { type Authority, type CertificateRequest, type IssuedCertificate, issue, makeAuthority } from './make-certs.ts';

const expected = { trustDomain: 'acme', cluster: 'hub' };
const manual = { pollMs: 3_600_000 };

let authority: Authority;
beforeAll(async () => {
  authority = await makeAuthority('acme');
});

let dir: string;
let files: TlsFiles;
const opened: CertificateFiles[] = [];
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'causeway-certs-'));
  files = { cert: join(dir, 'hub.crt'), key: join(dir, 'hub.key'), ca: join(dir, 'ca.crt') };
  await writeFile(files.ca, authority.certificate);
});
afterEach(async () => {
  for (const source of opened.splice(0)) source.close();
  await rm(dir, { recursive: true });
});

async function put(request: Partial<CertificateRequest> = {}, from = authority): Promise<IssuedCertificate> {
  const pem = await issue(from, { cluster: 'hub', ...request });
  await writeFile(files.cert, pem.certificate);
  await writeFile(files.key, pem.key);
  return pem;
}

async function open(options: Parameters<typeof openCertificates>[2] = manual): Promise<CertificateFiles> {
  const source = await openCertificates(files, expected, options);
  opened.push(source);
  return source;
}

describe('certificate files', () => {
  it('give a pair that fits', async () => {
    const pem = await put({ notAfter: new Date('2035-01-01T00:00:00Z') });
    const source = await open();
    expect(source.failure).toBeUndefined();
    expect(source.current?.cert.toString()).toBe(pem.certificate);
    expect(source.current?.identity).toMatchObject(expected);
    expect(source.notAfterMs).toBe(Date.parse('2035-01-01T00:00:00Z'));
  });

  it('keep the last good pair through a renewal that is half written', async () => {
    await put();
    const source = await open();
    const good = source.current;
    const seen: Certificates[] = [];
    const unsubscribe = source.subscribe((current) => seen.push(current));

    const next = await issue(authority, { cluster: 'hub' });
    await writeFile(files.key, next.key);
    await source.reload();
    expect(source.current).toBe(good);
    expect(source.failure).toMatchObject({ reason: 'certificate-unusable', detail: expect.stringMatching(/belong/) });
    await writeFile(files.cert, next.certificate.slice(0, 300));
    await source.reload();
    expect(source.current).toBe(good);
    expect(source.failure).toMatchObject({ reason: 'certificate-unusable' });
    expect(seen).toEqual([]);

    await writeFile(files.cert, next.certificate);
    await source.reload();
    expect(source.failure).toBeUndefined();
    expect(source.current?.cert.toString()).toBe(next.certificate);
    expect(seen).toEqual([source.current]);
    await source.reload();
    expect(seen).toHaveLength(1);

    unsubscribe();
    await put();
    await source.reload();
    expect(seen).toHaveLength(1);
  });

  it('notice by themselves that the symlink of a mounted secret was swapped', async () => {
    const mounted = async (name: string): Promise<void> => {
      const pem = await issue(authority, { cluster: 'hub' });
      await mkdir(join(dir, name));
      await writeFile(join(dir, name, 'tls.crt'), pem.certificate);
      await writeFile(join(dir, name, 'tls.key'), pem.key);
      await symlink(name, join(dir, '..data_tmp'));
      await rename(join(dir, '..data_tmp'), join(dir, '..data'));
    };
    await mounted('..1');
    files = { cert: join(dir, '..data/tls.crt'), key: join(dir, '..data/tls.key'), ca: files.ca };
    const source = await open({ pollMs: 20 });
    const first = source.current;
    expect(first).toBeDefined();
    await mounted('..2');
    await vi.waitFor(() => expect(source.current).not.toBe(first), { timeout: 5000, interval: 10 });
    expect(source.failure).toBeUndefined();
  });

  it('say that a pair is outside its validity, and use it once it is inside', async () => {
    let nowMs = Date.parse('2026-06-01T00:00:00Z');
    const clock = { ...manual, nowMs: () => nowMs };
    await put({ notBefore: new Date('2026-06-02T00:00:00Z'), notAfter: new Date('2026-06-10T00:00:00Z') });
    const source = await open(clock);
    expect(source.current).toBeUndefined();
    expect(source.failure).toMatchObject({ reason: 'certificate-expired', detail: expect.stringMatching(/before/) });

    nowMs = Date.parse('2026-06-03T00:00:00Z');
    await source.reload();
    expect(source.current).toBeDefined();
    expect(source.failure).toBeUndefined();

    nowMs = Date.parse('2026-06-11T00:00:00Z');
    expect(source.failure).toMatchObject({ reason: 'certificate-expired', detail: expect.stringMatching(/ended/) });
    expect(source.current).toBeDefined();
  });

  it('do not take an expired renewal over a pair that is good', async () => {
    await put();
    const source = await open();
    const good = source.current;
    await put({ notBefore: new Date('2001-01-01T00:00:00Z'), notAfter: new Date('2001-02-01T00:00:00Z') });
    await source.reload();
    expect(source.failure?.reason).toBe('certificate-expired');
    expect(source.current).toBe(good);
  });

  it.each([
    ['another cluster', 'identity-mismatch', () => put({ cluster: 'plant' })],
    ['another trust domain', 'identity-mismatch', async () => put({}, await makeAuthority('other'))],
    ['no certificate file', 'certificate-unusable', async () => rm(files.cert, { force: true })],
    ['a garbage certificate', 'certificate-unusable', async () => put().then(() => writeFile(files.cert, 'x'))],
    ['a garbage key', 'certificate-unusable', async () => put().then(() => writeFile(files.key, 'x'))],
    ['an empty authority', 'certificate-unusable', async () => put().then(() => writeFile(files.ca, ''))],
  ] as const)('give nothing and say why for %s', async (_what, reason, prepare) => {
    await prepare();
    const source = await open();
    expect(source.current).toBeUndefined();
    expect(source.failure?.reason).toBe(reason);
  });
});

describe('the cluster that a certificate names', () => {
  it('is found, or it is said in plain words why not', async () => {
    await put();
    expect(clusterOfCertificate(files.cert, 'acme')).toEqual({ cluster: 'hub' });
    expect(clusterOfCertificate(files.cert, 'other')).toMatchObject({
      message: `${files.cert} names the trust domain acme, not other`,
    });
    const broken = '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n';
    for (const text of ['', 'x', broken]) {
      await writeFile(files.cert, text);
      expect(clusterOfCertificate(files.cert, 'acme')).toMatchObject({
        message: `the name of the cluster stands in ${files.cert}, which is no certificate (PEM)`,
      });
    }
    await rm(files.cert);
    expect(clusterOfCertificate(files.cert, 'acme')).toMatchObject({
      message: expect.stringContaining('cannot be read'),
    });
  });
});

describe('certificateFault', () => {
  it('names the file and the option, without the words of OpenSSL', async () => {
    const expected = { trustDomain: 'acme', cluster: 'hub' };
    await put();
    expect(certificateFault(files, expected)).toBeUndefined();
    expect(certificateFault(files, { ...expected, cluster: 'x' })).toMatchObject({
      option: 'cert',
      failure: { reason: 'identity-mismatch' },
    });
    await writeFile(files.key, 'x');
    expect(certificateFault(files, expected)?.option).toBe('key');
    await put();
    await writeFile(files.cert, 'x');
    expect(certificateFault(files, expected)).toEqual({
      option: 'cert',
      failure: { reason: 'certificate-unusable', detail: `${files.cert} is no certificate (PEM)` },
    });
    await rm(files.cert);
    expect(certificateFault(files, expected)).toBeUndefined();
  });
});
