import { describe, expect, it } from 'vitest';
import { type Backlog, retentionEnd } from './retention.ts';

const backlog = (atMs: number, records: number, oldestMs?: number): Backlog => ({
  atMs,
  records,
  bytes: records * 100,
  oldestMs,
});

describe('when retention loses data', () => {
  it('is said for the limit that is reached first', () => {
    const [before, now] = [backlog(0, 100), backlog(10_000, 200)];
    expect(retentionEnd({ maxMessages: 1_200 }, before, now)).toEqual({ limit: 'max_msgs', seconds: 100 });
    expect(retentionEnd({ maxBytes: 40_000 }, before, now)).toEqual({ limit: 'max_bytes', seconds: 20 });
    expect(retentionEnd({ maxMessages: 1_200, maxBytes: 40_000 }, before, now)?.limit).toBe('max_bytes');
  });

  it('is, for a lane that stands still, the age of its next record', () => {
    const [before, now] = [backlog(100_000, 1, 60_000), backlog(110_000, 1, 60_000)];
    expect(retentionEnd({ maxAgeMs: 3_600_000 }, before, now)).toEqual({ limit: 'max_age', seconds: 3_550 });
  });

  it('is further away for one that moves, but more slowly than time', () => {
    const [before, now] = [backlog(100_000, 9, 60_000), backlog(110_000, 9, 65_000)];
    expect(retentionEnd({ maxAgeMs: 145_000 }, before, now)).toEqual({ limit: 'max_age', seconds: 200 });
  });

  it('is now for one that is beyond it', () => {
    const [before, now] = [backlog(0, 100), backlog(10_000, 200)];
    expect(retentionEnd({ maxMessages: 150 }, before, now)).toEqual({ limit: 'max_msgs', seconds: 0 });
  });

  it.each<[string, Backlog, Backlog]>([
    ['a backlog shrinks', backlog(0, 200, -50_000), backlog(10_000, 100, -10_000)],
    ['there is none', backlog(0, 100, 0), backlog(10_000, 0, 0)],
    ['there was only one look', backlog(0, 100, 0), backlog(0, 100, 0)],
    ['nobody knows how old it is', backlog(0, 100), backlog(10_000, 100)],
  ])('is not said where %s', (_, before, now) => {
    expect(retentionEnd({ maxMessages: 10_000, maxBytes: 10_000_000, maxAgeMs: 100_000 }, before, now)).toBe(undefined);
  });

  it('is not said of a stream without limits', () => {
    expect(retentionEnd({}, backlog(0, 100, 0), backlog(10_000, 200, 0))).toBe(undefined);
  });
});
