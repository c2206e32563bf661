import { JetStreamApiError } from '@nats-io/jetstream';
import type { KV, KvEntry } from '@nats-io/kv';
import { TimeoutError } from 'nats';
import type { Position } from '../../wire/position.ts';
import { FailureError } from '../../wire/reasons.ts';
import { placeGap } from '../ledger.ts';
import type { Acknowledgement, KeptGap, LedgerEntry, LedgerPlace, LedgerRead } from '../store.ts';
import { isBucketMissing, isChainBroken } from './errors.ts';

export const ledgerBucket = 'CAUSEWAY_GAPS';
/** So long a reading may take to begin, or stand still. */
const readMs = 10_000;

/** Works in the bucket. Without `replicas` it is not made if it is missing. */
type Within = <T>(replicas: number | undefined, work: (kv: KV) => Promise<T>) => Promise<T>;

/** The ledger of gaps in the bucket CAUSEWAY_GAPS; the key says lane and range, the value everything. */
export class GapLedger {
  readonly #within: Within;

  constructor(within: Within) {
    this.#within = within;
  }

  async record(gap: LedgerEntry, replicas: number): Promise<boolean> {
    return this.#within(replicas, (kv) => record(kv, gap));
  }

  async acknowledge(gap: KeptGap, acknowledged: Acknowledgement): Promise<void> {
    const { key, revision, ...entry } = gap;
    await this.#within(undefined, (kv) =>
      compareAndSet(key, () => kv.update(key, JSON.stringify({ ...entry, acknowledged }), revision)),
    );
  }

  async read(since: LedgerPlace | undefined): Promise<LedgerRead> {
    try {
      return await this.#within(undefined, (kv) => read(kv, since));
    } catch (error) {
      if (!(error instanceof FailureError && isBucketMissing(error.cause))) throw error;
      return { place: { created: '', revision: 0 }, whole: true, gaps: [], removed: [] };
    }
  }
}

async function record(kv: KV, gap: LedgerEntry): Promise<boolean> {
  // Servers before 2.10 answer this for a bucket that is gone, and nothing else.
  await kv.status();
  const own = await kv.get(keyOf(gap));
  if (own?.operation === 'PUT') return own.json<LedgerEntry>().acknowledged !== undefined;
  const known: KeptGap[] = [];
  for await (const key of await kv.keys(`${prefixOf(gap)}.>`)) {
    const entry = await kv.get(key);
    if (entry?.operation === 'PUT') known.push(keptGap(entry));
  }
  const { enter, replace, rest, acknowledged } = placeGap(gap, known);
  if (rest !== undefined) return record(kv, rest);
  // Written first: a crash in between leaves one entry too many, and none too few.
  if (enter !== undefined) await compareAndSet(gap.lane, () => kv.create(keyOf(enter), JSON.stringify(enter)));
  for (const { key, revision } of replace) await compareAndSet(key, () => kv.delete(key, { previousSeq: revision }));
  return acknowledged;
}

async function read(kv: KV, since: LedgerPlace | undefined): Promise<LedgerRead> {
  const { streamInfo } = await kv.status();
  const { created, state } = streamInfo;
  const goesOn = since !== undefined && since.created === created && since.revision <= state.last_seq;
  const place = { created, revision: state.last_seq };
  const from = goesOn ? since.revision : 0;
  const gaps: KeptGap[] = [];
  const removed: string[] = [];
  if (state.messages > 0 && state.last_seq > from) {
    for await (const entry of entriesBehind(kv, from)) {
      if (entry.operation === 'PUT') gaps.push(keptGap(entry));
      else removed.push(entry.key);
    }
  }
  return { place, whole: !goesOn, gaps, removed };
}

/** What the bucket holds behind a revision, up to the last one there is now; each key once, as it is now. */
async function* entriesBehind(kv: KV, revision: number): AsyncGenerator<KvEntry> {
  const entries = await kv.watch({ resumeFromRevision: revision + 1 });
  let silent = false;
  const giveUp = (): void => {
    silent = true;
    entries.stop();
  };
  let timer = setTimeout(giveUp, readMs);
  try {
    for await (const entry of entries) {
      clearTimeout(timer);
      yield entry;
      if ((entry.delta ?? 0) === 0) return;
      timer = setTimeout(giveUp, readMs);
    }
    // Ended by us, or by a connection that was lost: what was read is not everything.
    throw silent ? new TimeoutError() : new FailureError('nats-unreachable', 'the reading of the ledger broke off');
  } finally {
    clearTimeout(timer);
    entries.stop();
  }
}

function keptGap(entry: KvEntry): KeptGap {
  return { ...entry.json<LedgerEntry>(), key: entry.key, revision: entry.revision };
}

function prefixOf({ lane, after }: { readonly lane: string; readonly after: Position }): string {
  return `${lane}.${after.incarnation}.${after.sequence}`;
}

function keyOf(gap: LedgerEntry): string {
  return `${prefixOf(gap)}.${gap.upTo.incarnation}.${gap.upTo.sequence}`;
}

async function compareAndSet(what: string, write: () => Promise<unknown>): Promise<void> {
  try {
    await write();
  } catch (error) {
    if (error instanceof JetStreamApiError && isChainBroken(error.code))
      throw new FailureError('superseded', `somebody else changed the ledger entry of ${what}`, { cause: error });
    throw error;
  }
}
