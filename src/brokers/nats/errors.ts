import { JetStreamApiError, JetStreamError } from '@nats-io/jetstream';
import {
  AuthorizationError,
  NoRespondersError,
  PermissionViolationError,
  RequestError,
  TimeoutError,
  UserAuthenticationExpiredError,
} from 'nats';
import { type Failure, FailureError, type Reason } from '../../wire/reasons.ts';

/** JetStream API error codes (server/errors.json of nats-server) that mean something definite here. */
const codes: ReadonlyMap<number, Reason> = new Map<number, Reason>([
  [10059, 'source-missing'],
  [10099, 'consumer-taken'],
  [10100, 'consumer-taken'],
  [10039, 'jetstream-unavailable'],
  [10076, 'jetstream-unavailable'],
  [10035, 'jetstream-unavailable'],
  [10120, 'jetstream-unavailable'],
  [10047, 'sink-full'],
  [10023, 'sink-full'],
  [10028, 'sink-full'],
  [10167, 'sink-blocked'],
  [10158, 'sink-blocked'],
  [10163, 'sink-blocked'],
  [10008, 'sink-blocked'],
  [10009, 'sink-blocked'],
  [10118, 'sink-blocked'],
  [10109, 'sink-unsupported'],
  [10054, 'record-refused'],
  [10097, 'record-refused'],
  [10060, 'record-refused'],
  [10111, 'record-refused'],
  [10165, 'record-refused'],
  [10166, 'record-refused'],
  [10168, 'record-refused'],
  [10174, 'record-refused'],
  [10176, 'record-refused'],
  [10188, 'record-refused'],
  [10227, 'record-refused'],
]);

/** Wrong last sequence: another record came between (server error 10071; 10164 while one is in flight, or without a number). */
export function isChainBroken(code: number): boolean {
  return code === 10071 || code === 10164;
}

/** There is no such bucket (server error 10059: stream not found). */
export function isBucketMissing(error: unknown): boolean {
  return error instanceof JetStreamApiError && error.code === 10059;
}

/** The message could not be stored; why stands only in the text. */
const storeFailed = 10077;

/** What a JetStream error code of a publish means; codes we do not know are taken as passing. */
export function failureOfCode(code: number, text: string): Failure {
  const unknown = code === storeFailed && /maximum .* exceeded/.test(text) ? 'sink-full' : 'sink-blocked';
  return { reason: codes.get(code) ?? unknown, detail: `${text} (${code})` };
}

/** What went wrong with a call to NATS. `missing` is the reason for a stream that does not exist, and says which end asks. */
export function natsFailure(error: unknown, missing: 'source-missing' | 'sink-missing' = 'source-missing'): Failure {
  if (error instanceof FailureError) return error.failure;
  const text = error instanceof Error ? error.message : String(error);
  if (error instanceof JetStreamApiError) {
    const failure = failureOfCode(error.code, text);
    if (failure.reason === 'consumer-taken') return failure;
    if (failure.reason === 'source-missing') return { ...failure, reason: missing };
    return missing === 'source-missing' ? { ...failure, reason: 'jetstream-unavailable' } : failure;
  }
  // A request that failed wraps what the connection said.
  const cause = error instanceof RequestError && error.cause instanceof Error ? error.cause : error;
  if (cause instanceof AuthorizationError || cause instanceof UserAuthenticationExpiredError)
    return { reason: 'nats-auth', detail: cause.message };
  if (cause instanceof PermissionViolationError) return { reason: 'nats-permission', detail: cause.message };
  if (cause instanceof NoRespondersError || cause instanceof JetStreamError)
    return { reason: 'jetstream-unavailable', detail: cause.message };
  if (cause instanceof TimeoutError) return { reason: 'nats-unreachable', detail: 'the server does not answer' };
  return { reason: 'nats-unreachable', detail: text };
}

/** True if the same call may succeed in a moment: an election, a server that starts, an answer that got lost. */
export function isPassing({ reason }: Failure): boolean {
  return reason === 'jetstream-unavailable' || reason === 'sink-blocked' || reason === 'nats-unreachable';
}
