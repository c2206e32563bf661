import { expect, test } from 'vitest';
import { eachServer } from '../support/each-server.ts';
import { HubCluster, hubLane } from '../support/hub-cluster.ts';
import { perfect } from '../support/oracle.ts';
import { Seed } from '../support/seed.ts';
import { limitMs, many } from '../support/soak.ts';
import { until } from '../support/until.ts';

await eachServer('ends since 2.10', (binary) => {
  test(
    'a stream of three replicas that others write too, with its leader killed again and again: 0 lost, 0 repeated, 0 out of order',
    async () => {
      const count = many(12_000, 1_000_000);
      const seed = Seed.announced('leaders');
      await using hub = await HubCluster.start(binary, { shared: true });
      await using feed = await hub.plant.feed('TELEMETRY', {
        count,
        perSecond: many(2_000, 10_000),
        payloadBytes: 256,
      });
      await using foreign = await hub.feedForeign(200);
      let kills = 0;
      while (((await hub.count()) ?? 0) < 0.9 * count) {
        const leader = await hub.leader();
        const next = ((await hub.count()) ?? 0) + seed.between(2_000, many(4_000, 40_000));
        await until(async () => ((await hub.count()) ?? 0) >= Math.min(next, count), {
          what: 'records before the next kill',
          deadlineMs: 60_000,
        });
        await leader.kill();
        kills++;
        await hub.leader();
        await leader.start();
      }
      await feed.reached();
      await hub.world.stored(hubLane, count);
      foreign.allow(foreign.accepted + 10);
      await foreign.reached();
      const { verdict, foreign: others } = await hub.judge();
      console.info(`${kills} leaders killed, ${others.length} foreign records, mode ${await hub.mode()}`);
      expect(verdict).toEqual(perfect(count));
      expect(others.length).toBeGreaterThanOrEqual(foreign.accepted);
      expect(kills).toBeGreaterThanOrEqual(2);
    },
    limitMs(180_000),
  );
});
