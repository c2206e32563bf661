import { createPrivateKey, X509Certificate as NodeCertificate, randomUUID, webcrypto } from 'node:crypto';
import { access, chmod, link, mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { isIP } from 'node:net';
import { join } from 'node:path';
import './reflect-metadata.ts';
import {
  AuthorityKeyIdentifierExtension,
  BasicConstraintsExtension,
  ExtendedKeyUsage,
  ExtendedKeyUsageExtension,
  type JsonGeneralNames,
  KeyUsageFlags,
  KeyUsagesExtension,
  PemConverter,
  SubjectAlternativeNameExtension,
  SubjectKeyIdentifierExtension,
  X509Certificate,
  X509CertificateGenerator,
} from '@peculiar/x509';
import { FailureError } from '../wire/reasons.ts';
import { spiffeUri } from './identity.ts';

const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const;
const dayMs = 24 * 3600 * 1000;
/** Certificates start a little in the past, so that a peer whose clock is behind takes them. */
const skewMs = 5 * 60 * 1000;

/** A development certificate authority for one trust domain. */
export interface Authority {
  readonly trustDomain: string;
  /** PEM. */
  readonly certificate: string;
  /** PEM, PKCS #8. */
  readonly key: string;
}

/** Length of validity: `days` from now, or two explicit dates (tests make expired certificates with them). */
export interface Validity {
  readonly days?: number;
  readonly notBefore?: Date;
  readonly notAfter?: Date;
}

export interface CertificateRequest extends Validity {
  readonly cluster: string;
  /** DNS names and IP addresses beside localhost. They give no identity; other TLS clients may want them. */
  readonly hosts?: readonly string[];
}

/** PEM of a certificate and of its key. */
export interface IssuedCertificate {
  readonly certificate: string;
  readonly key: string;
}

/** Makes an authority; valid for ten years unless said otherwise. */
export async function makeAuthority(trustDomain: string, validity: Validity = {}): Promise<Authority> {
  const keys = await makeKeys();
  const certificate = await X509CertificateGenerator.createSelfSigned({
    keys,
    name: [{ CN: ['Causeway development authority'] }, { O: [trustDomain] }],
    signingAlgorithm: algorithm,
    ...dates(validity, 3650),
    extensions: [
      new BasicConstraintsExtension(true, 0, true),
      new KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign, true),
      new SubjectAlternativeNameExtension([{ type: 'url', value: `spiffe://${trustDomain}` }]),
      await SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  });
  return { trustDomain, certificate: `${certificate.toString('pem')}\n`, key: await keyPem(keys.privateKey) };
}

/** Issues the certificate of one cluster, for dialling and for listening; valid for a year unless said otherwise. */
export async function issue(authority: Authority, request: CertificateRequest): Promise<IssuedCertificate> {
  const keys = await makeKeys();
  const issuer = new X509Certificate(authority.certificate);
  const hosts = new Set(['localhost', '127.0.0.1', '::1', ...(request.hosts ?? [])]);
  const names: JsonGeneralNames = [
    { type: 'url', value: spiffeUri(authority.trustDomain, request.cluster) },
    ...[...hosts].map((host) => ({ type: isIP(host) === 0 ? ('dns' as const) : ('ip' as const), value: host })),
  ];
  const certificate = await X509CertificateGenerator.create({
    subject: [{ CN: [request.cluster] }, { O: [authority.trustDomain] }],
    issuer: issuer.subject,
    publicKey: keys.publicKey,
    signingKey: await importKey(authority.key),
    signingAlgorithm: algorithm,
    ...dates(request, 365),
    extensions: [
      new BasicConstraintsExtension(false, undefined, true),
      new KeyUsagesExtension(KeyUsageFlags.digitalSignature, true),
      new ExtendedKeyUsageExtension([ExtendedKeyUsage.clientAuth, ExtendedKeyUsage.serverAuth]),
      new SubjectAlternativeNameExtension(names),
      await SubjectKeyIdentifierExtension.create(keys.publicKey),
      await AuthorityKeyIdentifierExtension.create(issuer.publicKey),
    ],
  });
  return { certificate: `${certificate.toString('pem')}\n`, key: await keyPem(keys.privateKey) };
}

export interface WriteCertsRequest extends Validity {
  readonly trustDomain: string;
  readonly clusters: readonly { readonly cluster: string; readonly hosts?: readonly string[] }[];
  /** Replace certificates of clusters that exist already. The authority is never replaced. */
  readonly force?: boolean;
}

/** What `writeCerts` did, as paths. */
export interface WriteCertsResult {
  readonly ca: string;
  readonly authority: 'made' | 'reused';
  readonly written: readonly string[];
  /** Files that existed and were left alone. */
  readonly kept: readonly string[];
}

/**
 * Writes `ca.crt`, `ca.key` and `<cluster>.crt`, `<cluster>.key` into `dir`; keys are readable by their owner only. An authority that
 * is there already is used, never replaced. Throws FailureError when it cannot be used, and file system errors.
 */
export async function writeCerts(dir: string, request: WriteCertsRequest): Promise<WriteCertsResult> {
  if (request.clusters.some(({ cluster }) => cluster === 'ca')) {
    throw new FailureError('certificate-unusable', 'files of a cluster named ca would take the place of the authority');
  }
  await mkdir(dir, { recursive: true });
  const ca = { certificate: join(dir, 'ca.crt'), key: join(dir, 'ca.key') };
  const found = await readAuthority(ca, request.trustDomain);
  const authority = found ?? (await makeAuthority(request.trustDomain));
  // A link, unlike a rename, fails when somebody else has made an authority in the meantime.
  if (found === undefined) await writePair(ca, authority, link);
  const written: string[] = [];
  const kept: string[] = [];
  for (const { cluster, hosts } of request.clusters) {
    const files = { certificate: join(dir, `${cluster}.crt`), key: join(dir, `${cluster}.key`) };
    if (request.force !== true && ((await exists(files.certificate)) || (await exists(files.key)))) {
      kept.push(files.certificate);
      continue;
    }
    const { days, notBefore, notAfter } = request;
    await writePair(files, await issue(authority, { cluster, hosts, days, notBefore, notAfter }), rename);
    written.push(files.certificate);
  }
  return { ca: ca.certificate, authority: found === undefined ? 'made' : 'reused', written, kept };
}

interface PairOfFiles {
  readonly certificate: string;
  readonly key: string;
}

async function readAuthority(files: PairOfFiles, trustDomain: string): Promise<Authority | undefined> {
  const [hasCertificate, hasKey] = [await exists(files.certificate), await exists(files.key)];
  if (!hasCertificate && !hasKey) return undefined;
  if (!hasKey || !hasCertificate) {
    const [there, missing] = hasKey ? [files.key, files.certificate] : [files.certificate, files.key];
    throw new FailureError('certificate-unusable', `${there} is there but ${missing} is not`);
  }
  const [certificate, key] = await Promise.all([readFile(files.certificate, 'utf8'), readFile(files.key, 'utf8')]);
  const names = checkAuthority(files, certificate, key).subjectAltName ?? '';
  if (!names.split(', ').includes(`URI:spiffe://${trustDomain}`)) {
    const detail = `${files.certificate} is not a development authority of the trust domain ${trustDomain}`;
    throw new FailureError('identity-mismatch', detail);
  }
  return { trustDomain, certificate, key };
}

function checkAuthority(files: PairOfFiles, certificate: string, key: string): NodeCertificate {
  let parsed: NodeCertificate;
  let belongs: boolean;
  try {
    parsed = new NodeCertificate(certificate);
    belongs = parsed.checkPrivateKey(createPrivateKey(key));
  } catch (cause) {
    throw new FailureError('certificate-unusable', `${files.certificate} or its key cannot be read`, { cause });
  }
  if (belongs) return parsed;
  throw new FailureError('certificate-unusable', `${files.key} does not belong to ${files.certificate}`);
}

/** Each file appears as a whole, so that a daemon that watches them sees an old one or a new one. */
async function writePair(files: PairOfFiles, pem: IssuedCertificate, put: Put): Promise<void> {
  await writeWhole(files.key, pem.key, 0o600, put);
  await writeWhole(files.certificate, pem.certificate, 0o644, put);
}

/** How a finished temporary file gets its name. */
type Put = (temporary: string, path: string) => Promise<void>;

async function writeWhole(path: string, text: string, mode: number, put: Put): Promise<void> {
  const temporary = `${path}.${randomUUID()}`;
  try {
    await writeFile(temporary, text, { mode, flag: 'wx' });
    // The mode of writeFile is subject to the umask.
    await chmod(temporary, mode);
    await put(temporary, path);
  } finally {
    await rm(temporary, { force: true });
  }
}

async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}

function dates(validity: Validity, defaultDays: number): { notBefore: Date; notAfter: Date } {
  const nowMs = Date.now();
  return {
    notBefore: validity.notBefore ?? new Date(nowMs - skewMs),
    notAfter: validity.notAfter ?? new Date(nowMs + (validity.days ?? defaultDays) * dayMs),
  };
}

async function makeKeys(): Promise<webcrypto.CryptoKeyPair> {
  return await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);
}

async function keyPem(key: webcrypto.CryptoKey): Promise<string> {
  const der = await webcrypto.subtle.exportKey('pkcs8', key);
  return `${PemConverter.encode(der, 'PRIVATE KEY')}\n`;
}

async function importKey(pem: string): Promise<webcrypto.CryptoKey> {
  const [der] = PemConverter.decode(pem);
  if (der === undefined) throw new FailureError('certificate-unusable', 'the key of the authority is not PEM');
  return await webcrypto.subtle.importKey('pkcs8', der, algorithm, false, ['sign']);
}
