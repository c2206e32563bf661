import { createPrivateKey, X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
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
    const checked = checkCertificates(read, this.#expect, this.#nowMs(), this.#files);
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

/** What is wrong with the files of the option `tls`, and which of them has it. */
export interface CertificateFault {
  readonly option: keyof TlsFiles;
  readonly failure: Failure;
}

/** What a daemon with these files would refuse to start for. What cannot be read is passed over: `checkFiles` tells it. */
export function certificateFault(
  files: TlsFiles,
  expect: ExpectedIdentity,
  nowMs = Date.now(),
): CertificateFault | undefined {
  let pem: PemFiles;
  try {
    pem = { cert: readFileSync(files.cert), key: readFileSync(files.key), ca: readFileSync(files.ca) };
  } catch {
    // Told by checkFiles, with the option.
    return undefined;
  }
  const judged = judge(pem, expect, nowMs, files);
  return 'failure' in judged ? judged : undefined;
}

const ownNames: TlsFiles = { cert: 'the certificate', key: 'the key', ca: 'the authority' };

/** Proves that the three belong together, are valid now and say who we are meant to be; or why not. `files` are named in that. */
export function checkCertificates(
  pem: PemFiles,
  expect: ExpectedIdentity,
  nowMs: number,
  files: TlsFiles = ownNames,
): Certificates | Failure {
  const judged = judge(pem, expect, nowMs, files);
  return 'failure' in judged ? judged.failure : judged;
}

function judge(
  pem: PemFiles,
  expect: ExpectedIdentity,
  nowMs: number,
  files: TlsFiles,
): Certificates | CertificateFault {
  const unusable = (option: keyof TlsFiles, detail: string): CertificateFault => {
    return { option, failure: failure('certificate-unusable', detail) };
  };
  // What OpenSSL says of a broken file names a place in its own code.
  const certificate = parsed(() => new X509Certificate(pem.cert));
  if (certificate === undefined) return unusable('cert', `${files.cert} is no certificate (PEM)`);
  const key = parsed(() => createPrivateKey(pem.key));
  if (key === undefined) return unusable('key', `${files.key} is no private key without a passphrase (PEM)`);
  // A file without any certificate would pass as an empty list of authorities.
  if (parsed(() => new X509Certificate(pem.ca)) === undefined)
    return unusable('ca', `${files.ca} is no certificate (PEM)`);
  if (!certificate.checkPrivateKey(key))
    return unusable('key', `the key does not belong to the certificate: ${files.key}, ${files.cert}`);
  try {
    createSecureContext(pem);
  } catch (error) {
    return unusable('cert', `${files.cert}: ${messageOf(error)}`);
  }
  const identity = identityOf(certificate);
  if ('reason' in identity)
    return { option: 'cert', failure: { ...identity, detail: `${files.cert}: ${identity.detail}` } };
  if (identity.trustDomain !== expect.trustDomain || identity.cluster !== expect.cluster) {
    const found = spiffeUri(identity.trustDomain, identity.cluster);
    const wanted = spiffeUri(expect.trustDomain, expect.cluster);
    const detail = `our own certificate ${files.cert} is for ${found}, not for ${wanted}`;
    return { option: 'cert', failure: failure('identity-mismatch', detail) };
  }
  const outside = outsideValidity(pem.cert, nowMs);
  if (outside === undefined) return { ...pem, identity };
  return { option: 'cert', failure: { ...outside, detail: `${files.cert}: ${outside.detail}` } };
}

/** Undefined if it is not what it should be. */
function parsed<T>(parse: () => T): T | undefined {
  try {
    return parse();
  } catch {
    // The caller says which file it was.
    return undefined;
  }
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

/**
 * The cluster that the certificate in this PEM file names, for a topology file that leaves the name to it; or what is wrong. Proves
 * nothing: the daemon verifies the certificate when it takes it into use.
 */
export function clusterOfCertificate(
  file: string,
  trustDomain: string,
): { readonly cluster: string } | { readonly message: string; readonly fix: string } {
  const fix = 'put a certificate with the URI spiffe://TRUST-DOMAIN/CLUSTER there, or give cluster: NAME';
  let pem: Buffer;
  try {
    pem = readFileSync(file);
  } catch (error) {
    return { message: `the name of the cluster stands in ${file}, which cannot be read: ${messageOf(error)}`, fix };
  }
  let certificate: X509Certificate;
  try {
    certificate = new X509Certificate(pem);
  } catch {
    // What OpenSSL says of it names a place in its own code.
    return { message: `the name of the cluster stands in ${file}, which is no certificate (PEM)`, fix };
  }
  const identity = identityOf(certificate);
  if ('reason' in identity) return { message: `${file}: ${identity.detail}`, fix };
  if (identity.trustDomain !== trustDomain)
    return { message: `${file} names the trust domain ${identity.trustDomain}, not ${trustDomain}`, fix };
  return { cluster: identity.cluster };
}
