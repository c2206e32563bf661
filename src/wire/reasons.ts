/**
 * The one list of reasons. A failure is a value with a reason from here (I7); health, status, metrics, logs and the
 * Goodbye frame all use these words, and docs/operations.md has a line for each.
 *
 * `retry` says what the supervisor of a lane or peer does with it:
 * - `now`: a planned end, dial again at once (under the minimum-uptime guard);
 * - `backoff`: the ordinary reconnect schedule;
 * - `slow`: somebody has to change something; keep trying, slowly;
 * - `park`: as `slow`, and the lane is shown as parked with red health.
 */
export type RetryClass = 'now' | 'backoff' | 'slow' | 'park';

interface ReasonInfo {
  readonly retry: RetryClass;
  /** One sentence for status, logs and docs. */
  readonly meaning: string;
}

const table = {
  // the way to the peer
  unreachable: { retry: 'backoff', meaning: 'the peer cannot be reached' },
  'connection-lost': { retry: 'backoff', meaning: 'the stream to the peer ended without a reason' },
  'proxy-refused': { retry: 'slow', meaning: 'the proxy on the way to the peer refuses the connection' },
  'proxy-unusable': { retry: 'slow', meaning: 'what this end knows of the proxy cannot be used' },
  'peer-silent': { retry: 'backoff', meaning: 'the peer accepted the stream and then said nothing in time' },
  draining: { retry: 'now', meaning: 'the other daemon is stopping or handing over' },
  standby: { retry: 'backoff', meaning: 'another daemon of that cluster is the active one, or soon will be' },
  rotated: { retry: 'now', meaning: 'the stream reached its planned age and is opened anew' },
  overloaded: { retry: 'backoff', meaning: 'the peer takes no more streams at the moment' },
  superseded: { retry: 'backoff', meaning: 'a newer session of this lane has taken over' },
  // identity and consent
  'certificate-expired': { retry: 'park', meaning: 'a certificate is outside its validity' },
  'certificate-untrusted': { retry: 'park', meaning: 'a certificate is not signed by the trusted authority' },
  'certificate-missing': { retry: 'park', meaning: 'the peer demands a client certificate and got none' },
  'certificate-unusable': {
    retry: 'park',
    meaning: 'a certificate, key or authority file cannot be read, or they do not belong together',
  },
  'identity-mismatch': {
    retry: 'park',
    meaning: 'the certificate names another cluster or trust domain than expected',
  },
  'identity-lost': {
    retry: 'park',
    meaning: 'TLS ends before the peer: what answered proves no cluster',
  },
  'peer-unknown': { retry: 'park', meaning: "the other daemon's topology file has no such peer" },
  'name-taken': { retry: 'park', meaning: 'another daemon with the name of this cluster is connected to the peer' },
  'not-granted': { retry: 'park', meaning: 'no grant at the other end allows this link' },
  'origin-refused': {
    retry: 'park',
    meaning: 'the peer sends records of a cluster in whose name it may not speak here',
  },
  'link-unknown': { retry: 'park', meaning: 'the other end does not know this link' },
  'link-conflict': { retry: 'park', meaning: 'the two ends disagree about what this link is' },
  // protocol
  'version-mismatch': { retry: 'park', meaning: 'the two daemons share no protocol version' },
  'bad-frame': { retry: 'park', meaning: 'the peer sent something that is not the protocol' },
  'frame-too-large': { retry: 'park', meaning: 'a frame exceeds what the receiver takes' },
  'credit-exceeded': { retry: 'park', meaning: 'the peer sent more than it was allowed to' },
  // own broker
  'nats-unreachable': { retry: 'backoff', meaning: 'no NATS server of the own cluster can be reached' },
  'nats-auth': { retry: 'slow', meaning: 'the NATS server refuses the credentials' },
  'nats-permission': { retry: 'slow', meaning: 'the NATS user lacks a permission' },
  'jetstream-unavailable': { retry: 'slow', meaning: 'JetStream is not enabled, or not for this account' },
  'source-missing': { retry: 'slow', meaning: 'the source stream does not exist' },
  'source-unsupported': {
    retry: 'park',
    meaning: 'the source stream has a retention for which the link is not declared',
  },
  'consumer-taken': {
    retry: 'park',
    meaning: 'another consumer holds subjects of the source stream, which is drained',
  },
  'consumer-lost': { retry: 'backoff', meaning: 'the consumer of the source stream is gone; the lane begins anew' },
  'sink-missing': { retry: 'slow', meaning: 'the sink stream does not exist' },
  'sink-subject': { retry: 'park', meaning: 'the sink stream does not own the subjects that the link writes' },
  'sink-unsupported': {
    retry: 'park',
    meaning: 'the sink stream has a setting under which exactly-once cannot be kept',
  },
  'sink-full': { retry: 'backoff', meaning: 'the sink stream is at its limit and set to refuse' },
  'sink-blocked': {
    retry: 'backoff',
    meaning: 'the sink stream takes nothing at the moment (no leader, no quorum, no space)',
  },
  'record-refused': { retry: 'park', meaning: 'the sink refuses a record for good' },
  'id-taken': { retry: 'park', meaning: 'a record of others in the sink has the message id of one of ours' },
  'quarantine-full': {
    retry: 'park',
    meaning: 'the sink refuses a record for good, and the quarantine has no room for it',
  },
  'quarantine-unavailable': {
    retry: 'park',
    meaning: 'the sink refuses a record for good, and the quarantine cannot be written',
  },
  'checkpoint-lost': { retry: 'park', meaning: 'what the sink holds of this lane cannot be established' },
  'start-required': {
    retry: 'park',
    meaning: 'nothing says where this lane begins in a sink that holds other records',
  },
  // gaps
  expired: { retry: 'backoff', meaning: 'the source deleted records by its limits before they were read' },
  purged: { retry: 'backoff', meaning: 'records were purged at the source before they were read' },
  taken: {
    retry: 'backoff',
    meaning: 'records were gone from a stream that is drained before the lane had carried them',
  },
  recreated: { retry: 'backoff', meaning: 'the source stream was deleted and made again' },
  regressed: { retry: 'backoff', meaning: 'the source stream lost its tail and used the numbers again' },
  // verification
  'not-verifiable': { retry: 'backoff', meaning: 'the two ends of a lane cannot be compared at the moment' },
  // own file and process
  'topology-invalid': { retry: 'park', meaning: 'the topology file cannot be used' },
  'embedded-down': { retry: 'backoff', meaning: 'the embedded NATS server is not running' },
  internal: { retry: 'backoff', meaning: 'a defect in Causeway; the log has the details' },
} as const satisfies Record<string, ReasonInfo>;

