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
  [10039, 'jetstream-unavailable'],
  [10076, 'jetstream-unavailable'],
  [10035, 'jetstream-unavailable'],
  [10047, 'sink-full'],
  [10077, 'sink-full'],
  [10023, 'sink-full'],
  [10122, 'sink-full'],
  [10167, 'sink-blocked'],
  [10158, 'sink-blocked'],
  [10163, 'sink-blocked'],
  [10008, 'sink-blocked'],
  [10009, 'sink-blocked'],
  [10074, 'sink-blocked'],
  [10118, 'sink-blocked'],
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

/** Wrong last sequence: another record came between (server error 10071; 10164 while one is in flight). */
export function isChainBroken(code: number): boolean {
  return code === 10071 || code === 10164;
}

/** What a JetStream error code means; codes we do not know are taken as passing. */
export function failureOfCode(code: number, text: string): Failure {
  return { reason: codes.get(code) ?? 'sink-blocked', detail: `${text} (${code})` };
}

/** What went wrong with a call to NATS. `missing` is the reason for a stream that does not exist. */
export function natsFailure(error: unknown, missing: 'source-missing' | 'sink-missing' = 'source-missing'): Failure {
  if (error instanceof FailureError) return error.failure;
  const text = error instanceof Error ? error.message : String(error);
  if (error instanceof JetStreamApiError) {
    const failure = failureOfCode(error.code, text);
    return failure.reason === 'source-missing' ? { ...failure, reason: missing } : failure;
  }
  if (error instanceof AuthorizationError || error instanceof UserAuthenticationExpiredError)
    return { reason: 'nats-auth', detail: text };
  if (error instanceof PermissionViolationError) return { reason: 'nats-permission', detail: text };
  if (
    error instanceof NoRespondersError ||
    (error instanceof RequestError && error.isNoResponders()) ||
    error instanceof JetStreamError
  )
    return { reason: 'jetstream-unavailable', detail: text };
  if (error instanceof TimeoutError) return { reason: 'nats-unreachable', detail: 'the server does not answer' };
  if (error instanceof Error && error.cause instanceof PermissionViolationError)
    return { reason: 'nats-permission', detail: error.cause.message };
  return { reason: 'nats-unreachable', detail: text };
}
