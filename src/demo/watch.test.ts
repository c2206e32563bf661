import { describe, expect, it } from 'vitest';
import type { DaemonStatus, LaneStatus } from '../ops/status.ts';
import { lanes } from './lanes.ts';
import { clusters } from './topologies.ts';
import { Watch, type Watched } from './watch.ts';

/** A cluster whose daemon and server say what the test wants them to; both are away at first. */
class Pretended implements Watched {
  lanes: readonly Partial<LaneStatus>[] | undefined;
  readonly held = new Map<string, ReadonlyMap<string, number>>();
  readonly client = { subjects: async (stream: string) => this.held.get(stream) };

  async status(): Promise<DaemonStatus | undefined> {
    return this.lanes === undefined ? undefined : ({ lanes: this.lanes } as unknown as DaemonStatus);
  }
}

function pretend(sent: number) {
  const sites = new Map(clusters.map((cluster) => [cluster, new Pretended()]));
  const watch = new Watch(sites, () => sent);
  return {
    site: (cluster: (typeof clusters)[number]) => sites.get(cluster)!,
    view: async (lane: string) => (await watch.look()).find((view) => view.lane === lane),
  };
}

describe('Watch', () => {
  it('has a view of every lane, and knows nothing of what does not answer', async () => {
    const { view } = pretend(0);
    for (const { lane } of lanes)
      expect(await view(lane)).toEqual({ lane, sent: 0, stored: undefined, perSecond: undefined, state: undefined });
  });

  it('counts what is of a lane in a stream of several, and keeps that while the server is away', async () => {
    const { site, view } = pretend(9);
    const orders = new Map([
      ['order.hub.seal', 2],
      ['order.hub.flange', 3],
      ['order.plant-a.seal', 4],
    ]);
    site('plant-a').held.set('ORDERS', orders);
    expect(await view('orders/hub/plant-a')).toMatchObject({ sent: 9, stored: 5 });
    expect(await view('orders/plant-b/plant-a')).toMatchObject({ sent: 9, stored: 0 });
    site('plant-a').held.delete('ORDERS');
    expect(await view('orders/hub/plant-a')).toMatchObject({ sent: 9, stored: 5 });
    expect(await view('orders/hub/plant-b')).toMatchObject({ sent: 9, stored: undefined });
  });

  it('has the state from the sending daemon, and from the receiving one while that is silent', async () => {
    const { site, view } = pretend(1);
    const lane = 'orders/hub/plant-a';
    site('plant-a').lanes = [{ lane, state: 'disconnected', reason: 'connection-lost' }];
    expect(await view(lane)).toMatchObject({ state: 'connection-lost' });
    site('hub').lanes = [{ lane, state: 'live' }];
    expect(await view(lane)).toMatchObject({ state: 'live' });
  });

  it('does not have more stored than sent, when the answer of the source comes late', async () => {
    const { site, view } = pretend(1);
    site('hub').held.set('FLEET', new Map([['fleet.plant-b.press.1.pressure', 3]]));
    expect(await view('telemetry/plant-b/hub')).toMatchObject({ sent: 3, stored: 3 });
  });
});
