import { expect, test } from 'vitest';
import { SinkLaneState } from '../lane/sink-lane-state.ts';
import { silentLogger } from '../lib/logger.ts';
import type { Start } from '../wire/start.ts';
import type { LaneEntry } from './sink-checkpoints.ts';
import { findStart, type LaneBeginning, type StartContext } from './sink-start.ts';

const id = 'l/a/h';

/** A record of the lane, the one before it being `previous`. */
function record(sequence: number, previous: number) {
  const origin = { space: 'a/S/i', sequence, seconds: 1, nanos: 0, time: 1_000_000 };
  return { sinkSequence: sequence, lane: id, position: { incarnation: 'i', sequence }, previous, origin };
}

/** Where a lane begins of which its own reading has found `state`, and a census, to which holes mean nothing, `found`. */
async function begins(state: SinkLaneState, found: SinkLaneState, start: LaneBeginning['start']) {
  const history = { add: () => undefined };
  const context = {
    stream: 'T',
    log: silentLogger,
    writer: { lane: () => state },
    census: { complete: async () => ({ firstSequence: 1 }), lane: () => found, foreign: () => 3 },
    lanes: { entry: () => ({ id, history }) as unknown as LaneEntry },
    idle: async () => undefined,
    findDigest: async () => undefined,
  } as unknown as StartContext;
  return findStart({ id, sourceStream: 'S', ...(start && { start }) }, context);
}

test('a lane without a checkpoint goes on behind its newest record', async () => {
  const [state, found] = [new SinkLaneState(id), new SinkLaneState(id)];
  found.observe(record(4, 3), false);
  expect(await begins(state, found, undefined)).toBeUndefined();
  expect(state.cursor?.sequence).toBe(4);
});

test.each([
  [undefined, { at: 'all' }],
  [{ at: 'new' }, { at: 'all' }],
  [
    { at: 'sequence', sequence: 2 },
    { at: 'sequence', sequence: 2 },
  ],
] as [LaneBeginning['start'], Start][])(
  'I3: the newest record does not hide a hole before it; start: %j',
  async (start, expected) => {
    const [state, found] = [new SinkLaneState(id), new SinkLaneState(id)];
    state.observe(record(4, 3), true);
    found.observe(record(4, 3), false);
    expect(await begins(state, found, start)).toEqual(expected);
    expect([state.cursor, state.holds('i', 4), state.holds('i', 3)]).toEqual([undefined, true, false]);
  },
);
