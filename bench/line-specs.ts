import type { PacketLineSpec } from '../test/support/packet-line.ts';

type LineSpec = Required<Omit<PacketLineSpec, 'seed'>>;

/** The lines that `lines` measures on. Fast ones are no faster than the relay in the middle of them. */
const specs = {
  '50ms': { delayMs: 25, loss: 0, bitsPerSecond: 50e6, congestion: 'cubic' },
  '50ms-loss': { delayMs: 25, loss: 0.01, bitsPerSecond: 50e6, congestion: 'cubic' },
  '50ms-loss-bbr': { delayMs: 25, loss: 0.01, bitsPerSecond: 50e6, congestion: 'bbr' },
  '200ms': { delayMs: 100, loss: 0, bitsPerSecond: 50e6, congestion: 'cubic' },
  '200ms-loss': { delayMs: 100, loss: 0.01, bitsPerSecond: 50e6, congestion: 'cubic' },
  '1mbit': { delayMs: 25, loss: 0, bitsPerSecond: 1e6, congestion: 'cubic' },
} as const satisfies Readonly<Record<string, LineSpec>>;

export type LineName = keyof typeof specs;
export const lineNames = Object.keys(specs) as readonly LineName[];
export const lineSpecs: Readonly<Record<LineName, LineSpec>> = specs;
