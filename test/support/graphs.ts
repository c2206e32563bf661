/** Worlds of more than one hop. */
import type { ClusterSpec, StreamSpec } from './world.ts';

/** Shorter than any outage: nothing may depend on the server's own memory of message ids. In nanoseconds. */
const duplicateWindow = 1e9;
const orders: StreamSpec = { subjects: ['orders.>'], duplicate_window: duplicateWindow };

/** Every member dials those before it; `orders` keeps the stream ORDERS alike in all of them. */
export function mesh(members: readonly string[]): Record<string, ClusterSpec> {
  return Object.fromEntries(
    members.map((name, index) => [
      name,
      {
        dial: members.slice(0, index),
        streams: { ORDERS: orders },
        links: { orders: { kind: 'replicate', between: members, stream: 'ORDERS', start: 'all' } },
      },
    ]),
  );
}

/** A link `step-A-B` from ORDERS of one cluster to ORDERS of another, declared by the first, who also dials. */
export type Step = readonly [from: string, to: string];

/** Clusters with a stream ORDERS each, joined by one-way steps; each lets the others speak for everybody. */
export function steps(ways: readonly Step[]): Record<string, ClusterSpec> {
  const names = [...new Set(ways.flat())];
  return Object.fromEntries(
    names.map((name): [string, ClusterSpec] => {
      const out = ways.filter(([from]) => from === name);
      const back = ways.filter(([, to]) => to === name);
      const links = out.map(([from, to]) => [
        `step-${from}-${to}`,
        { kind: 'fan-out', from: { stream: 'ORDERS' }, to: { cluster: to, stream: 'ORDERS' }, start: 'all' },
      ]);
      return [
        name,
        {
          dial: out
            .map(([, to]) => to)
            .filter((to) => !ways.some(([from, other]) => from === to && other === name && to < name)),
          streams: { ORDERS: orders },
          links: Object.fromEntries(links),
          grants: back.map(([from]) => ({ to: from, append: { stream: 'ORDERS' }, origins: ['*'] })),
        },
      ];
    }),
  );
}
