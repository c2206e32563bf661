import { Metadata, type StatusObject, status as statusCode } from '@grpc/grpc-js';
import { type Failure, isReason, type Reason, reasons } from '../wire/reasons.ts';

/** Trailing metadata in which a listener says why it refuses or ends a stream. */
export const reasonKey = 'causeway-reason';
const retryAfterKey = 'causeway-retry-after-ms';
const maxDetailLength = 1024;

/** The gRPC status that carries a failure to the other side. */
export function statusOf(failure: Failure): StatusObject {
  const metadata = new Metadata();
  metadata.set(reasonKey, failure.reason);
  if (failure.retryAfterMs !== undefined) metadata.set(retryAfterKey, String(Math.round(failure.retryAfterMs)));
  const { retry } = reasons[failure.reason];
  return {
    code: retry === 'now' || retry === 'backoff' ? statusCode.UNAVAILABLE : statusCode.PERMISSION_DENIED,
    details: detailText(failure),
    metadata,
  };
}

/** The headers of a refusal without gRPC: the same as `statusOf`. */
export function refusalHeaders(failure: Failure): Record<string, string | number> {
  const { code, details, metadata } = statusOf(failure);
  const carried = Object.entries(metadata.getMap()).map(([key, value]) => [key, value.toString()]);
  return {
    ':status': 200,
    'content-type': 'application/grpc+proto',
    'grpc-status': code,
    'grpc-message': encodeURI(details),
    ...Object.fromEntries(carried),
  };
}

/** encodeURI throws on half a surrogate pair, which a round trip through UTF-8 replaces. */
function detailText(failure: Failure): string {
  return Buffer.from(failure.detail.slice(0, maxDetailLength)).toString();
}

/** What the other side said in so many words, if it did. */
export function carriedFailure(status: StatusObject): Failure | undefined {
  const [reason] = status.metadata.get(reasonKey);
  if (typeof reason !== 'string') return undefined;
  if (!isReason(reason)) {
    return { reason: 'connection-lost', detail: `the peer gave an unknown reason ${JSON.stringify(reason)}` };
  }
  const [after] = status.metadata.get(retryAfterKey);
  const retryAfterMs = Number(after ?? Number.NaN);
  return { reason, detail: status.details, ...(retryAfterMs >= 0 && { retryAfterMs }) };
}

/** Why a call ended that did not end well. `established`: the other side had accepted it. */
export function failureOfStatus(status: StatusObject, established: boolean): Failure {
  const carried = carriedFailure(status);
  if (carried !== undefined) return carried;
  const { code } = status;
  const detail = connectError(status.details);
  if (code === statusCode.RESOURCE_EXHAUSTED) {
    const reason = /larger than/.test(status.details) ? 'frame-too-large' : 'overloaded';
    return { reason, detail };
  }
  if (code === statusCode.UNIMPLEMENTED && !/HTTP status/.test(status.details)) {
    return { reason: 'version-mismatch', detail };
  }
  // Before the stream was accepted, anything but a reset of it means that there was no daemon to accept it.
  const reset = code === statusCode.CANCELLED || code === statusCode.INTERNAL;
  return established || reset ? { reason: 'connection-lost', detail } : connectFailure(detail);
}

/** Finds the error of the last connection attempt in the sentence that grpc-js makes of it. */
function connectError(details: string): string {
  const match = /Last error: (.*?)\. Resolution note:/s.exec(details);
  const text = match?.[1] ?? details;
  return text.replace(/^Error: /, '').replace(/ \(\d{4}-\d\d-\d\dT[^)]*\)$/, '');
}

// Alerts are what the other side says about our certificate (RFC 8446, 6.2), the rest is what OpenSSL says about theirs.
const tlsErrors: readonly (readonly [RegExp, Reason])[] = [
  [/alert certificate required/i, 'certificate-missing'],
  [/alert certificate expired/i, 'certificate-expired'],
  [
    /alert (unknown ca|bad certificate|certificate unknown|unsupported certificate|certificate revoked|access denied|decrypt error)/i,
    'certificate-untrusted',
  ],
  [/certificate has expired|certificate is not yet valid|CERT_HAS_EXPIRED|CERT_NOT_YET_VALID/, 'certificate-expired'],
  [
    /self[- ]signed|unable to (get|verify|decrypt|decode)|certificate (signature failure|chain too long|revoked|rejected|not trusted)|(invalid|unsuitable|unsupported) (CA|certificate)|path length constraint/i,
    'certificate-untrusted',
  ],
];

/** What is said of another side that begins with anything but TLS. */
export const noTls = 'the other side does not speak TLS';

/** Why a connection could not be made, from the text of the error. */
export function connectFailure(text: string): Failure {
  // OpenSSL takes the first bytes of whatever it is for a record of TLS.
  if (/wrong version number|packet length too long|:http request/i.test(text))
    return { reason: 'unreachable', detail: noTls };
  const known = tlsErrors.find(([pattern]) => pattern.test(text));
  return { reason: known?.[1] ?? 'unreachable', detail: text };
}
