import { JetStreamApiError, jetstream } from '@nats-io/jetstream';
import { type KV, Kvm } from '@nats-io/kv';
import { type NatsConnection, NoRespondersError, TimeoutError } from 'nats';
import { encodeGroup, type IntentGroup } from '../../dedupe/intent-group.ts';
import type { OriginMark } from '../../dedupe/origin-snapshot.ts';
import { type Position, type WitnessJson, witnessFromJson, witnessToJson } from '../../wire/position.ts';
import { FailureError } from '../../wire/reasons.ts';
import type {
  Acknowledgement,
  Checkpoint,
  KeptCheckpoint,
  KeptGap,
  KeptIntent,
  KeptLease,
  LaneConsumer,
  LeaseEntry,
  LeaseStore,
  LedgerEntry,
  LedgerPlace,
  LedgerRead,
  LoadedOrigins,
  OriginsHead,
  QuarantinedRecord,
  RosterEntry,
  SavedOrigins,
  Store,
  StoredOrigins,
} from '../store.ts';
import type { NatsLink } from './connection.ts';
import { isBucketMissing, isChainBroken, natsFailure } from './errors.ts';
import { GapLedger, ledgerBucket } from './gap-ledger.ts';
import { loadIntents } from './intent-entries.ts';
import { loadOrigins, saveOrigins } from './origins-entry.ts';
import { Quarantine } from './quarantine.ts';

interface CheckpointJson {
  readonly v: 1;
  readonly lane: string;
  readonly cursor?: Position;
  readonly seen?: WitnessJson;
  readonly sinkSequence: number;
  readonly witnessSink: number;
  readonly witnesses: readonly WitnessJson[];
  readonly mark?: OriginMark;
  readonly began?: Position;
}

const bucket = 'CAUSEWAY';
/** Values of the bucket are no longer than this; more goes into several. */
const maxPartBytes = 256 * 1024;

/**
 * What a daemon keeps in its own cluster (I8): checkpoints and learned links in the bucket CAUSEWAY, the ledger of gaps in
 * CAUSEWAY_GAPS. Both are made when they are first needed, with `replicas` copies, and may be made beforehand.
 */
export class ControlStore implements Store, LeaseStore {
  readonly #link: NatsLink;
  readonly #made: () => void;
  readonly #ledger: GapLedger;
  readonly #timeoutMs: number;
  readonly quarantined: Quarantine;
  #opened: { readonly connection: NatsConnection; readonly buckets: Map<string, Promise<KV>> } | undefined;

  /**
   * `made`: CAUSEWAY was not there, and has been made. What is known is to be written again, for it may have been lost. `timeoutMs`: how
   * long an answer may take.
   */
  constructor(link: NatsLink, made: () => void = () => undefined, timeoutMs = 5000) {
    this.#link = link;
    this.#made = made;
    this.#ledger = new GapLedger((replicas, work) => this.#in(ledgerBucket, replicas, work));
    this.#timeoutMs = timeoutMs;
    this.quarantined = new Quarantine(link);
  }

