import { X509Certificate } from 'node:crypto';
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
