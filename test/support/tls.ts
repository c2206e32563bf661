import { webcrypto, X509Certificate } from 'node:crypto';
import '../../src/security/reflect-metadata.ts';
import { PemConverter, SubjectAlternativeNameExtension, X509CertificateGenerator } from '@peculiar/x509';
import { type CertificateSource, type Certificates, identityOf } from '../../src/security/identity.ts';
import { type Authority, type CertificateRequest, issue } from '../../src/security/make-certs.ts';
import type { Failure } from '../../src/wire/reasons.ts';

/** A certificate as a CertificateSource gives it, without files. `trusting` is the authority that the holder trusts. */
export async function certificatesOf(
  authority: Authority,
  request: CertificateRequest,
  trusting: Authority = authority,
): Promise<Certificates> {
  const pem = await issue(authority, request);
  const identity = identityOf(new X509Certificate(pem.certificate));
  if ('reason' in identity) throw new Error(identity.detail);
  return {
    cert: Buffer.from(pem.certificate),
    key: Buffer.from(pem.key),
    ca: Buffer.from(trusting.certificate),
    identity,
  };
}

const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const;

/** A certificate as the world has them: names of hosts, and no URI. Signed by itself. */
export async function foreignCertificate(
  host: string,
): Promise<{ readonly cert: Buffer; readonly key: Buffer; readonly issuer: string }> {
  const keys = await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);
  const issuer = 'Corporate Gateway';
  const certificate = await X509CertificateGenerator.createSelfSigned({
    keys,
    name: [{ CN: [issuer] }],
    signingAlgorithm: algorithm,
    notBefore: new Date(Date.now() - 60_000),
    notAfter: new Date(Date.now() + 3_600_000),
    extensions: [new SubjectAlternativeNameExtension([{ type: 'dns', value: host }])],
  });
  const key = await webcrypto.subtle.exportKey('pkcs8', keys.privateKey);
  return {
    cert: Buffer.from(certificate.toString('pem')),
    key: Buffer.from(PemConverter.encode(key, 'PRIVATE KEY')),
    issuer,
  };
}

/** A certificate source that a test turns by hand. */
export class HeldCertificates implements CertificateSource {
  failure: Failure | undefined;
  readonly #listeners = new Set<(current: Certificates) => void>();
  #current: Certificates | undefined;

  constructor(current: Certificates | undefined) {
    this.#current = current;
  }

  get current(): Certificates | undefined {
    return this.#current;
  }

  set(current: Certificates): void {
    this.#current = current;
    for (const listener of this.#listeners) listener(current);
  }

  subscribe(listener: (current: Certificates) => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }
}
