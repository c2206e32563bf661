import { JetStreamApiError } from '@nats-io/jetstream';
import {
  AuthorizationError,
  ConnectionError,
  NoRespondersError,
  PermissionViolationError,
  RequestError,
  TimeoutError,
  UserAuthenticationExpiredError,
} from 'nats';
import { expect, test } from 'vitest';
import { FailureError } from '../../wire/reasons.ts';
import { failureOfCode, isChainBroken, isPassing, natsFailure } from './errors.ts';

function api(code: number, description = 'because'): JetStreamApiError {
  return new JetStreamApiError({ code: 400, err_code: code, description });
}

const denied = new PermissionViolationError('Permissions Violation for Publish to "a.b"', 'publish', 'a.b');

test.each([
  [new AuthorizationError('Authorization Violation'), 'nats-auth'],
  [new UserAuthenticationExpiredError('User Authentication Expired'), 'nats-auth'],
  [denied, 'nats-permission'],
  [new RequestError('x', { cause: denied }), 'nats-permission'],
  [new NoRespondersError('$JS.API.INFO'), 'jetstream-unavailable'],
  [new RequestError('x', { cause: new NoRespondersError('$JS.API.INFO') }), 'jetstream-unavailable'],
  [new TimeoutError(), 'nats-unreachable'],
  [new ConnectionError('connection refused'), 'nats-unreachable'],
  [new RequestError('connection closed'), 'nats-unreachable'],
  ['a string', 'nats-unreachable'],
  [new FailureError('nats-auth', 'environment variable X is not set'), 'nats-auth'],
] as const)('%o is %s', (error, reason) => {
  expect(natsFailure(error).reason).toBe(reason);
  expect(natsFailure(error).detail).not.toBe('');
});

test.each([
  [10059, 'source-missing', 'sink-missing'],
  [10039, 'jetstream-unavailable', 'jetstream-unavailable'],
  [10076, 'jetstream-unavailable', 'jetstream-unavailable'],
  [10008, 'jetstream-unavailable', 'sink-blocked'],
  [10077, 'jetstream-unavailable', 'sink-blocked'],
  [99999, 'jetstream-unavailable', 'sink-blocked'],
] as const)('API error %i is %s at a source and %s at a sink', (code, atSource, atSink) => {
  expect(natsFailure(api(code)).reason).toBe(atSource);
  expect(natsFailure(api(code), 'sink-missing')).toEqual({ reason: atSink, detail: `because (${code})` });
});

test.each([
  [10077, 'maximum messages exceeded', 'sink-full'],
  [10077, 'maximum bytes exceeded', 'sink-full'],
  [10077, 'maximum messages per subject exceeded', 'sink-full'],
  [10077, 'store is closed', 'sink-blocked'],
  [10047, 'insufficient storage resources available', 'sink-full'],
  [10109, 'invalid operation on sealed stream', 'sink-unsupported'],
  [10054, 'message size exceeds maximum allowed', 'record-refused'],
  [10097, 'header size exceeds maximum allowed of 64k', 'record-refused'],
  [10158, 'duplicate message id is in process', 'sink-blocked'],
  [12345, 'something new', 'sink-blocked'],
] as const)('a publish refused with %i %s is %s', (code, text, reason) => {
  expect(failureOfCode(code, text)).toEqual({ reason, detail: `${text} (${code})` });
});

test('a broken chain is told from other refusals', () => {
  expect([10071, 10164, 10077, 10070].map(isChainBroken)).toEqual([true, true, false, false]);
});

test('what may pass is told from what somebody has to mend', () => {
  const reasons = ['nats-unreachable', 'jetstream-unavailable', 'sink-blocked', 'source-missing', 'nats-permission'];
  expect(reasons.map((reason) => isPassing({ reason: reason as 'internal', detail: '' }))).toEqual([
    true,
    true,
    true,
    false,
    false,
  ]);
});
