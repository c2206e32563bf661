import { Metadata, status as statusCode } from '@grpc/grpc-js';
import { describe, expect, it } from 'vitest';
import { connectFailure, failureOfStatus, refusalHeaders, statusOf } from './grpc-status.ts';

describe('a failure as a gRPC status', () => {
  it('comes out as it went in', () => {
    const failure = { reason: 'overloaded', detail: 'zu viele Ströme 🌊', retryAfterMs: 1500 } as const;
    expect(failureOfStatus(statusOf(failure), false)).toEqual(failure);
    expect(failureOfStatus(statusOf(failure), true)).toEqual(failure);
    expect(statusOf({ reason: 'peer-unknown', detail: '' }).code).toBe(statusCode.PERMISSION_DENIED);
    expect(statusOf(failure).code).toBe(statusCode.UNAVAILABLE);
  });

  it('can be sent whatever the detail holds', () => {
    const detail = `half a pair \ud800, a line\nbreak, ${'long '.repeat(1000)}`;
    const headers = refusalHeaders({ reason: 'internal', detail });
    expect(headers['causeway-reason']).toBe('internal');
    expect(decodeURI(String(headers['grpc-message']))).toMatch(/^half a pair \ufffd, a line\nbreak/);
    expect(String(headers['grpc-message']).length).toBeLessThan(5000);
  });

  it('is connection-lost when a newer peer gives a reason we do not know', () => {
    const metadata = new Metadata();
    metadata.set('causeway-reason', 'moon-phase');
    const status = { code: statusCode.PERMISSION_DENIED, details: 'x', metadata };
    expect(failureOfStatus(status, true)).toEqual({
      reason: 'connection-lost',
      detail: 'the peer gave an unknown reason "moon-phase"',
    });
  });
});

describe('a gRPC status without a reason of ours', () => {
  const metadata = new Metadata();
  it.each([
    [8, 'Received message larger than max (5 vs 4)', 'frame-too-large'],
    [8, 'Bandwidth exhausted or memory limit exceeded', 'overloaded'],
    [12, 'The server does not implement the method /causeway.v1.Bridge/Control', 'version-mismatch'],
    [12, 'Received HTTP status code 404', 'unreachable'],
    [14, 'Received HTTP status code 502', 'unreachable'],
    [14, 'Name resolution failed for target dns:nowhere:1', 'unreachable'],
  ] as const)('%i %s is %3$s', (code, details, reason) => {
    expect(failureOfStatus({ code, details, metadata }, false).reason).toBe(reason);
  });

  it.each([
    [1, 'Call cancelled'],
    [13, 'Received RST_STREAM with code 2'],
    [14, 'Connection dropped'],
  ])('%i %s is connection-lost on a stream that was open', (code, details) => {
    expect(failureOfStatus({ code, details, metadata }, true)).toEqual({ reason: 'connection-lost', detail: details });
  });

  it('shows the error itself, without the sentence around it', () => {
    const details =
      'No connection established. Last error: Error: connect ECONNREFUSED 127.0.0.1:7443. Resolution note: ';
    expect(failureOfStatus({ code: 14, details, metadata }, false)).toEqual({
      reason: 'unreachable',
      detail: 'connect ECONNREFUSED 127.0.0.1:7443',
    });
    const late = 'No connection established. Last error: read ECONNRESET (2026-11-22T15:51:30.000Z). Resolution note: ';
    expect(failureOfStatus({ code: 14, details: late, metadata }, false).detail).toBe('read ECONNRESET');
  });
});

describe('errors of TLS', () => {
  it.each([
    ['tlsv13 alert certificate required', 'certificate-missing'],
    ['sslv3 alert certificate expired', 'certificate-expired'],
    ['ssl/tls alert certificate expired', 'certificate-expired'],
    ['certificate has expired', 'certificate-expired'],
    ['certificate is not yet valid', 'certificate-expired'],
    ['tlsv1 alert unknown ca', 'certificate-untrusted'],
    ['sslv3 alert bad certificate', 'certificate-untrusted'],
    ['sslv3 alert certificate unknown', 'certificate-untrusted'],
    ['self-signed certificate in certificate chain', 'certificate-untrusted'],
    ['unable to verify the first certificate', 'certificate-untrusted'],
    ['unable to get local issuer certificate', 'certificate-untrusted'],
    ['unsuitable certificate purpose', 'certificate-untrusted'],
    ['wrong version number', 'unreachable'],
    ['Client network socket disconnected before secure TLS connection was established', 'unreachable'],
  ])('%s: %s', (text, reason) => {
    expect(connectFailure(text).reason).toBe(reason);
  });

  it('are in words where the other side does not speak TLS', () => {
    const text = 'C0DC:error:0A00010B:SSL routines:ssl3_get_record:wrong version number:../ssl3_record.c:354:\n';
    expect(connectFailure(text)).toEqual({ reason: 'unreachable', detail: 'the other side does not speak TLS' });
  });
});
