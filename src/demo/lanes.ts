import { orderOf, type RecordMaker, readingOf, recipeOf } from './records.ts';
import { clusters, fleetPrefix, hub, plants, streams } from './topologies.ts';

/** An application beside the daemons: writes into a stream of its cluster. */
export interface Application {
  readonly name: string;
  readonly cluster: string;
  readonly stream: string;
  /** What its subjects begin with. */
  readonly begins: string;
  /** Causeway writes into the stream as well. */
  readonly shared: boolean;
  readonly make: RecordMaker;
  /** Its rate, in that of the sensors of one plant. */
  readonly share: number;
}

/** A lane of the demo, and where to find what it has carried. */
export interface DemoLane {
  readonly lane: string;
  readonly from: Application;
  readonly to: string;
  /** Stream at `to`. */
  readonly stream: string;
  /** What the link puts before the subjects of the application. */
  readonly added: string;
}

const sensors = plants.map(
  (cluster): Application => ({
    name: `sensors at ${cluster}`,
    cluster,
    stream: streams.telemetry,
    begins: 'press.',
    shared: false,
    make: readingOf,
    share: 1,
  }),
);

const recipes: Application = {
  name: `recipes at ${hub}`,
  cluster: hub,
  stream: streams.recipes,
  begins: 'recipe.',
  shared: false,
  make: recipeOf,
  share: 0.1,
};

const orders = clusters.map(
  (cluster): Application => ({
    name: `orders at ${cluster}`,
    cluster,
    stream: streams.orders,
    begins: `order.${cluster}.`,
    shared: true,
    make: orderOf,
    share: 0.1,
  }),
);

export const applications: readonly Application[] = [...sensors, recipes, ...orders];

export const lanes: readonly DemoLane[] = [
  ...sensors.map((from) => ({
    lane: `telemetry/${from.cluster}/${hub}`,
    from,
    to: hub,
    stream: streams.fleet,
    added: fleetPrefix(from.cluster),
  })),
  ...plants.map((to) => ({ lane: `recipes/${hub}/${to}`, from: recipes, to, stream: streams.recipes, added: '' })),
  ...orders.flatMap((from) =>
    clusters
      .filter((to) => to !== from.cluster)
      .map((to) => ({ lane: `orders/${from.cluster}/${to}`, from, to, stream: streams.orders, added: '' })),
  ),
];

/** What all subjects of a lane begin with at its sink, and no others there. */
export function beginsAt({ added, from }: DemoLane): string {
  return `${added}${from.begins}`;
}

/** A stream that lanes lead to. */
export interface Sink {
  readonly cluster: string;
  readonly stream: string;
  readonly lanes: readonly DemoLane[];
}

export const sinks: readonly Sink[] = clusters
  .flatMap((cluster) =>
    Object.values(streams).map((stream) => ({
      cluster,
      stream,
      lanes: lanes.filter((lane) => lane.to === cluster && lane.stream === stream),
    })),
  )
  .filter((sink) => sink.lanes.length > 0);

/** Writes of all servers for one record of the sensors of each plant: each is stored where it is written, and once per lane. */
export const writesPerReading = [...applications, ...lanes.map(({ from }) => from)].reduce(
  (sum, { share }) => sum + share,
  0,
);
