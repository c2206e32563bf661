import { X509Certificate } from 'node:crypto';
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { issue, makeAuthority, writeCerts } from './make-certs.ts';

let dir: string;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'causeway-certs-'));
});
afterEach(() => rm(dir, { recursive: true }));

describe('development certificates', () => {
  it('are signed by the authority and serve both ends of a connection', async () => {
    const authority = await makeAuthority('acme');
    const ca = new X509Certificate(authority.certificate);
    const pem = await issue(authority, { cluster: 'hub', hosts: ['hub.example', '10.1.2.3', 'fe80::1'] });
    const certificate = new X509Certificate(pem.certificate);
    expect(ca.ca).toBe(true);
    expect(certificate.ca).toBe(false);
    expect(certificate.checkIssued(ca)).toBe(true);
    expect(certificate.verify(ca.publicKey)).toBe(true);
    expect(certificate.keyUsage).toEqual(['1.3.6.1.5.5.7.3.2', '1.3.6.1.5.5.7.3.1']);
    for (const ip of ['127.0.0.1', '::1', '10.1.2.3', 'fe80::1']) expect(certificate.checkIP(ip)).toBe(ip);
    for (const host of ['localhost', 'hub.example']) expect(certificate.checkHost(host)).toBe(host);
    expect(certificate.subjectAltName).toMatch(/^URI:spiffe:\/\/acme\/hub, /);
  });

  it('take explicit dates, so that an expired one can be made', async () => {
    const notBefore = new Date('2001-01-01T00:00:00Z');
    const notAfter = new Date('2001-01-02T00:00:00Z');
    const pem = await issue(await makeAuthority('acme'), { cluster: 'hub', notBefore, notAfter });
    const certificate = new X509Certificate(pem.certificate);
    expect(Date.parse(certificate.validFrom)).toBe(notBefore.getTime());
    expect(Date.parse(certificate.validTo)).toBe(notAfter.getTime());
  });

  it('are written once, with keys for their owner only', async () => {
    const clusters = [{ cluster: 'hub' }, { cluster: 'plant-1', hosts: ['plant.example'] }];
    const first = await writeCerts(dir, { trustDomain: 'acme', clusters });
    expect(first.authority).toBe('made');
    expect(first.written).toEqual([join(dir, 'hub.crt'), join(dir, 'plant-1.crt')]);
    expect((await readdir(dir)).sort()).toEqual(
      ['ca.crt', 'ca.key', 'hub.crt', 'hub.key', 'plant-1.crt', 'plant-1.key'].sort(),
    );
    for (const key of ['ca.key', 'hub.key', 'plant-1.key']) {
      expect((await stat(join(dir, key))).mode & 0o777).toBe(0o600);
    }
    const before = await snapshot();

    const second = await writeCerts(dir, { trustDomain: 'acme', clusters: [...clusters, { cluster: 'plant-2' }] });
    expect(second).toMatchObject({ authority: 'reused', written: [join(dir, 'plant-2.crt')] });
    expect(second.kept).toEqual([join(dir, 'hub.crt'), join(dir, 'plant-1.crt')]);
    expect(await snapshot()).toMatchObject(before);

    const forced = await writeCerts(dir, { trustDomain: 'acme', clusters: [{ cluster: 'hub' }], force: true });
    expect(forced).toMatchObject({ authority: 'reused', written: [join(dir, 'hub.crt')] });
    const after = await snapshot();
    expect(after['ca.crt']).toBe(before['ca.crt']);
    expect(after['hub.crt']).not.toBe(before['hub.crt']);
    const ca = new X509Certificate(after['ca.crt']!);
    expect(new X509Certificate(after['hub.crt']!).verify(ca.publicKey)).toBe(true);
  });

  it('are refused where the authority is for another trust domain, incomplete, garbage or not its own', async () => {
    const ask = { trustDomain: 'acme', clusters: [{ cluster: 'hub' }] };
    await writeCerts(dir, { trustDomain: 'other', clusters: [] });
    await expect(writeCerts(dir, ask)).rejects.toMatchObject({ failure: { reason: 'identity-mismatch' } });

    const unusable = { failure: { reason: 'certificate-unusable' } };
    await writeFile(join(dir, 'ca.key'), (await makeAuthority('other')).key);
    await expect(writeCerts(dir, { ...ask, trustDomain: 'other' })).rejects.toMatchObject(unusable);
    await writeFile(join(dir, 'ca.key'), 'garbage');
    await expect(writeCerts(dir, { ...ask, trustDomain: 'other' })).rejects.toMatchObject(unusable);
    await rm(join(dir, 'ca.key'));
    await expect(writeCerts(dir, ask)).rejects.toMatchObject(unusable);
    expect(await readdir(dir)).toEqual(['ca.crt']);
    await expect(writeCerts(dir, { trustDomain: 'acme', clusters: [{ cluster: 'ca' }], force: true })).rejects.toThrow(
      /take the place of the authority/,
    );
  });
});

async function snapshot(): Promise<Record<string, string>> {
  const names = await readdir(dir);
  const texts = await Promise.all(names.map((name) => readFile(join(dir, name), 'utf8')));
  return Object.fromEntries(names.map((name, index) => [name, texts[index]!]));
}
