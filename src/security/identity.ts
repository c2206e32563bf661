import type { X509Certificate } from 'node:crypto';
import type { PeerIdentity } from '../transport/channel.ts';
import type { Failure } from '../wire/reasons.ts';

/** Reads the identity out of a certificate whose signature somebody else has verified. */
export type Identify = (certificate: X509Certificate) => PeerIdentity | Failure;

/** One usable identity: PEM files that were proven to belong together. */
export interface Certificates {
  readonly cert: Buffer;
  readonly key: Buffer;
  readonly ca: Buffer;
  /** What our own certificate says we are. */
  readonly identity: PeerIdentity;
}

/** Where the transport gets the identity it presents, now and after each renewal. */
export interface CertificateSource {
  /** The newest pair that was found good; undefined until there was one. */
  readonly current: Certificates | undefined;
  /** Why the files as they are now are not in use, or why `current` no longer is good. */
  readonly failure: Failure | undefined;
  /** Called whenever `current` changes; returns how to unsubscribe. */
  subscribe(listener: (current: Certificates) => void): () => void;
}

const spiffeId = /^spiffe:\/\/([a-z0-9][a-z0-9._-]{0,254})\/([a-z0-9-]{1,32})$/;

/** The URI under which a certificate names a cluster. */
export function spiffeUri(trustDomain: string, cluster: string): string {
  return `spiffe://${trustDomain}/${cluster}`;
}

/**
 * Identity from the URI SAN `spiffe://<trustDomain>/<cluster>`: exactly one SPIFFE URI, matched as a whole. Common names
 * and DNS names never give identity. Anything else is `identity-mismatch`. Proves nothing about the signature.
 */
export function identityOf(certificate: X509Certificate): PeerIdentity | Failure {
  const names = subjectAltNames(certificate.subjectAltName ?? '');
  if (names === undefined) return mismatch('its subject alternative names cannot be read');
  const uris = names.filter((name) => name.type === 'URI' && /^\s*spiffe:/i.test(name.value));
  const [uri] = uris;
  if (uri === undefined) return mismatch('it has no URI spiffe://<trustDomain>/<cluster>');
  if (uris.length > 1) return mismatch(`it has ${uris.length} SPIFFE URIs`);
  const match = spiffeId.exec(uri.value);
  if (match === null) return mismatch(`${JSON.stringify(uri.value)} is not spiffe://<trustDomain>/<cluster>`);
  return {
    trustDomain: match[1]!,
    cluster: match[2]!,
    fingerprint: certificate.fingerprint256,
    notAfterMs: Date.parse(certificate.validTo),
  };
}

function mismatch(what: string): Failure {
  return { reason: 'identity-mismatch', detail: `the certificate names no cluster: ${what}` };
}

interface AltName {
  readonly type: string;
  readonly value: string;
}

/**
 * Splits Node's text form of the names (`URI:a, DNS:b`). A value with odd characters is a JSON string in it (nodejs.org,
 * CVE-2021-44532), so that a comma inside a name can never look like the start of another one. Undefined if the text
 * does not parse.
 */
function subjectAltNames(text: string): readonly AltName[] | undefined {
  const entry = /([A-Za-z][A-Za-z ]*):("(?:[^"\\]|\\.)*"|[^",]*)(?:, |$)/y;
  const names: AltName[] = [];
  while (entry.lastIndex < text.length) {
    const match = entry.exec(text);
    if (match === null) return undefined;
    const value = match[2]!;
    const plain = value.startsWith('"') ? unquote(value) : value;
    if (plain === undefined) return undefined;
    names.push({ type: match[1]!, value: plain });
  }
  return names;
}

function unquote(value: string): string | undefined {
  try {
    const parsed: unknown = JSON.parse(value);
    return typeof parsed === 'string' ? parsed : undefined;
  } catch {
    // Not the JSON string that Node writes: the caller treats the whole list as unreadable.
    return undefined;
  }
}
