import { sizeText } from './leaves.ts';
import type { Plan } from './plan.ts';
import type { PathFault } from './problem.ts';

/** What an end of a lane holds of the memory budget in any case, in bytes: so much that it moves one batch at a time. */
export const endBytes = { receiving: 128 * 1024, sending: 256 * 1024 } as const;

const MiB = 1024 * 1024;

/** A budget that does not even hold what the lanes of this file take in any case. Lanes that others declare come on top of that. */
export function memoryFaults(plan: Plan): PathFault[] {
  const { memoryBytes } = plan;
  if (memoryBytes === undefined) return [];
  const { lanes, bytes } = leastMemory(plan);
  if (memoryBytes >= bytes) return [];
  const whose = lanes === 0 ? '' : ` for the ${lanes === 1 ? 'lane' : `${lanes} lanes`} of this file`;
  const message = `${sizeText(memoryBytes)} is too little memory${whose}`;
  const fix = `write ${sizeText(bytes)} at least, with which each lane moves one batch at a time, or leave "memory" out`;
  return [{ path: ['memory'], on: 'value', message, fix }];
}

/** In whole MiB, one at least. */
function leastMemory({ cluster, links, peers, groups }: Plan): { readonly lanes: number; readonly bytes: number } {
  const served = new Set(peers.flatMap((peer) => (peer.nats === undefined ? [] : [peer.cluster])));
  const isHere = (name: string): boolean => name === cluster || served.has(name);
  /** Clusters behind a name: of a group that says how many there are. */
  const members = (name: string): number => {
    const expect = groups.find((group) => group.name === name)?.expect ?? 1;
    return typeof expect === 'number' ? expect : expect.length;
  };
  let [lanes, bytes] = [0, 0];
  for (const { from, to } of links) {
    for (const source of from.clusters) {
      for (const sink of to.clusters) {
        if (source === sink) continue;
        const count = members(source) * members(sink);
        const ends = (isHere(source) ? endBytes.sending : 0) + (isHere(sink) ? endBytes.receiving : 0);
        if (ends > 0) lanes += count;
        bytes += count * ends;
      }
    }
  }
  return { lanes, bytes: Math.max(1, Math.ceil(bytes / MiB)) * MiB };
}