  async checkpoint(
    stream: string,
    lane: string,
    replicas: number,
  ): Promise<{ checkpoint: Checkpoint; revision: number } | undefined> {
    return this.#in(bucket, replicas, async (kv) => {
      const entry = await kv.get(checkpointKey(stream, lane));
      if (entry === null || entry.operation !== 'PUT') return undefined;
      return { checkpoint: parseCheckpoint(entry.json()), revision: entry.revision };
    });
  }

  async checkpoints(stream: string, replicas: number): Promise<KeptCheckpoint[]> {
    return this.#in(bucket, replicas, async (kv) => {
      const found: KeptCheckpoint[] = [];
      for await (const key of await kv.keys(`checkpoint.${safe(stream)}.>`)) {
        const entry = await kv.get(key);
        if (entry !== null && entry.operation === 'PUT')
          found.push({ ...parseCheckpoint(entry.json()), revision: entry.revision });
      }
      return found;
    });
  }

  async origins(stream: string, replicas: number): Promise<LoadedOrigins> {
    return this.#in(bucket, replicas, (kv) => loadOrigins(kv, `origins.${safe(stream)}`));
  }

  async saveOrigins(
    stream: string,
    origins: StoredOrigins,
    head: OriginsHead,
    replicas: number,
  ): Promise<SavedOrigins> {
    return this.#in(bucket, replicas, async (kv) => {
      const max = this.#link.require().info?.max_payload ?? maxPartBytes;
      const key = `origins.${safe(stream)}`;
      const partBytes = Math.min(maxPartBytes, max / 2);
      return overwrite(
        kv,
        key,
        (known) => saveOrigins(kv, key, origins, known ? head : { revision: 0, slot: undefined, parts: 0 }, partBytes),
        `another daemon keeps the origins of ${stream}`,
      );
    });
  }

  async intents(stream: string, replicas: number): Promise<KeptIntent[]> {
    return this.#in(bucket, replicas, (kv) => loadIntents(kv, intentKey(stream, '')));
  }

  async saveIntent(
    stream: string,
    slot: number,
    group: IntentGroup,
    revision: number,
    replicas: number,
  ): Promise<number> {
    return this.#in(bucket, replicas, async (kv) => {
      const [key, value] = [intentKey(stream, slot), encodeGroup(group)];
      return overwrite(
        kv,
        key,
        (known) => (revision === 0 || !known ? kv.create(key, value) : kv.update(key, value, revision)),
        `another daemon writes stream ${stream}`,
      );
    });
  }

  async saveCheckpoint(stream: string, checkpoint: Checkpoint, revision: number, replicas: number): Promise<number> {
    const { seen, ...rest } = checkpoint;
    const json: CheckpointJson = {
      v: 1,
      ...rest,
      ...(seen === undefined ? {} : { seen: witnessToJson(seen) }),
      witnesses: checkpoint.witnesses.map(witnessToJson),
    };
    return this.#in(bucket, replicas, async (kv) => {
      const key = checkpointKey(stream, checkpoint.lane);
      const text = JSON.stringify(json);
      return overwrite(
        kv,
        key,
        (known) => (revision === 0 || !known ? kv.create(key, text) : kv.update(key, text, revision)),
        `another daemon writes lane ${checkpoint.lane}`,
      );
    });
  }

  async deleteCheckpoint(stream: string, lane: string, revision: number, replicas: number): Promise<void> {
    return this.#in(bucket, replicas, async (kv) => {
      try {
        await kv.delete(checkpointKey(stream, lane), { previousSeq: revision });
      } catch (error) {
        if (error instanceof JetStreamApiError && isChainBroken(error.code))
          throw new FailureError('superseded', `another daemon writes lane ${lane}`, { cause: error });
        throw error;
      }
    });
  }

  recordGap(entry: LedgerEntry, replicas: number): Promise<boolean> {
    return this.#ledger.record(entry, replicas);
  }

  gaps(since?: LedgerPlace): Promise<LedgerRead> {
    return this.#ledger.read(since);
  }

  acknowledgeGap(gap: KeptGap, acknowledgement: Acknowledgement): Promise<void> {
    return this.#ledger.acknowledge(gap, acknowledgement);
  }

  quarantine(record: QuarantinedRecord, replicas: number): Promise<void> {
    return this.quarantined.put(record, replicas);
  }

  async lease(cluster: string): Promise<KeptLease | undefined> {
    return this.#in(bucket, 1, async (kv) => {
      const entry = await kv.get(`lease.${cluster}`);
      if (entry === null || entry.operation !== 'PUT') return undefined;
      return { entry: entry.json<LeaseEntry>(), revision: entry.revision };
    });
  }

  async saveLease(
    cluster: string,
    entry: LeaseEntry,
    revision: number,
  ): Promise<{ readonly revision: number; readonly anew: boolean }> {
    return this.#in(bucket, 1, async (kv) => {
      const key = `lease.${cluster}`;
      const text = JSON.stringify({ v: 1, ...entry });
      return overwrite(
        kv,
        key,
        async (known) =>
          revision === 0 || !known
            ? { revision: await kv.create(key, text), anew: revision !== 0 }
            : { revision: await kv.update(key, text, revision), anew: false },
        `another daemon of ${cluster} has the lease`,
      );
    });
  }

  async learned(): Promise<Map<string, readonly string[]>> {
    return this.#in(bucket, 1, async (kv) => {
      const found = new Map<string, readonly string[]>();
      for await (const key of await kv.keys('learned.>')) {
        const entry = await kv.get(key);
        if (entry !== null && entry.operation === 'PUT')
          found.set(key.slice('learned.'.length), entry.json<{ links: string[] }>().links);
      }
      return found;
    });
  }

  async saveLearned(peer: string, links: readonly string[]): Promise<void> {
    return this.#in(bucket, 1, async (kv) => {
      await kv.put(`learned.${peer}`, JSON.stringify({ v: 1, links }));
    });
  }

  async forgetLearned(peer: string): Promise<void> {
    return this.#in(bucket, 1, async (kv) => {
      await kv.delete(`learned.${peer}`);
    });
  }

  async consumers(): Promise<LaneConsumer[]> {
    return this.#in(bucket, 1, async (kv) => {
      const found: LaneConsumer[] = [];
      for await (const key of await kv.keys('consumer.>')) {
        const entry = await kv.get(key);
        if (entry !== null && entry.operation === 'PUT') found.push(entry.json<LaneConsumer>());
      }
      return found;
    });
  }

  async saveConsumer(consumer: LaneConsumer): Promise<void> {
    return this.#in(bucket, 1, async (kv) => {
      await kv.put(consumerKey(consumer), JSON.stringify({ v: 1, ...consumer }));
    });
  }

  async forgetConsumer(consumer: LaneConsumer): Promise<void> {
    return this.#in(bucket, 1, async (kv) => {
      await kv.delete(consumerKey(consumer));
    });
  }

  async roster(): Promise<RosterEntry[]> {
    return this.#in(bucket, 1, async (kv) => {
      const found: RosterEntry[] = [];
      for await (const key of await kv.keys('roster.>')) {
        const entry = await kv.get(key);
        if (entry !== null && entry.operation === 'PUT') found.push(entry.json<RosterEntry>());
      }
      return found;
    });
  }

  async saveRoster(entry: RosterEntry): Promise<void> {
    return this.#in(bucket, 1, async (kv) => {
      await kv.put(`roster.${entry.cluster}`, JSON.stringify({ v: 1, ...entry }));
    });
  }

  /** Works in a bucket. One that is gone, deleted or lost with its server's disk, is made again; not without `replicas`. */
  async #in<T>(name: string, replicas: number | undefined, work: (kv: KV) => Promise<T>): Promise<T> {
    try {
      const connection = this.#link.require();
      if (this.#opened?.connection !== connection) this.#opened = { connection, buckets: new Map() };
      const { buckets } = this.#opened;
      const forget = (opened: Promise<KV>): void => {
        if (buckets.get(name) === opened) buckets.delete(name);
      };
      const open = (): Promise<KV> => {
        const known = buckets.get(name);
        if (known !== undefined) return known;
        const opening = this.#create(connection, name, replicas);
        buckets.set(name, opening);
        opening.catch(() => forget(opening));
        return opening;
      };
      const opened = open();
      try {
        return await work(await opened);
      } catch (error) {
        const isGone = mayBeGone(error);
        // Servers before 2.10 do not answer for a bucket that is gone. What became of the call is not known: it is for the caller to repeat.
        if (isGone || error instanceof TimeoutError) forget(opened);
        if (!isGone) throw error;
        return await work(await open());
      }
    } catch (error) {
      const failure = natsFailure(error, 'sink-missing');
      throw new FailureError(failure.reason, failure.detail, { cause: error });
    }
  }

  async #create(connection: NatsConnection, name: string, replicas: number | undefined): Promise<KV> {
    const { domain } = this.#link;
    const options = { timeout: this.#timeoutMs, ...(domain === undefined ? {} : { domain }) };
    const kvm = new Kvm(jetstream(connection, options));
    const existing = await kvm.open(name);
    try {
      await existing.status();
      return existing;
    } catch (error) {
      if (replicas === undefined || !isBucketMissing(error)) throw error;
    }
    const made = await kvm.create(name, { history: 1, replicas });
    if (name === bucket) this.#made();
    return made;
  }
}

