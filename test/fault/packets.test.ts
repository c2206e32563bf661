import { setTimeout as delay } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { startCauseway } from '../../bench/causeway.ts';
import { Feed } from '../../bench/fill.ts';
import { packetLine } from '../../bench/line.ts';
import { findDifference } from '../../bench/oracle.ts';
import { sinkStream, sourceStream } from '../../bench/system.ts';
import { Watch } from '../../bench/watch.ts';
import { PacketLine } from '../support/packet-line.ts';
import { until } from '../support/until.ts';

const workload = { kind: 'json', payloadBytes: 256 } as const;

test('a line that loses packets, and at times all of them, loses, repeats and reorders no record', async ({ skip }) => {
  const packets = await PacketLine.open({ delayMs: 25, loss: 0.01 });
  if (typeof packets === 'string') {
    const why = `no line of packets on this machine: ${packets}`;
    console.warn(`skipped: ${why}`);
    return skip(why);
  }
  const line = packetLine(packets);
  try {
    await using system = await startCauseway({ line });
    const watch = await Watch.open(system.sink.url);
    const feed = await Feed.start(system.source.url, sourceStream, { ...workload, perSecond: 200 });
    const level = async (what: string): Promise<void> => {
      const published = feed.published;
      const log = () => `${what}\n${system.logs()}`;
      await until(async () => (await watch.stored()) > published, { deadlineMs: 60_000, what: log });
    };
    try {
      // Nobody is there when the plant's daemon dials first.
      await packets.cut();
      await system.begin();
      await delay(4_000);
      expect(await watch.stored()).toBe(0);
      await packets.restore();
      await level('the first records');
      await packets.cut();
      await delay(2_000);
      await packets.restore();
      await level('records after the cut');
      const records = await feed.stop();
      await until(async () => (await watch.stored()) >= records, { what: `the last of ${records} records` });
      expect(await findDifference(system.sink.url, sinkStream, { ...workload, records })).toBeUndefined();
    } finally {
      await watch.close();
      // One that failed has said so above.
      await feed.stop().catch(() => undefined);
    }
  } finally {
    await line.stop();
  }
});
