import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { MemoryBudget, type MemoryShare } from './memory-budget.ts';

const KiB = 1024;
const MiB = 1024 * KiB;
const leastBytes = 128 * KiB;
const firstBytes = 256 * KiB;

function budgetOf(bytes: number): MemoryBudget {
  return new MemoryBudget({ bytes, leastBytes, firstBytes });
}

/** Uses every window up, round after round, in no time: everybody wants as much as there is. */
function use(shares: readonly MemoryShare[], rounds: number, nowMs = 0): void {
  for (let round = 0; round < rounds; round++) for (const share of shares) share.passed(share.windowBytes, nowMs);
}

const windowsOf = (shares: readonly MemoryShare[]) => shares.map(({ windowBytes }) => windowBytes);

describe('a holder among few', () => {
  test('begins small, doubles with each window that it uses up, and ends at its most', () => {
    const share = budgetOf(256 * MiB).share(8 * MiB);
    const seen = [share.windowBytes];
    for (let i = 0; i < 7; i++) {
      share.passed(share.windowBytes / 2, i);
      share.passed(share.windowBytes / 2, i);
      seen.push(share.windowBytes);
    }
    expect(seen).toEqual([256, 512, 1024, 2048, 4096, 8192, 8192, 8192].map((kib) => kib * KiB));
  });

  test('stays small with a trickle, and begins small again after a long pause', () => {
    const share = budgetOf(256 * MiB).share(8 * MiB);
    for (let second = 0; second < 600; second++) share.passed(10 * KiB, second * 1000);
    expect(share.windowBytes).toBe(firstBytes);
    use([share], 5, 600_000);
    expect(share.windowBytes).toBe(8 * MiB);
    share.passed(8 * MiB, 3_600_000);
    expect(share.windowBytes).toBe(firstBytes);
  });
});

describe('holders that want more than there is', () => {
  test('end level, whoever came first', () => {
    const budget = budgetOf(64 * MiB);
    const early = Array.from({ length: 8 }, () => budget.share(8 * MiB));
    use(early, 20);
    expect(Math.min(...windowsOf(early))).toBeGreaterThanOrEqual(4 * MiB);
    const late = Array.from({ length: 24 }, () => budget.share(8 * MiB));
    use([...early, ...late], 40);
    expect(new Set(windowsOf([...early, ...late]))).toEqual(new Set([2 * MiB]));
    expect(budget.usedBytes).toBe(64 * MiB);
  });

  test('get what those that are gone leave', () => {
    const budget = budgetOf(8 * MiB);
    const [one, other] = [budget.share(8 * MiB), budget.share(8 * MiB)];
    use([one, other], 20);
    expect(windowsOf([one, other])).toEqual([4 * MiB, 4 * MiB]);
    other.retire(3 * MiB);
    use([one], 4);
    expect([one.windowBytes, budget.usedBytes]).toEqual([4 * MiB, 7 * MiB]);
    other.close();
    use([one], 4);
    expect([one.windowBytes, budget.usedBytes]).toEqual([8 * MiB, 8 * MiB]);
  });

  test('keep what was promised until it is used', () => {
    const budget = budgetOf(8 * MiB);
    const one = budget.share(8 * MiB);
    use([one], 6);
    one.hold(8 * MiB);
    const other = budget.share(8 * MiB);
    expect(other.windowBytes).toBe(leastBytes);
    use([other], 1);
    one.passed(MiB, 0);
    // It gives way once; the next half waits until the first one is free.
    expect([one.windowBytes, other.windowBytes]).toEqual([4 * MiB, leastBytes]);
    one.passed(MiB, 0);
    expect(one.windowBytes).toBe(4 * MiB);
    one.hold(6 * MiB);
    expect(other.windowBytes).toBe(2 * leastBytes);
  });
});

test('windows that stand still leave half of the budget, in equal parts, to those that move', () => {
  const budget = budgetOf(32 * MiB);
  const shares = Array.from({ length: 24 }, () => budget.share(8 * MiB));
  const [still, moving] = [shares.slice(0, 20), shares.slice(20)];
  use(still, 20);
  expect(budget.usedBytes).toBeGreaterThan(16 * MiB);
  use(moving, 20);
  for (const { windowBytes } of moving) expect(windowBytes).toBeGreaterThanOrEqual((32 * MiB) / 2 / 24 / 2);
  expect(budget.usedBytes).toBeLessThanOrEqual(32 * MiB);
});