/** The bucket is not there, or nobody answers for it: an opened one is not worth anything any more. */
function mayBeGone(error: unknown): boolean {
  if (error instanceof JetStreamApiError) return isBucketMissing(error);
  for (let one = error; one instanceof Error; one = one.cause) if (one instanceof NoRespondersError) return true;
  return false;
}

/**
 * Writes over what is `known` of an entry. One that is not there at all, not even as deleted, was lost with its bucket: nobody has
 * written it since, and it is made anew. Throws FailureError `superseded` with `detail` if somebody else wrote it.
 */
async function overwrite<T>(kv: KV, key: string, write: (known: boolean) => Promise<T>, detail: string): Promise<T> {
  const isSuperseded = (error: unknown): boolean => error instanceof JetStreamApiError && isChainBroken(error.code);
  try {
    return await write(true).catch(async (error: unknown) => {
      if (!isSuperseded(error) || (await kv.get(key)) !== null) throw error;
      return write(false);
    });
  } catch (error) {
    if (isSuperseded(error)) throw new FailureError('superseded', detail, { cause: error });
    throw error;
  }
}

function intentKey(stream: string, slot: number | ''): string {
  return `intents.${safe(stream)}.${slot}`;
}

function checkpointKey(stream: string, lane: string): string {
  return `checkpoint.${safe(stream)}.${lane}`;
}

function consumerKey({ stream, lane }: LaneConsumer): string {
  return `consumer.${safe(stream)}.${lane}`;
}

/** A stream name with what a KV key may not hold written as hex. */
function safe(name: string): string {
  return name.replace(/[^\w-]/g, (char) => `=${char.codePointAt(0)!.toString(16)}`);
}

function parseCheckpoint(json: CheckpointJson): Checkpoint {
  if (json.v !== 1)
    throw new FailureError(
      'checkpoint-lost',
      `checkpoint of ${json.lane} has version ${json.v}, which this build does not know`,
    );
  const { witnesses, began, mark, seen } = json;
  const { lane, cursor, sinkSequence, witnessSink } = json;
  const known = { lane, cursor, sinkSequence, witnessSink, witnesses: witnesses.map(witnessFromJson) };
  return {
    ...known,
    ...(seen === undefined ? {} : { seen: witnessFromJson(seen) }),
    ...(began === undefined ? {} : { began }),
    ...(mark === undefined ? {} : { mark }),
  };
}
