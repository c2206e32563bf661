import { X509Certificate } from 'node:crypto';
import './reflect-metadata.ts';
import { type JsonGeneralNames, SubjectAlternativeNameExtension, X509CertificateGenerator } from '@peculiar/x509';
import { describe, expect, it } from 'vitest';
import { identityOf } from './identity.ts';
import { issue, makeAuthority } from './make-certs.ts';

async function certificateWith(names: JsonGeneralNames, commonName = 'x'): Promise<X509Certificate> {
  const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };
  const keys = await crypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);
  const made = await X509CertificateGenerator.createSelfSigned({
    keys,
    name: [{ CN: [commonName] }],
    signingAlgorithm: algorithm,
    extensions: names.length === 0 ? [] : [new SubjectAlternativeNameExtension(names)],
  });
  return new X509Certificate(Buffer.from(made.rawData));
}

describe('identity of a certificate', () => {
  it('is the cluster and trust domain of its one SPIFFE URI', async () => {
    const notAfter = new Date('2031-02-03T04:05:06Z');
    const pem = await issue(await makeAuthority('acme.example'), { cluster: 'plant-7', notAfter });
    const certificate = new X509Certificate(pem.certificate);
    expect(identityOf(certificate)).toEqual({
      trustDomain: 'acme.example',
      cluster: 'plant-7',
      fingerprint: certificate.fingerprint256,
      notAfterMs: notAfter.getTime(),
    });
  });

  it('stands beside other names, odd ones included', async () => {
    const certificate = await certificateWith([
      { type: 'dns', value: 'hub.example' },
      { type: 'url', value: 'https://example.com/a,b' },
      { type: 'dn', value: 'CN=somebody' },
      { type: 'email', value: 'a"b\\@c.d' },
      { type: 'url', value: 'spiffe://acme/hub' },
      { type: 'id', value: '1.2.3.4' },
      { type: 'upn', value: 'me@example' },
    ]);
    expect(identityOf(certificate)).toMatchObject({ trustDomain: 'acme', cluster: 'hub' });
  });

  const refused: readonly (readonly [string, JsonGeneralNames])[] = [
    ['no names at all', []],
    ['only DNS names', [{ type: 'dns', value: 'hub' }]],
    ['a SPIFFE URI as a DNS name', [{ type: 'dns', value: 'spiffe://acme/hub' }]],
    ['a URI smuggled into a DNS name', [{ type: 'dns', value: 'a, URI:spiffe://acme/hub' }]],
    ['a URI smuggled into another URI', [{ type: 'url', value: 'http://a/, URI:spiffe://acme/hub' }]],
    ['a URI smuggled into a directory name', [{ type: 'dn', value: 'CN=a\\, URI:spiffe://acme/hub' }]],
    ['a NUL inside', [{ type: 'url', value: 'spiffe://acme/hub\u0000.evil' }]],
    ['a longer path', [{ type: 'url', value: 'spiffe://acme/ns/hub' }]],
    ['no path', [{ type: 'url', value: 'spiffe://acme' }]],
    ['a query', [{ type: 'url', value: 'spiffe://acme/hub?x' }]],
    ['a port', [{ type: 'url', value: 'spiffe://acme:1/hub' }]],
    ['upper case', [{ type: 'url', value: 'SPIFFE://acme/hub' }]],
    ['a leading space', [{ type: 'url', value: ' spiffe://acme/hub' }]],
    [
      'two SPIFFE URIs',
      [
        { type: 'url', value: 'spiffe://acme/hub' },
        { type: 'url', value: 'spiffe://acme/plant' },
      ],
    ],
    [
      'one good and one malformed SPIFFE URI',
      [
        { type: 'url', value: 'spiffe://acme/hub' },
        { type: 'url', value: 'Spiffe://acme/a,b' },
      ],
    ],
  ];
  it.each(refused)('is refused with %s', async (_what, names) => {
    expect(identityOf(await certificateWith(names, 'spiffe://acme/hub'))).toMatchObject({
      reason: 'identity-mismatch',
    });
  });
});
