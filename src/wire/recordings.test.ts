import { describe, expect, test } from 'vitest';
import {
  altered,
  newer,
  recordedEpoch,
  recordedIncarnations,
  recordedLanes,
  recordedNode,
  recordedPayload,
  recordedPositions,
  recordings,
} from '../../test/support/recordings.ts';
import { negotiate } from '../lane/lane-receiver.ts';
import { decodeControl } from './control.ts';
import { decodeFrame, protocolVersions } from './frame.ts';
import { RecordView } from './record-view.ts';

const hello = { kind: 'hello', minVersion: 1, session: '00112233aabbccdd', linkHash: 'recorded' };
const opening = {
  epoch: recordedEpoch,
  cursor: undefined,
  witnesses: [],
  creditLimit: 8388608,
  maxFrameBytes: 16777216,
};
const { own: incarnation, ours } = recordedIncarnations;

describe.each(recordings)('what $name says', ({ version, control, sender, receiver }) => {
  const node = recordedNode(version);
  // Words that are not known become ones that are.
  const words = version === 99 ? { drain: 'draining', left: 'connection-lost', gap: 'purged' } : undefined;
  const { drain = 'draining', left = 'draining', gap = 'expired' } = words ?? {};
  const laneDrain = version === 99 ? 'connection-lost' : 'draining';

  test('on the control stream', () => {
    const said = Object.fromEntries(Object.entries(control).map(([name, bytes]) => [name, decodeControl(bytes)]));
    expect(said).toMatchObject({
      greeting: { kind: 'greeting', minVersion: 1, maxVersion: version, cluster: 'ghost', node, generation: 4 },
      declaration: { kind: 'declaration', generation: 4, links: [] },
      verdicts: { kind: 'verdicts', generation: 1, verdicts: [{ link: 'ghostly', hash: 'recorded', detail: '' }] },
      beat: { kind: 'beat', sentMs: 123456, wallMs: 1795000000000 },
      drain: { kind: 'drain', reason: drain },
      goodbye: { kind: 'goodbye', reason: left, detail: 'the daemon stops', retryAfterMs: 0 },
    });
  });

  test('as the sender of a lane', () => {
    expect(decodeFrame(sender.hello)).toMatchObject({
      ...hello,
      maxVersion: version,
      node,
      lane: recordedLanes.sender,
      role: 'sender',
      opening: undefined,
    });
    const welcome = decodeFrame(sender.welcome);
    expect(welcome).toMatchObject({ kind: 'welcome', node, opening: undefined });
    const records = [sender.first, sender.second, sender.third].flatMap((bytes, index) => {
      const frame = decodeFrame(bytes);
      if (frame?.kind !== 'batch') throw new Error(`${frame?.kind} is no batch`);
      const { batch } = frame;
      expect(batch).toMatchObject({ epoch: recordedEpoch, stripe: 0, incarnation, headSequence: 10 });
      expect(batch.lastSequence).toBe([3, 6, 10][index]);
      expect(batch.filtered).toBe(index === 1 && version > 1 ? 1 : 0);
      const view = new RecordView(batch.packed);
      const found: unknown[] = [];
      while (view.next()) {
        const text = (start: number, end: number) => view.buffer.toString('latin1', start, end);
        const { sequence } = view;
        expect(view.seconds).toBe(1795000000 + sequence);
        expect(text(view.subjectStart, view.subjectEnd)).toBe(`ghostly.${sequence % 3}`);
        found.push([sequence, text(view.payloadStart, view.payloadEnd)]);
      }
      expect(batch.count).toBe(found.length);
      return found;
    });
    expect(records).toEqual(recordedPositions(version).map((at) => [at, recordedPayload(version, at)]));
    expect(decodeFrame(sender.gap)).toMatchObject({
      kind: 'gap',
      epoch: recordedEpoch,
      after: { incarnation, sequence: 6 },
      upTo: { incarnation, sequence: 8 },
      reason: gap,
    });
    expect(decodeFrame(sender.drain)).toEqual({ kind: 'drain', reason: laneDrain });
    expect(decodeFrame(sender.goodbye)).toMatchObject({ kind: 'goodbye', reason: left });
  });

  test('as the receiver of a lane', () => {
    const start = version === 1 ? {} : { start: { at: 'all' } };
    expect(decodeFrame(receiver.hello)).toMatchObject({
      ...hello,
      maxVersion: version,
      node,
      lane: recordedLanes.receiver,
      role: 'receiver',
      opening: { ...opening, ...start },
    });
    expect(decodeFrame(receiver.welcome)).toMatchObject({ kind: 'welcome', node, opening: { ...opening, ...start } });
    for (const [bytes, sequence] of [
      [receiver.ackOfThree, 3],
      [receiver.ackOfFive, 5],
    ] as const)
      expect(decodeFrame(bytes)).toMatchObject({
        kind: 'ack',
        epoch: recordedEpoch,
        stored: { incarnation: ours, sequence },
      });
    expect(decodeFrame(receiver.goodbye)).toMatchObject({ kind: 'goodbye', reason: left });
  });

  test('makes both ends speak the highest version that both know', () => {
    expect(negotiate(1, version)).toBe(Math.min(version, protocolVersions.max));
  });
});

test('frames of a kind that nobody knows are nothing, and a version out of reach is told by both', () => {
  expect(decodeControl(newer.control.unknownKind)).toBeUndefined();
  expect(decodeFrame(newer.sender.unknownKind)).toBeUndefined();
  expect(decodeFrame(newer.receiver.unknownKind)).toBeUndefined();
  const beyond = decodeControl(newer.control.beyondUs);
  expect(beyond).toMatchObject({ kind: 'greeting', minVersion: 90, maxVersion: 99 });
  expect(negotiate(90, 99)).toMatchObject({
    reason: 'version-mismatch',
    detail: `peer speaks 90 to 99, this daemon ${protocolVersions.min} to ${protocolVersions.max}`,
  });
});

test('there is a recording of every version that is spoken and was before the present one', () => {
  const { min, max } = protocolVersions;
  const recorded = recordings.map(({ version }) => version);
  for (let version = min; version < max; version++) expect(recorded).toContain(version);
});

test('an altered frame differs in nothing else', () => {
  for (const { sender } of recordings) {
    const changed = altered(sender.first, { 1: 123_456 });
    expect(altered(changed, { 1: recordedEpoch })).toEqual(sender.first);
    expect(decodeFrame(changed)).toMatchObject({ batch: { epoch: 123_456, lastSequence: 3 } });
  }
});
