import { totalmem } from 'node:os';
import { MemoryBudget } from '../lib/memory-budget.ts';
import { laneLimits } from './lane-set.ts';

const MiB = 1024 * 1024;
const mostBytes = 1024 * MiB;
const leastBytes = 16 * MiB;

/** The budget of this process for records: of so many bytes, or as the machine or container allows. */
export function openMemoryBudget(bytes: number | undefined): MemoryBudget {
  const { batchBytes } = laneLimits;
  return new MemoryBudget({ bytes: memoryBytes(bytes), leastBytes: batchBytes, firstBytes: 2 * batchBytes });
}

/** The size of the budget, in bytes, that a topology file asks for or leaves open. */
export function memoryBytes(given: number | undefined): number {
  return given ?? usualBytes(totalmem(), process.constrainedMemory());
}

/**
 * A quarter of the memory there is: what is held as records takes as much again in the clients of NATS and gRPC. `constrained`: what
 * the container allows; 0, or more than the machine has, if it sets no limit.
 */
export function usualBytes(total: number, constrained: number | undefined): number {
  const there = constrained ? Math.min(total, constrained) : total;
  return Math.max(leastBytes, Math.min(mostBytes, Math.floor(there / 4)));
}
