import type { StreamClient } from '../brokers/nats/stream-client.ts';
import type { DaemonStatus } from '../ops/status.ts';
import { beginsAt, type DemoLane, lanes, sinks } from './lanes.ts';
import type { LaneView } from './tables.ts';

/** A rate is that of the last so many milliseconds. */
const rateOverMs = 2000;
/** Two looks that are nearer to each other give no rate. */
const minApartMs = 200;

interface Moment {
  readonly atMs: number;
  readonly stored: number;
}

/** What is asked of a cluster. */
export interface Watched {
  status(): Promise<DaemonStatus | undefined>;
  readonly client: Pick<StreamClient, 'subjects'>;
}

/** Looks at all lanes from outside: what their sinks hold, and what the daemons say. */
export class Watch {
  readonly #sites: ReadonlyMap<string, Watched>;
  /** Records that were sent on a lane so far. */
  readonly #sent: (lane: DemoLane) => number;
  /** Per lane: how much was stored when, within the last moments. */
  readonly #history = new Map<string, readonly Moment[]>();

  constructor(sites: ReadonlyMap<string, Watched>, sent: (lane: DemoLane) => number) {
    this.#sites = sites;
    this.#sent = sent;
  }

  async look(): Promise<LaneView[]> {
    const [statuses, held] = await Promise.all([
      mapOf([...this.#sites], async ([cluster, site]) => [cluster, await site.status()]),
      mapOf(sinks, async ({ cluster, stream }) => [
        sinkName(cluster, stream),
        await this.#sites.get(cluster)?.client.subjects(stream),
      ]),
    ]);
    return lanes.map((lane) => this.#view(lane, statuses, held.get(sinkName(lane.to, lane.stream))));
  }

  #view(
    lane: DemoLane,
    statuses: ReadonlyMap<string, DaemonStatus | undefined>,
    held: ReadonlyMap<string, number> | undefined,
  ): LaneView {
    const before = this.#history.get(lane.lane) ?? [];
    // While the sink's server is away, what it was last seen to hold: of no other number is anything known.
    const stored = held === undefined ? before.at(-1)?.stored : countOf(held, beginsAt(lane));
    // A record may be stored at the sink before the application hears that it is at the source.
    const sent = Math.max(this.#sent(lane), stored ?? 0);
    const perSecond = stored === undefined ? undefined : this.#rate(lane.lane, before, stored);
    const state = stateOf(lane, statuses.get(lane.from.cluster)) ?? stateOf(lane, statuses.get(lane.to));
    return { lane: lane.lane, sent, stored, perSecond, state };
  }

  #rate(lane: string, before: readonly Moment[], stored: number): number {
    const atMs = performance.now();
    const history = [...before.filter((moment) => atMs - moment.atMs <= rateOverMs), { atMs, stored }];
    this.#history.set(lane, history);
    const first = history[0]!;
    return atMs - first.atMs < minApartMs ? 0 : ((stored - first.stored) * 1000) / (atMs - first.atMs);
  }
}

/** What one daemon says of a lane. A reason says more than the state that it leads to. */
function stateOf({ lane }: DemoLane, status: DaemonStatus | undefined): string | undefined {
  const found = status?.lanes.find((one) => one.lane === lane);
  return found?.reason ?? found?.state;
}

function sinkName(cluster: string, stream: string): string {
  return `${stream} at ${cluster}`;
}

function countOf(held: ReadonlyMap<string, number>, begins: string): number {
  return [...held].reduce((sum, [subject, count]) => (subject.startsWith(begins) ? sum + count : sum), 0);
}

async function mapOf<T, R>(
  all: readonly T[],
  entry: (one: T) => Promise<readonly [key: string, value: R]>,
): Promise<ReadonlyMap<string, R>> {
  return new Map(await Promise.all(all.map(entry)));
}
