import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import type { KeptLease, LeaseEntry, LeaseStore } from '../brokers/store.ts';
import { silentLogger } from '../lib/logger.ts';
import { type Failure, FailureError } from '../wire/reasons.ts';
import { leaseTimes } from './lease.ts';
import { Standby } from './standby.ts';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

/** A bucket with one key. */
class Bucket implements LeaseStore {
  kept: KeptLease | undefined;
  /** What every call fails with. */
  failure: Failure | undefined;
  #revision = 0;

  async lease(): Promise<KeptLease | undefined> {
    this.#check();
    return this.kept;
  }

  async saveLease(_: string, entry: LeaseEntry, revision: number) {
    this.#check();
    const anew = this.kept === undefined && revision !== 0;
    if (!anew && (this.kept?.revision ?? 0) !== revision) throw new FailureError('superseded', 'another was faster');
    this.kept = { entry, revision: ++this.#revision };
    return { revision: this.#revision, anew };
  }

  #check(): void {
    if (this.failure !== undefined) throw new FailureError(this.failure.reason, this.failure.detail);
  }
}

function daemon(node: string, store: Bucket) {
  const said: string[] = [];
  const made = {
    said,
    unreachable: undefined as Failure | undefined,
    /** Lets what ends take its time. */
    ended: Promise.resolve(),
    standby: undefined as unknown as Standby,
  };
  made.standby = new Standby({
    cluster: 'hub',
    self: { node },
    store,
    log: silentLogger,
    unreachable: () => made.unreachable,
    begin: (nth) => {
      said.push(`begin ${nth}`);
      return {
        end: async ({ reason }) => {
          said.push(`end ${reason}`);
          await made.ended;
        },
        close: async () => void said.push('closed'),
        keepAgain: () => void said.push('keep again'),
      };
    },
  });
  return made;
}

const pass = (ms: number) => vi.advanceTimersByTimeAsync(ms);

/** One is active and the other stands by. */
async function two() {
  const bucket = new Bucket();
  const [a, b] = [daemon('a', bucket), daemon('b', bucket)];
  a.standby.start();
  await pass(1);
  b.standby.start();
  await pass(60_000);
  expect([a.said, b.said]).toEqual([['begin 1'], []]);
  expect([a.standby.status().state, b.standby.status()]).toMatchObject(['active', { state: 'standby', holder: 'a' }]);
  return { bucket, a, b };
}

test('one begins at once and goes on, the other one stands by and says for whom', async () => {
  const { b } = await two();
  expect(b.standby.refusal).toEqual({ reason: 'standby', detail: 'b stands by for hub; a is the active one' });
});

test('of two that start together one begins', async () => {
  const bucket = new Bucket();
  const [a, b] = [daemon('a', bucket), daemon('b', bucket)];
  a.standby.start();
  b.standby.start();
  await pass(60_000);
  expect([...a.said, ...b.said]).toEqual(['begin 1']);
});

test('the lease that is given back is taken over at the next look', async () => {
  const { a, b } = await two();
  a.standby.close();
  await a.standby.release();
  await pass(leaseTimes.lookMs + 1);
  expect([a.said, b.said]).toEqual([['begin 1'], ['begin 1']]);
  expect(b.standby.status()).toMatchObject({ state: 'active', holder: 'b', takeoversTotal: 1 });
});

test('one that can no longer write ends before the other one begins, and is another daemon when its turn comes again', async () => {
  const { bucket, a, b } = await two();
  let open = (): void => undefined;
  a.ended = new Promise((resolve) => {
    open = resolve;
  });
  const save = bucket.saveLease.bind(bucket);
  const cut = vi.spyOn(bucket, 'saveLease').mockImplementation(async (cluster, entry, revision) => {
    if (entry.node === 'a') throw new FailureError('nats-unreachable', 'cut off');
    // The other one is through with it by then.
    expect(a.said).toEqual(['begin 1', 'end standby']);
    return save(cluster, entry, revision);
  });
  a.unreachable = { reason: 'nats-unreachable', detail: 'cut off' };
  await pass(leaseTimes.takeMs + 2 * leaseTimes.lookMs);
  expect(b.said).toEqual(['begin 1']);
  expect(a.standby.status()).toMatchObject({ state: 'standby', reason: 'nats-unreachable' });

  cut.mockRestore();
  a.unreachable = undefined;
  b.standby.close();
  await b.standby.release();
  await pass(2 * leaseTimes.lookMs);
  // What it did before has not ended yet.
  expect(a.said).toEqual(['begin 1', 'end standby']);
  open();
  await pass(leaseTimes.renewMs);
  expect(a.said).toEqual(['begin 1', 'end standby', 'closed', 'begin 2']);
});

test('a process that was frozen finds the lease gone when it wakes', async () => {
  const { bucket, a } = await two();
  bucket.kept = { entry: { node: 'b' }, revision: 1_000 };
  await pass(leaseTimes.renewMs + 1);
  expect(a.said).toEqual(['begin 1', 'end standby', 'closed']);
});

test('one that was frozen may not write any more before it has noticed anything', async () => {
  const { a } = await two();
  expect(a.standby.mayWrite()).toBe(true);
  // Time passes, and nothing of the process runs.
  const woken = vi.spyOn(performance, 'now').mockReturnValue(performance.now() + leaseTimes.holdMs);
  expect(a.standby.mayWrite()).toBe(false);
  expect(a.said).toEqual(['begin 1']);
  woken.mockRestore();
});

test('a bucket that was lost is written again by the one who has the lease, with all that it knows', async () => {
  const { bucket, a, b } = await two();
  bucket.kept = undefined;
  await pass(leaseTimes.takeMs * 2);
  expect([a.said, b.said]).toEqual([['begin 1', 'keep again'], []]);
});

test('servers that were away for both leave the lease where it was', async () => {
  const { bucket, a, b } = await two();
  const down: Failure = { reason: 'nats-unreachable', detail: 'down' };
  [bucket.failure, a.unreachable, b.unreachable] = [down, down, down];
  await pass(60_000);
  expect(a.said).toEqual(['begin 1', 'end standby', 'closed']);
  [bucket.failure, a.unreachable, b.unreachable] = [undefined, undefined, undefined];
  await pass(leaseTimes.takeMs);
  expect([a.said.at(-1), b.said]).toEqual(['begin 2', []]);
});

test('where no lease can be kept a daemon goes on alone and says so, until there is one', async () => {
  for (const [reason, afterMs] of [
    ['nats-permission', 1],
    ['jetstream-unavailable', leaseTimes.aloneMs + leaseTimes.lookMs],
  ] as const) {
    const bucket = new Bucket();
    bucket.failure = { reason, detail: 'no' };
    const [a, b] = [daemon('a', bucket), daemon('b', bucket)];
    a.standby.start();
    await pass(1);
    b.standby.start();
    await pass(afterMs);
    for (const one of [a, b]) expect(one.standby.status()).toMatchObject({ state: 'alone', reason, detail: 'no' });
    bucket.failure = undefined;
    await pass(leaseTimes.takeMs * 2);
    expect([a.said, b.said].toSorted()).toEqual([['begin 1'], ['begin 1', 'end standby', 'closed']]);
    const states = [a, b].map((one) => one.standby.status().state);
    expect(states.toSorted()).toEqual(['active', 'standby']);
  }
});

test('a daemon that has had a lease does not go on without one: others may see more than it does', async () => {
  const { bucket, a, b } = await two();
  for (const reason of ['sink-blocked', 'jetstream-unavailable', 'nats-unreachable'] as const) {
    bucket.failure = { reason, detail: 'no quorum' };
    await pass(5 * leaseTimes.aloneMs);
    for (const one of [a, b]) expect(one.standby.status()).toMatchObject({ state: 'standby', reason });
  }
});

test('one that stops begins nothing, and keeps the lease until it gives it back', async () => {
  const { a, b } = await two();
  b.standby.close();
  a.standby.close();
  await pass(60_000);
  expect(a.standby.status().state).toBe('active');
  await a.standby.release();
  await pass(60_000);
  expect([a.said, b.said]).toEqual([['begin 1'], []]);
});