test('a smaller budget takes effect as windows are used', () => {
  const budget = budgetOf(64 * MiB);
  const shares = Array.from({ length: 8 }, () => budget.share(8 * MiB));
  use(shares, 20);
  budget.bytes = 16 * MiB;
  expect(budget.usedBytes).toBeGreaterThan(16 * MiB);
  use(shares, 20);
  expect(budget.usedBytes).toBeLessThanOrEqual(16 * MiB);
  expect(Math.min(...windowsOf(shares))).toBeGreaterThanOrEqual(MiB);
});

/** A holder as a receiver is one: what it promised it takes, whatever its window is by then. */
interface Model {
  readonly share: MemoryShare;
  promised: number;
}

const step = fc.record({
  kind: fc.constantFrom('use', 'use', 'use', 'use', 'open', 'retire', 'close', 'resize'),
  which: fc.nat(30),
  part: fc.double({ min: 0, max: 1, noNaN: true }),
  afterMs: fc.constantFrom(0, 10, 1000, 30_000, 100_000),
  size: fc.constantFrom(100 * KiB, 700_001, 4 * MiB, 8 * MiB),
});

test('whatever happens: no more than the budget and the least of each is handed out, and everybody has the least', () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 300 }), fc.integer({ min: 0, max: 40 * MiB }), (steps, bytes) => {
      const budget = budgetOf(bytes);
      let models: Model[] = [];
      let retired: { readonly share: MemoryShare; readonly held: number }[] = [];
      let nowMs = 0;
      let mostBytes = bytes;
      for (const { kind, which, part, afterMs, size } of steps) {
        nowMs += afterMs;
        const model = models[which % Math.max(1, models.length)];
        if (kind === 'open' || model === undefined) {
          const share = budget.share(size);
          models.push({ share, promised: share.windowBytes });
          mostBytes += Math.min(size, leastBytes);
        } else if (kind === 'use') {
          const used = Math.floor(part * model.promised);
          model.share.passed(used, nowMs);
          model.promised = Math.max(model.promised - used, model.share.windowBytes);
          model.share.hold(model.promised);
        } else if (kind === 'resize') {
          budget.bytes = Math.floor(part * 40 * MiB);
          mostBytes = Math.max(mostBytes, budget.bytes + models.length * leastBytes);
        } else {
          models = models.filter((one) => one !== model);
          const held = Math.floor(part * model.promised);
          if (kind === 'close') model.share.close();
          else {
            model.share.retire(held);
            retired.push({ share: model.share, held });
          }
        }
        if (which % 7 === 0) {
          for (const { share } of retired) share.close();
          retired = [];
        }
        const sum =
          models.reduce((all, one) => all + Math.max(one.promised, one.share.windowBytes), 0) +
          retired.reduce((all, { held }) => all + held, 0);
        expect(budget.usedBytes).toBe(sum);
        expect(sum).toBeLessThanOrEqual(mostBytes);
        for (const { share } of models) expect(share.windowBytes).toBeGreaterThanOrEqual(100 * KiB);
      }
    }),
  );
});

test('whoever moves has at least half of what an equal division would give, whatever others do', () => {
  fc.assert(
    fc.property(
      fc.array(fc.boolean(), { minLength: 1, maxLength: 60 }),
      fc.integer({ min: 4 * MiB, max: 256 * MiB }),
      (moves, bytes) => {
        const budget = budgetOf(bytes);
        const shares = moves.map(() => budget.share(8 * MiB));
        const still = shares.filter((_, i) => moves[i] !== true);
        const moving = shares.filter((_, i) => moves[i] === true);
        use(still, 10);
        use(moving, 30);
        const room = Math.min(8 * MiB, bytes / 2 / shares.length);
        const levels = windowsOf(moving);
        for (const level of levels) expect(level).toBeGreaterThanOrEqual(Math.max(leastBytes, room / 2));
        if (moving.length > 0) expect(Math.max(...levels)).toBeLessThanOrEqual(2 * Math.min(...levels) + 1);
      },
    ),
  );
});
