import { expect, test } from 'vitest';
import { SinkLaneState } from './sink-lane-state.ts';
import { TailReading } from './tail-reading.ts';

/** What a lane makes of its record 8, which follows on 7, when the cursor is 5 and the sink lacks one sequence before it. */
function told(inFlight: number, inIdMode: boolean) {
  const lane = new SinkLaneState('l/a/h');
  lane.moveCursor({ incarnation: 'i', sequence: 5 });
  lane.inFlight = inFlight;
  const reading = new TailReading(10);
  reading.saw(11, false);
  reading.saw(13, true);
  const origin = { space: 'a/S/i', sequence: 8, seconds: 1, nanos: 0, time: 1_000_000 };
  const position = { incarnation: 'i', sequence: 8 };
  reading.tell({ sinkSequence: 13, lane: lane.id, position, previous: 7, origin }, lane, inIdMode);
  return [lane.cursor?.sequence, [...lane.ahead]];
}

test('a predecessor that is missing where something was deleted was stored before, unless it is under way under its id', () => {
  expect(told(0, false)).toEqual([8, []]);
  expect(told(0, true)).toEqual([8, []]);
  expect(told(1, false)).toEqual([8, []]);
  expect(told(1, true)).toEqual([5, [8]]);
});
