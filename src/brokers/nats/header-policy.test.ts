import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { headerTarget, isReserved, plainTarget, storedLine } from './header-policy.ts';

const bucket = { ttl: true, bucket: true };

function stored(line: string, target = plainTarget, ageSeconds = 0): string | undefined {
  const key = line.slice(0, line.indexOf(':'));
  return isReserved(key) ? storedLine(key, line, target, () => ageSeconds) : line;
}

describe('reserved headers', () => {
  test.each([
    'Nats-Expected-Last-Sequence: 5',
    'Nats-Expected-Stream: OTHER',
    'Nats-Expected-Last-Msg-Id: x',
    'Nats-Batch-Id: b',
    'Nats-Batch-Commit: 1',
    'Nats-Stream: S',
    'Nats-Subject: s',
    'Nats-Sequence: 1',
    'Nats-Last-Sequence: 0',
    'Nats-Time-Stamp: now',
    'Nats-Num-Pending: 3',
    'Nats-UpTo-Sequence: 3',
    'Nats-Msg-Size: 3',
    'Nats-Required-Api-Level: 2',
  ])('%s is stripped', (line) => {
    expect([stored(line), stored(line, bucket)]).toEqual([undefined, undefined]);
  });

  test.each([
    ['Nats-Msg-Id: order-1', 'Causeway-Msg-Id: order-1'],
    ['Nats-Stream-Source: S 1 > >', 'Causeway-Stream-Source: S 1 > >'],
    ['Nats-Schedule: @every 1s', 'Causeway-Schedule: @every 1s'],
    ['Nats-Schedule-Target: x', 'Causeway-Schedule-Target: x'],
    ['Nats-Scheduler: x', 'Causeway-Scheduler: x'],
    ['Nats-Incr:+1', 'Causeway-Incr:+1'],
    ['Nats-Counter-Sources: {}', 'Causeway-Counter-Sources: {}'],
    ['Nats-Trace-Dest: t', 'Causeway-Trace-Dest: t'],
    ['Nats-Trace-Only: true', 'Causeway-Trace-Only: true'],
    ['Nats-Request-Info: {}', 'Causeway-Request-Info: {}'],
    ['Nats-Of-A-Server-To-Come: x', 'Causeway-Of-A-Server-To-Come: x'],
  ])('%s travels as %s', (line, renamed) => {
    expect([stored(line), stored(line, bucket)]).toEqual([renamed, renamed]);
    // And further on, over the next hop.
    expect(stored(renamed)).toBe(renamed);
  });

  test.each(['Nats-Service-Error: no', 'Nats-Service-Error-Code: 500'])('%s stays', (line) => {
    expect(stored(line)).toBe(line);
  });

  test.each(['X-Nats-Thing: 1', 'KV-Operation: DEL', 'A: Nats-Msg-Id: 5', 'Natsy: 1', 'nats-ttl: 5', 'NATS-MSG-ID: 5'])(
    '%s is none of them',
    (line) => {
      expect(stored(line)).toBe(line);
    },
  );

  test('of a KV bucket take effect in one', () => {
    for (const line of ['Nats-Rollup: sub', 'Nats-Rollup:sub ', 'Nats-Marker-Reason: MaxAge']) {
      expect(stored(line, bucket)).toBe(line);
      expect(stored(line)).toBe(line.replace('Nats-', 'Causeway-'));
    }
    // It would take what other lanes brought, and older servers have no answer at all to what they do not know.
    for (const value of ['all', 'x', ''])
      expect(stored(`Nats-Rollup: ${value}`, bucket)).toBe(`Causeway-Rollup: ${value}`);
  });

  test('are judged by what the server says of the stream', () => {
    expect(headerTarget({ name: 'S' })).toEqual(plainTarget);
    expect(headerTarget({ name: 'S', allow_msg_ttl: true, allow_rollup_hdrs: true })).toEqual({
      ttl: true,
      bucket: false,
    });
    expect(headerTarget({ name: 'KV_b', allow_rollup_hdrs: true })).toEqual({ ttl: false, bucket: true });
    expect(headerTarget({ name: 'KV_b' })).toEqual(plainTarget);
  });
});

describe('a TTL', () => {
  test.each([
    ['60', 10, '50s'],
    ['60s', 10, '50s'],
    ['1m30s', 0, '90s'],
    ['0.5h', 0, '1800s'],
    ['1500ms', 0, '1s'],
    ['1h', 7200, '1s'],
    ['never', 99, 'never'],
  ])('%s is worth %s s later %s', (ttl, age, left) => {
    expect(stored(`Nats-TTL: ${ttl}`, bucket, age)).toBe(`Nats-TTL: ${left}`);
    expect(stored(`Nats-TTL: ${ttl}`, plainTarget, age)).toBe(`Causeway-TTL: ${ttl}`);
  });

  test.each(['0', 'abc', '500ms', '', '-5s', '5x', '1s x', '99999999999999'])(
    '%s, which no server takes, travels as it is under another name',
    (ttl) => {
      expect(stored(`Nats-TTL: ${ttl}`, bucket)).toBe(`Causeway-TTL: ${ttl}`);
    },
  );

  test('never grows, and never ends before the record is stored', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 1e9 }), fc.integer({ min: 0, max: 2e9 }), (ttl, age) => {
        const left = Number(/^Nats-TTL: (\d+)s$/.exec(stored(`Nats-TTL: ${ttl}`, bucket, age)!)![1]);
        expect(left).toBe(Math.max(1, ttl - age));
      }),
    );
  });
});
