import { createHash } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { lanePlan as plan } from '../../test/support/lane-plan.ts';
import { until } from '../../test/support/until.ts';
import type { Survey, SurveyedRecord } from '../brokers/broker.ts';
import { decodeControl, encodeControl } from '../wire/control.ts';
import type { VerifyFrame } from '../wire/verify.ts';
import { Verifier } from './verifier.ts';

type Fake = Omit<SurveyedRecord, 'digest'> & { readonly payload: string };

const origin = (sequence: number) => ({ place: 'a/S', sequence, time: 1_000_000 + sequence });
const offered = (at: number, more: Partial<Fake> = {}): Fake => ({
  at,
  ...origin(at),
  lane: '',
  position: { incarnation: '', sequence: 0 },
  leftOut: false,
  payload: `p${at}`,
  ...more,
});
const stored = (at: number, sequence: number, more: Partial<Fake> = {}): Fake => ({
  at,
  ...origin(sequence),
  lane: plan.id,
  position: { incarnation: 'one', sequence },
  leftOut: false,
  payload: `p${sequence}`,
  ...more,
});

class FakeSurvey implements Survey {
  records: Fake[] = [];
  extents: { from: number; upTo: number } | undefined;
  /** Records that were read, over all readings. */
  read_ = 0;

  async extent() {
    return this.extents ?? { from: this.records[0]?.at ?? 1, upTo: this.records.at(-1)?.at ?? 0 };
  }

  async since(timeMs: number) {
    return this.records.find(({ time }) => time >= timeMs * 1000)?.at;
  }

  async read(
    span: { from: number; upTo: number },
    observe: (record: SurveyedRecord) => void,
    passed: (sequence: number) => void,
  ) {
    for (const { payload, ...record } of this.records) {
      if (record.at < span.from || record.at > span.upTo) continue;
      this.read_++;
      const { place, sequence, time } = record;
      const digest = () =>
        createHash('sha256').update(`${place} ${sequence} ${time} ${payload}`).digest().subarray(0, 16);
      observe({ ...record, digest });
      passed(record.at);
    }
  }
}

/** Two daemons with a lane between them, over encoded frames. */
class Pair {
  readonly source = new FakeSurvey();
  readonly sink = new FakeSurvey();
  cursor = { incarnation: 'one', sequence: 0 };
  began: number | undefined;
  bytes = 0;
  version = 4;
  /** What `a` is to hear goes here first. */
  spoil: (frame: VerifyFrame) => VerifyFrame | undefined = (frame) => frame;
  readonly verifiers: Readonly<Record<'a' | 'b', Verifier>>;

  constructor() {
    const carry = (from: 'a' | 'b', to: 'a' | 'b') => (_: string, frame: VerifyFrame) => {
      const said = to === 'a' ? this.spoil(frame) : frame;
      if (said === undefined) return;
      const bytes = encodeControl(said);
      this.bytes += bytes.length;
      expect(bytes.length).toBeLessThan(20_000);
      queueMicrotask(() => this.verifiers[to].frame(from, decodeControl(bytes) as VerifyFrame));
    };
    const make = (self: 'a' | 'b', other: 'a' | 'b', role: 'sender' | 'receiver') =>
      new Verifier({
        broker: { surveySource: () => this.source, surveySink: () => this.sink },
        store: {
          checkpoint: async () => ({
            checkpoint: {
              lane: plan.id,
              cursor: this.cursor,
              sinkSequence: 0,
              witnessSink: 0,
              witnesses: [],
              ...(this.began === undefined ? {} : { began: { incarnation: 'one', sequence: this.began } }),
            },
            revision: 1,
          }),
          gaps: async () => ({ place: { revision: 0, values: 0 }, whole: true, gaps: [], removed: [] }) as never,
        },
        lanes: () => [{ plan, role, peer: other, stored: this.cursor, acceptsOrigin: (cluster) => cluster === 'a' }],
        versionOf: () => this.version,
        send: carry(self, other),
      });
    this.verifiers = { a: make('a', 'b', 'sender'), b: make('b', 'a', 'receiver') };
  }

  async verify(who: 'a' | 'b', range = {}, signal = new AbortController().signal) {
    const differences: string[] = [];
    const events = {
      progress: () => undefined,
      difference: async ({
        kind,
        sequence,
        sinkSequences,
      }: {
        kind: string;
        sequence: number;
        sinkSequences: readonly number[];
      }) => {
        differences.push([kind, sequence, ...sinkSequences].join(' '));
      },
    };
    const found = await this.verifiers[who].verify(plan.id, range, events, signal);
    return { ...found, differences: differences.sort() };
  }

