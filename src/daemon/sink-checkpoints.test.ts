import { expect, test } from 'vitest';
import { SinkWorld } from '../../test/support/sink-world.ts';
import { until } from '../../test/support/until.ts';
import type { Checkpoint } from '../brokers/store.ts';
import { silentLogger } from '../lib/logger.ts';
import { Waiters } from '../lib/waiters.ts';
import { SinkCheckpoints } from './sink-checkpoints.ts';

test('the last save also writes what changed while an earlier one was under way', async () => {
  const { writer } = new SinkWorld([{ id: 'l/a/h' }], 1);
  const written: Checkpoint[] = [];
  const gate = new Waiters();
  const never = new AbortController().signal;
  const checkpoints = new SinkCheckpoints({
    store: {
      checkpoint: async () => undefined,
      saveCheckpoint: async (_stream, checkpoint) => {
        written.push(checkpoint);
        if (written.length === 2) await gate.wait(never);
        return written.length;
      },
      deleteCheckpoint: async () => {},
    },
    stream: 'T',
    log: silentLogger,
    writer: () => writer,
    replicas: () => 1,
    signal: never,
    findDigest: async () => {},
    superseded: () => {},
  });
  const entry = checkpoints.entry('l/a/h');
  const events = { stored() {}, parked() {}, ended() {} };
  entry.session = { epoch: await checkpoints.winEpoch(entry, 0), events, parks: false };
  const moveTo = (sequence: number) => {
    writer.lane('l/a/h').moveCursor({ incarnation: 'i', sequence });
    entry.dirty = true;
  };
  moveTo(10);
  const first = checkpoints.save();
  await until(() => written.length === 2, { what: 'a write under way' });
  moveTo(20);
  const last = checkpoints.save(true);
  gate.release();
  await Promise.all([first, last]);
  expect(written.map(({ cursor }) => cursor?.sequence)).toEqual([undefined, 10, 20]);
});
