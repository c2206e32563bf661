/** What bounds the memory of the daemons of one run. */
import { type LaneLimits, laneLimits } from '../../src/daemon/lane-set.ts';
import type { MemoryBudgetOptions } from '../../src/lib/memory-budget.ts';
import type { Seed } from '../support/seed.ts';

/** Small ones, so that every bound is met. */
export function drawLimits(random: Seed): LaneLimits {
  return {
    windowBytes: random.pick([300, 2000, 50_000]),
    outboxBytes: 1024 * 1024,
    batchBytes: random.pick([150, 500, 4000]),
    prefetchBytes: random.pick([16_384, 65_536]),
    ringBytes: random.pick([2048, 65_536]),
    line: { unknownBytes: random.pick([200, 1000, 65_536]), pieceBytes: random.pick([100, 1000]) },
    writer: {
      ...laneLimits.writer,
      maxInFlightRecords: random.pick([3, 24, 4096]),
      maxInFlightIdRecords: random.pick([2, 16, 1024]),
      maxInFlightBytes: random.pick([400, 1 << 24]),
      idModeMs: random.pick([2000, 60_000]),
    },
  };
}

/** From one that is always short to one that is never. */
export function drawMemory(random: Seed): MemoryBudgetOptions {
  return {
    bytes: random.pick([2000, 30_000, 300_000]),
    leastBytes: random.pick([150, 4000]),
    firstBytes: random.pick([150, 2000, 65_536]),
  };
}