  /** The source holds `count` records, and the sink all of them. */
  fill(count: number): void {
    for (let n = 1; n <= count; n++) {
      this.source.records.push(offered(n));
      this.sink.records.push(stored(n, n));
    }
    this.cursor = { incarnation: 'one', sequence: count };
  }
}

describe.each(['a', 'b'] as const)('asked at %s', (who) => {
  test('equal ends are equal, for little on the line and one reading at each end', async () => {
    const pair = new Pair();
    pair.fill(5000);
    pair.source.records.push(offered(5001));
    pair.sink.records.push(stored(5001, 5001));
    expect(await pair.verify(who)).toMatchObject({
      positions: { from: 1, upTo: 5000 },
      records: 5000,
      differences: [],
    });
    expect(pair.bytes).toBeLessThan(2000);
    expect([pair.source.read_, pair.sink.read_]).toEqual([5000, 5001]);
  });

  test('each difference is named, whichever way it came about', async () => {
    const pair = new Pair();
    pair.fill(3000);
    const { sink, source } = pair;
    sink.records = sink.records.filter(({ at }) => at !== 1500);
    sink.records[99] = stored(100, 100, { payload: 'else' });
    // Another lane brought it as well; and of the next one it brought the only copy.
    sink.records.push(stored(3001, 7, { lane: 'm/c/b', position: { incarnation: 'x', sequence: 9 } }));
    sink.records = sink.records.filter(({ at }) => at !== 200);
    sink.records.push(stored(3002, 200, { lane: 'm/c/b', position: { incarnation: 'x', sequence: 10 } }));
    // In the name of the lane: one that the source has another record for, one that it has deleted since.
    sink.records.push(stored(3003, 400, { time: 5 }));
    source.records = source.records.filter(({ at }) => at !== 600);
    expect(await pair.verify(who)).toMatchObject({
      records: 2999,
      missing: 1,
      differing: 1,
      repeated: 1,
      extra: 1,
      gone: 1,
      expired: 0,
      differences: ['differs 100 100', 'extra 400 3003', 'missing 1500', 'repeated 7 7 3001'],
    });
  });

  test('what the sink has let go of in front is no difference, but for what may have been deleted', async () => {
    const pair = new Pair();
    pair.fill(4000);
    const { sink } = pair;
    // Up to 2500 it is gone by a limit; 2600 and what stands before 2801, but for a message of others, was deleted.
    sink.records = sink.records.filter(({ at }) => at > 2500 && at !== 3000);
    sink.extents = { from: 2501, upTo: 4000 };
    expect(await pair.verify(who)).toMatchObject({ expired: 2500, differences: ['missing 3000'] });
    sink.records = sink.records.filter(({ at }) => at === 2501 || at > 2504);
    sink.records[0] = stored(2501, 1, { lane: 'other/c/b', place: 'c/T', position: { incarnation: 'x', sequence: 1 } });
    expect(await pair.verify(who)).toMatchObject({
      expired: 2501,
      differences: ['missing 2502', 'missing 2503', 'missing 2504', 'missing 3000'],
    });
    sink.records = [];
    sink.extents = { from: 4001, upTo: 4000 };
    expect(await pair.verify(who)).toMatchObject({ expired: 4000, missing: 0 });
  });

  test('what the sink lets go of while it is compared is no difference, and hides none', async () => {
    const pair = new Pair();
    pair.fill(4000);
    const { sink } = pair;
    const letGo = (upTo: number) => {
      sink.records = sink.records.filter(({ at }) => at > upTo);
      sink.extents = { from: upTo + 1, upTo: 4000 };
    };
    letGo(2500);
    sink.records = sink.records.filter(({ at }) => at !== 2540);
    const read = sink.read.bind(sink);
    let readings = 0;
    sink.read = async (...args) => {
      if (++readings === 2) letGo(2520);
      await read(...args);
    };
    expect(await pair.verify(who)).toMatchObject({ expired: 2520, differences: ['missing 2540'] });
    expect(readings).toBe(2);
  });

  test('a part: by sequence, by time, where the lane began, a share of it', async () => {
    const pair = new Pair();
    pair.fill(3000);
    pair.sink.records = pair.sink.records.filter(({ at }) => ![10, 1000, 2000].includes(at));
    expect(await pair.verify(who, { since: { sequence: 11 }, until: { sequence: 1999 } })).toMatchObject({
      positions: { from: 11, upTo: 1999 },
      differences: ['missing 1000'],
    });
    expect(await pair.verify(who, { since: { timeMs: 1002 } })).toMatchObject({ differences: ['missing 2000'] });
    pair.began = 1000;
    expect(await pair.verify(who)).toMatchObject({ positions: { from: 1001 }, differences: ['missing 2000'] });
    const { records } = await pair.verify(who, { samplePercent: 10 });
    expect(records).toBeGreaterThan(150);
    expect(records).toBeLessThan(250);
    pair.cursor = { incarnation: 'one', sequence: 500 };
    expect(await pair.verify(who)).toMatchObject({ records: 0, differences: [] });
  });

  test('large groups are split before records are told', async () => {
    const pair = new Pair();
    for (let n = 1; n <= 3000; n++) {
      pair.source.records.push(offered(n * 20_000));
      if (n !== 1234) pair.sink.records.push(stored(n, n * 20_000));
    }
    pair.cursor = { incarnation: 'one', sequence: 60_000_000 };
    expect(await pair.verify(who)).toMatchObject({ records: 3000, differences: ['missing 24680000'] });
  });
});

