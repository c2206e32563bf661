/** Memory budgets for tests that are about something else. */
import { MemoryBudget, type MemoryShare } from '../../src/lib/memory-budget.ts';

const plenty = 2 ** 40;

/** Every holder has its most from the beginning. */
export function plentyOfMemory(): MemoryBudget {
  return new MemoryBudget({ bytes: plenty, leastBytes: plenty, firstBytes: plenty });
}

/** A holder with a window that stays as it is. */
export function windowOf(bytes: number): MemoryShare {
  return plentyOfMemory().share(bytes);
}
