import { expect, test } from 'vitest';
import { NatsBroker } from '../../src/brokers/nats/nats-broker.ts';
import type { SinkStore } from '../../src/brokers/store.ts';
import { LaneStats } from '../../src/daemon/lane-stats.ts';
import { RetentionWatch } from '../../src/daemon/retention-watch.ts';
import { eachServer } from '../support/each-server.ts';
import { lanePlan } from '../support/lane-plan.ts';
import { startNats } from '../support/nats-launcher.ts';
import { changeStream, client, makeStream, openLink } from '../support/nats-rig.ts';

await eachServer('ends', (binary) => {
  test('the estimate when a source loses data follows its limits, and is none where nothing waits or nothing is known', async () => {
    await using server = await startNats({ binary });
    await using nc = await client(server.url);
    await using control = await openLink(server.url);
    const { link } = control;
    const links = { control: link, reader: link, writer: link };
    // Nothing of it is asked for.
    const broker = new NatsBroker({ cluster: 'c', links, store: {} as SinkStore });
    const stats = new LaneStats(lanePlan, { batch: () => undefined }, 0);
    const watch = new RetentionWatch(broker, () => [{ stream: 'S', stats }]);
    const publish = async (count: number): Promise<void> => {
      for (let i = 0; i < count; i++) await nc.request('S.x', 'some record');
    };
    const look = async () => {
      await watch.look();
      return stats.retention;
    };
    const storedUpTo = (sequence: number): void => stats.onStored({ incarnation: 'i', sequence }, 0);
    /** Looks at a lane that stands at 5, before and after more records came. */
    const twice = async () => {
      storedUpTo(1_000_000);
      await look();
      storedUpTo(5);
      expect(await look()).toBe(undefined);
      await publish(10);
      return look();
    };
    try {
      await makeStream(nc, { name: 'S' });
      await publish(20);
      expect(await look()).toBe(undefined);
      expect(await twice()).toBe(undefined);

      await changeStream(nc, 'S', { max_msgs: 10_000 });
      expect(await twice()).toMatchObject({ limit: 'max_msgs', seconds: expect.any(Number) });
      await changeStream(nc, 'S', { discard: 'new' });
      expect(await twice()).toBe(undefined);
      await changeStream(nc, 'S', { discard: 'old', max_msgs: -1, max_bytes: 1_000_000 });
      expect(await twice()).toMatchObject({ limit: 'max_bytes' });

      await changeStream(nc, 'S', { max_bytes: -1, max_age: 3_600e9 });
      const byAge = await twice();
      expect(byAge?.limit).toBe('max_age');
      expect(byAge?.seconds).toBeLessThanOrEqual(3_600);
      expect(byAge?.seconds).toBeGreaterThan(3_000);
      storedUpTo((await broker.sourceState('S')).lastSequence);
      expect(await look()).toBe(undefined);

      expect(await twice()).toBeDefined();
      await server.stop();
      expect(await look()).toBe(undefined);
    } finally {
      watch.stop();
    }
  });
});
