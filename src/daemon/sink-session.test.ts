import { describe, expect, test } from 'vitest';
import { BatchBuilder, decodeBatch, type InBatch } from '../wire/batch.ts';
import type { Gap } from '../wire/frame.ts';
import type { Position } from '../wire/position.ts';
import { type SinkSession, withBeginning } from './sink-session.ts';

const none = Buffer.alloc(0);

/** A batch behind `after` with a record for each of `sequences`. */
function batch(after: number, ...sequences: number[]): InBatch {
  const builder = new BatchBuilder('inc', after, 1000);
  for (const sequence of sequences) builder.append(sequence, 1, 0, Buffer.from('a'), none, none);
  return decodeBatch(builder.frame(1, 1, 0));
}

function gap(after: number, upTo: number): Gap {
  const at = (sequence: number): Position => ({ incarnation: 'inc', sequence });
  return { kind: 'gap', epoch: 1, frame: 1, stripe: 0, after: at(after), upTo: at(upTo), reason: 'expired' };
}

function setup() {
  const happened: string[] = [];
  const inner: SinkSession = {
    epoch: 7,
    cursor: undefined,
    witnesses: [],
    append: ({ lastSequence }) => happened.push(`batch ${lastSequence}`),
    gap: ({ upTo }) => happened.push(`gap ${upTo.sequence}`),
    close: () => happened.push('close'),
    released: () => Promise.resolve(),
  };
  let written: (alive: boolean) => void = () => undefined;
  const save = (at: Position): Promise<boolean> => {
    happened.push(`save ${at.sequence}`);
    return new Promise((resolve) => {
      written = resolve;
    });
  };
  const session = withBeginning(
    inner,
    ({ position, epoch }) => happened.push(`stored ${position.sequence} in ${epoch}`),
    'l/a/b',
    save,
  );
  const settle = async (alive: boolean) => {
    written(alive);
    await new Promise((resolve) => setImmediate(resolve));
  };
  return { happened, session, settle };
}

describe('the beginning of a lane', () => {
  test('is written down before anything behind it is taken, in its order', async () => {
    const { happened, session, settle } = setup();
    session.append(batch(100));
    session.gap(gap(100, 120));
    session.append(batch(120, 121, 122));
    expect(happened).toEqual(['save 100']);
    await settle(true);
    expect(happened.slice(1)).toEqual(['stored 100 in 7', 'gap 120', 'batch 122']);
    session.append(batch(122, 123));
    // What was left out at the source: no beginning.
    session.append(batch(123));
    expect(happened.slice(4)).toEqual(['batch 123', 'batch 123']);
  });

  test('that could not be written before the session ended lets nothing through', async () => {
    const { happened, session, settle } = setup();
    session.append(batch(100));
    session.append(batch(100, 101));
    await settle(false);
    session.append(batch(101, 102));
    session.close();
    expect(happened).toEqual(['save 100', 'close']);
  });

  test('is the first record where a sender of an older version tells nothing', () => {
    const { happened, session } = setup();
    session.append(batch(0, 1, 2));
    expect(happened).toEqual(['batch 2']);
  });
});