test('one at a time, only lanes of the peer, and none with a peer that is too old', async () => {
  const pair = new Pair();
  pair.fill(10);
  const first = pair.verify('a');
  await expect(pair.verify('a')).rejects.toThrow('overloaded: a verification is under way');
  await first;
  pair.version = 3;
  await expect(pair.verify('a')).rejects.toThrow('version-mismatch: the daemon of b is too old to verify');
  const heard: VerifyFrame[] = [];
  pair.spoil = (frame) => {
    heard.push(frame);
    return undefined;
  };
  const ask = (id: string, number: number, body: VerifyFrame['body']) =>
    pair.verifiers.b.frame('a', { kind: 'verify', id, number, body });
  ask('01', 1, { kind: 'open', lane: 'l/c/b', after: 0 });
  ask('02', 1, { kind: 'next' });
  for (const id of ['03', '04', '05']) ask(id, 1, { kind: 'open', lane: plan.id, after: 0 });
  expect(heard.map(({ id, body }) => [id, 'reason' in body ? body.reason : body.kind])).toEqual([
    ['01', 'link-unknown'],
    ['02', 'not-verifiable'],
    ['05', 'overloaded'],
  ]);
  pair.verifiers.b.stop();
});

test('a peer is told nothing of what others brought into the sink from where it may not bring records', async () => {
  const pair = new Pair();
  pair.fill(10);
  pair.sink.records.push(
    stored(11, 3, { lane: 'm/c/b', position: { incarnation: 'x', sequence: 1 } }),
    stored(12, 5, { lane: 'm/c/b', place: 'c/T', position: { incarnation: 'x', sequence: 2 } }),
  );
  const id = (place: string) => createHash('sha256').update(place).digest().readUIntBE(0, 6);
  const heard: VerifyFrame[] = [];
  pair.spoil = (frame) => {
    heard.push(frame);
    return undefined;
  };
  const questions: VerifyFrame['body'][] = [
    { kind: 'open', lane: plan.id, after: 0 },
    { kind: 'places', places: [id('a/S'), id('c/T')] },
    { kind: 'read', positions: [{ from: 1, upTo: 10 }], stretches: [], level: 10, records: true },
  ];
  for (const [i, body] of questions.entries()) {
    pair.verifiers.b.frame('a', { kind: 'verify', id: '01', number: i + 1, body });
    await until(() => heard.length > i, { what: () => 'an answer' });
  }
  const { body } = heard[2]!;
  const told = body.kind === 'part' ? body.records.map(({ place, at }) => `${place} ${at}`) : [];
  expect(told).toHaveLength(11);
  expect(told).toContain('a/S 11');
  expect(told).not.toContain('c/T 12');
  pair.verifiers.b.stop();
});

test('an answer that is lost is asked for again after a rotation; a peer that goes away or lies ends it', async () => {
  const pair = new Pair();
  pair.fill(2000);
  let lost = 0;
  pair.spoil = (frame) => {
    if (frame.body.kind !== 'part' || lost++ > 0) return frame;
    queueMicrotask(() => pair.verifiers.a.moved('b'));
    return undefined;
  };
  expect(await pair.verify('a')).toMatchObject({ records: 2000, differences: [] });
  expect(lost).toBeGreaterThan(1);

  pair.spoil = ({ body, ...frame }) => {
    if (body.kind !== 'part') return { ...frame, body };
    queueMicrotask(() => pair.verifiers.a.peerDown('b', { reason: 'connection-lost', detail: 'killed' }));
    return undefined;
  };
  await expect(pair.verify('a')).rejects.toThrow('connection-lost: b went away: killed');

  const places = Array.from({ length: 1000 }, (_, i) => i);
  pair.spoil = ({ body, ...frame }) =>
    ({ ...frame, body: body.kind === 'part' ? { ...body, places, done: false } : body }) as VerifyFrame;
  await expect(pair.verify('a')).rejects.toThrow('bad-frame: b tells more than there can be');
});
