import { createPrivateKey, X509Certificate } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { createSecureContext } from 'node:tls';
import type { TlsFiles } from '../topology/plan.ts';
import type { Failure, Reason } from '../wire/reasons.ts';
import { type CertificateSource, type Certificates, identityOf, spiffeUri } from './identity.ts';

/** Who our own certificate must say we are. */
export interface ExpectedIdentity {
  readonly trustDomain: string;
  readonly cluster: string;
}

export interface CertificateFilesOptions {
  /** How often the files are read again. Default 5000. */
  readonly pollMs?: number;
  /** The clock that decides about validity, Unix ms. */
  readonly nowMs?: () => number;
}

/**
 * Certificate, key and authority in PEM files that somebody renews. The files are read as a whole every few seconds, which also
 * sees the swapped symlinks of Kubernetes; what does not fit together (half a renewal) or is not valid is not published, and the last
 * good pair stays. gRPC's own file provider refuses every connection in that state instead.
 */
export class CertificateFiles implements CertificateSource {
  readonly #files: TlsFiles;
  readonly #expect: ExpectedIdentity;
  readonly #nowMs: () => number;
  readonly #listeners = new Set<(current: Certificates) => void>();
  readonly #timer: NodeJS.Timeout;
  #current: Certificates | undefined;
  #filesFailure: Failure | undefined;
  #reading: Promise<void> | undefined;

  constructor(files: TlsFiles, expect: ExpectedIdentity, options: CertificateFilesOptions = {}) {
    this.#files = files;
    this.#expect = expect;
    this.#nowMs = options.nowMs ?? Date.now;
    this.#timer = setInterval(() => void this.reload(), options.pollMs ?? 5000);
    this.#timer.unref();
  }

  get current(): Certificates | undefined {
    return this.#current;
  }

  get failure(): Failure | undefined {
    if (this.#filesFailure !== undefined) return this.#filesFailure;
    return this.#current === undefined ? undefined : outsideValidity(this.#current.cert, this.#nowMs());
  }

  /** End of validity of the pair in use, Unix ms. */
  get notAfterMs(): number | undefined {
    return this.#current?.identity.notAfterMs;
  }

  subscribe(listener: (current: Certificates) => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  /** Reads the files now. Never rejects: what is wrong stands in `failure`. */
  reload(): Promise<void> {
    this.#reading ??= this.#read().finally(() => {
      this.#reading = undefined;
    });
    return this.#reading;
  }

  /** Stops watching. `current` stays. */
  close(): void {
    clearInterval(this.#timer);
    this.#listeners.clear();
  }

  async #read(): Promise<void> {
    const read = await readPem(this.#files);
    if ('reason' in read) {
      this.#filesFailure = read;
      return;
    }
    const old = this.#current;
    if (old?.cert.equals(read.cert) && old.key.equals(read.key) && old.ca.equals(read.ca)) {
      this.#filesFailure = undefined;
      return;
    }
    const checked = checkCertificates(read, this.#expect, this.#nowMs());
    if ('reason' in checked) {
      this.#filesFailure = checked;
      return;
    }
    this.#filesFailure = undefined;
    this.#current = checked;
    try {
      for (const listener of [...this.#listeners]) listener(checked);
    } catch (error) {
      this.#filesFailure = failure('certificate-unusable', messageOf(error));
    }
  }
}

/** Opens the files of a plan and has read them once. Never rejects: see `failure` of the result. */
export async function openCertificates(
  files: TlsFiles,
  expect: ExpectedIdentity,
  options?: CertificateFilesOptions,
): Promise<CertificateFiles> {
  const source = new CertificateFiles(files, expect, options);
  await source.reload();
  return source;
}

interface PemFiles {
  readonly cert: Buffer;
  readonly key: Buffer;
  readonly ca: Buffer;
}

async function readPem(files: TlsFiles): Promise<PemFiles | Failure> {
  try {
    const [cert, key, ca] = await Promise.all([readFile(files.cert), readFile(files.key), readFile(files.ca)]);
    return { cert, key, ca };
  } catch (error) {
    return failure('certificate-unusable', messageOf(error));
  }
}

/** Proves that the three belong together, are valid now and say who we are meant to be; or why not. */
export function checkCertificates(pem: PemFiles, expect: ExpectedIdentity, nowMs: number): Certificates | Failure {
  let certificate: X509Certificate;
  try {
    certificate = new X509Certificate(pem.cert);
    if (!certificate.checkPrivateKey(createPrivateKey(pem.key))) {
      return failure('certificate-unusable', 'the key does not belong to the certificate');
    }
    // A file without any certificate would pass as an empty list of authorities.
    new X509Certificate(pem.ca);
    createSecureContext(pem);
  } catch (error) {
    return failure('certificate-unusable', messageOf(error));
  }
  const identity = identityOf(certificate);
  if ('reason' in identity) return identity;
  if (identity.trustDomain !== expect.trustDomain || identity.cluster !== expect.cluster) {
    const found = spiffeUri(identity.trustDomain, identity.cluster);
    const wanted = spiffeUri(expect.trustDomain, expect.cluster);
    return failure('identity-mismatch', `our own certificate is for ${found}, not for ${wanted}`);
  }
  return outsideValidity(pem.cert, nowMs) ?? { ...pem, identity };
}

function outsideValidity(cert: Buffer, nowMs: number): Failure | undefined {
  const { validFrom, validTo } = new X509Certificate(cert);
  if (nowMs < Date.parse(validFrom)) return failure('certificate-expired', `our own is not valid before ${validFrom}`);
  if (nowMs > Date.parse(validTo)) return failure('certificate-expired', `our own ended on ${validTo}`);
  return undefined;
}

function failure(reason: Reason, detail: string): Failure {
  return { reason, detail };
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
