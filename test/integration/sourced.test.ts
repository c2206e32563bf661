import { expect, test } from 'vitest';
import { freePorts } from '../../src/lib/free-ports.ts';
import { eachServer } from '../support/each-server.ts';
import { changeStream, numbered, publishAll } from '../support/nats-rig.ts';
import { until } from '../support/until.ts';
import { World } from '../support/world.ts';

const half = 2500;

await eachServer('newest', (binary) => {
  test('I4: a replicate link beside a JetStream source between the same streams brings nothing back', async () => {
    const [port] = await freePorts(1);
    const orders = { kind: 'replicate', between: ['east', 'west'], stream: 'ORDERS', start: 'all' };
    const cluster = (config: string, domain: string) => ({
      streams: { ORDERS: { subjects: ['orders.>'] } },
      links: { orders },
      server: { jetstream: { domain }, config },
    });
    // Over the leaf node goes what JetStream sources, and nothing else: what is published at one end is not at the other.
    const remote = `{ url: "nats-leaf://127.0.0.1:${port}", deny_imports: "orders.>", deny_exports: "orders.>" }`;
    await using world = await World.make(
      {
        east: cluster(`leafnodes { listen: "127.0.0.1:${port}" }`, 'east'),
        west: { ...cluster(`leafnodes { remotes: [${remote}] }`, 'west'), dial: ['east'] },
      },
      { binary },
    );
    const [east, west] = [world.cluster('east'), world.cluster('west')];
    for (const one of [east, west]) await one.edit({ nats: { servers: [one.server.url], domain: one.name } });
    const publish = async (from: number, to: number) => {
      for (const one of [east, west]) await publishAll(await one.client(), from, to, numbered(`orders.${one.name}`));
    };
    const source = { name: 'ORDERS', external: { api: '$JS.east.API' } };
    await changeStream(await west.client(), 'ORDERS', { sources: [source] });
    await publish(1, half);
    await world.start();
    await publish(half + 1, 2 * half);
    const published = 4 * half;
    await east.holds('ORDERS', published);
    // Its own, what the lane brought, and what JetStream copied of all that stands at the other end.
    const copied = published;
    const all = 2 * half + 2 * half + copied;
    await west.holds('ORDERS', all);
    await until(
      async () => {
        const [out, back] = await Promise.all([
          east.daemon.lane('orders/east/west'),
          west.daemon.lane('orders/west/east'),
        ]);
        return out.lagRecords === 0 && back.lagRecords === 0 && back.sourcedDropsTotal === copied;
      },
      { what: 'the lanes to be level', deadlineMs: 60_000 },
    );
    // What came back would be sourced, and come back again.
    expect([await east.count('ORDERS'), await west.count('ORDERS')]).toEqual([published, all]);
    const numbers = new Map<string, number>();
    for (const { subject, text } of await east.read('ORDERS')) {
      const key = `${subject} ${text}`;
      numbers.set(key, (numbers.get(key) ?? 0) + 1);
    }
    expect([numbers.size, Math.max(...numbers.values())]).toEqual([published, 1]);
    const { sourcedDropsTotal, loopDropsTotal } = await east.daemon.lane('orders/east/west');
    expect([sourcedDropsTotal, loopDropsTotal]).toEqual([0, 2 * half]);
    expect(await west.daemon.metrics()).toMatch(
      new RegExp(`causeway_lane_sourced_drops_total\\{[^}]*orders/west/east[^}]*\\} ${copied}\\n`),
    );
  }, 120_000);
});
