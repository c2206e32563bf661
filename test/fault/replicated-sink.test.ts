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
      const kills = many(2, 60);
      const perKill = many(5_000, 17_000);
      const count = kills * perKill;
      const seed = Seed.announced('leaders');
      await using hub = await HubCluster.start(binary, { shared: true });
      await using feed = await hub.plant.feed('TELEMETRY', { count: 0, payloadBytes: 256 });
      await using foreign = await hub.feedForeign(200);
      for (let kill = 1; kill <= kills; kill++) {
        const leader = await hub.leader();
        const some = ((await hub.count()) ?? 0) + seed.between(1, perKill);
        feed.allow(kill * perKill);
        await until(async () => ((await hub.count()) ?? 0) >= some, {
          what: 'records before the kill',
          deadlineMs: 60_000,
        });
        await leader.kill();
        await hub.leader();
        await leader.start();
      }
      await feed.reached();
      await hub.world.stored(hubLane, count);
      foreign.allow(foreign.accepted + 10);
      await foreign.reached();
      const { verdict, foreign: others } = await hub.judge();
      expect(await hub.mode()).toBe('id');
      expect(verdict).toEqual(perfect(count));
      expect(others.length).toBeGreaterThanOrEqual(foreign.accepted);
    },
    limitMs(180_000),
  );
});
