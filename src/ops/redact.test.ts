import { describe, expect, it } from 'vitest';
import { redactFields } from './redact.ts';

describe('redactFields', () => {
  it('hides values under keys that name secrets, at any depth', () => {
    const fields = {
      password: 'a',
      nats: { userToken: 'b', credentials: { file: 'c' }, list: [{ nkeySeed: 'd' }] },
      map: new Map([['jwt', 'e']]),
      tls: { key: '/etc/hub.key' },
    };
    expect(redactFields(fields)).toEqual({
      password: '[redacted]',
      nats: { userToken: '[redacted]', credentials: '[redacted]', list: [{ nkeySeed: '[redacted]' }] },
      map: { jwt: '[redacted]' },
      tls: { key: '/etc/hub.key' },
    });
  });

  it('hides the user part of URLs and private keys inside text', () => {
    const pem = '-----BEGIN PRIVATE KEY-----\nabc\n-----END PRIVATE KEY-----';
    const line = redactFields({ server: 'nats://bob:pw@n1:4222 and tls://x@n2', error: new Error(`bad ${pem}`) });
    expect(line.server).toBe('nats://[redacted]@n1:4222 and tls://[redacted]@n2');
    expect(JSON.stringify(line)).not.toContain('abc');
  });

  it('turns anything into plain values', () => {
    const error = Object.assign(new Error('no'), { code: 'ECONNREFUSED', cause: new Error('why') });
    const line = redactFields({
      big: 10n,
      at: new Date(0),
      bytes: Buffer.alloc(3),
      error,
      none: undefined,
      set: new Set([1]),
    });
    expect(line).toMatchObject({
      big: '10',
      at: '1970-01-01T00:00:00.000Z',
      bytes: '[3 bytes]',
      error: { name: 'Error', message: 'no', code: 'ECONNREFUSED', cause: { message: 'why' } },
      set: [1],
    });
    expect('none' in line).toBe(false);
  });

  it('ends on circles and on huge values', () => {
    const circle: Record<string, unknown> = { many: Array.from({ length: 100_000 }, (_, i) => ({ i })) };
    circle.self = circle;
    expect(JSON.stringify(redactFields({ circle, other: circle })).length).toBeLessThan(20_000);
  });
});