export type Reason = keyof typeof table;

/** Every reason with its meaning and retry class, for docs and status. */
export const reasons: Readonly<Record<Reason, ReasonInfo>> = table;

/** True if `text`, from the wire or a file, is a reason we know. */
export function isReason(text: string): text is Reason {
  return Object.hasOwn(table, text);
}

/** A failure as a value (I7): a reason from the list and the particulars. Never carries secrets. */
export interface Failure {
  readonly reason: Reason;
  readonly detail: string;
  /** What the other side asked us to wait, in milliseconds. */
  readonly retryAfterMs?: number;
}

/** Carries a Failure through code that throws; boundaries turn it back into the value. */
export class FailureError extends Error {
  override readonly name = 'FailureError';
  readonly failure: Failure;

  constructor(reason: Reason, detail: string, options?: ErrorOptions) {
    super(detail === '' ? reason : `${reason}: ${detail}`, options);
    this.failure = { reason, detail };
  }
}

/** The Failure inside whatever was thrown; anything unknown becomes `internal`. */
export function failureFrom(thrown: unknown): Failure {
  if (thrown instanceof FailureError) return thrown.failure;
  if (!(thrown instanceof Error)) return { reason: 'internal', detail: String(thrown) };
  // A defect: the place it was thrown from is all there is to find it by.
  return { reason: 'internal', detail: `${thrown.message} ${thrown.stack?.split('\n')[1]?.trim() ?? ''}` };
}
