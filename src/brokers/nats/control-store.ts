import { JetStreamApiError, jetstream } from '@nats-io/jetstream';
import { type KV, Kvm } from '@nats-io/kv';
import type { NatsConnection } from 'nats';
import { type Position, type Witness, type WitnessJson, witnessFromJson, witnessToJson } from '../../wire/position.ts';
import { FailureError, type Reason } from '../../wire/reasons.ts';
import type { NatsLink } from './connection.ts';
import { natsFailure } from './errors.ts';

/** Proof of a lane's progress, kept beside the sink. The write is a compare-and-set, and so fences older writers (I9). */
export interface Checkpoint {
  readonly lane: string;
  readonly cursor: Position | undefined;
  /** Sink sequence behind which a scan finds everything of the lane that `cursor` does not say. */
  readonly sinkSequence: number;
  /** Sink sequence of the newest witness's record, if there is one. */
  readonly witnessSink: number;
  /** Newest first. */
  readonly witnesses: readonly Witness[];
}

/** Positions of a lane that will never arrive, as the ledger keeps them. */
export interface LedgerEntry {
  readonly lane: string;
  readonly after: Position;
  readonly upTo: Position;
  readonly reason: Reason;
  readonly at: string;
}

interface CheckpointJson {
  readonly v: 1;
  readonly lane: string;
  readonly cursor?: Position;
  readonly sinkSequence: number;
  readonly witnessSink: number;
  readonly witnesses: readonly WitnessJson[];
}

const bucket = 'CAUSEWAY';
const ledgerBucket = 'CAUSEWAY_GAPS';

/**
 * What a daemon keeps in its own cluster (I8): checkpoints and learned links in the bucket CAUSEWAY, the ledger of gaps in
 * CAUSEWAY_GAPS. Both are made when they are first needed, with `replicas` copies, and may be made beforehand. Every method throws FailureError.
 */
export class ControlStore {
  readonly #link: NatsLink;
  #opened: { readonly connection: NatsConnection; readonly buckets: Map<string, Promise<KV>> } | undefined;

  constructor(link: NatsLink) {
    this.#link = link;
  }

  /** The checkpoint of a lane into a sink stream, and its revision; undefined if there is none. */
  async checkpoint(
    stream: string,
    lane: string,
    replicas: number,
  ): Promise<{ checkpoint: Checkpoint; revision: number } | undefined> {
    return this.#guard(async () => {
      const kv = await this.#open(bucket, replicas);
      const entry = await kv.get(checkpointKey(stream, lane));
      if (entry === null || entry.operation !== 'PUT') return undefined;
      return { checkpoint: parseCheckpoint(entry.json()), revision: entry.revision };
    });
  }

  /** Every checkpoint of lanes into a sink stream. */
  async checkpoints(stream: string, replicas: number): Promise<Checkpoint[]> {
    return this.#guard(async () => {
      const kv = await this.#open(bucket, replicas);
      const found: Checkpoint[] = [];
      for await (const key of await kv.keys(`checkpoint.${safe(stream)}.>`)) {
        const entry = await kv.get(key);
        if (entry !== null && entry.operation === 'PUT') found.push(parseCheckpoint(entry.json()));
      }
      return found;
    });
  }

  /** Writes a checkpoint over the given revision (0: there is none) and returns the new one; `superseded` if another was faster. */
  async saveCheckpoint(stream: string, checkpoint: Checkpoint, revision: number, replicas: number): Promise<number> {
    const json: CheckpointJson = { v: 1, ...checkpoint, witnesses: checkpoint.witnesses.map(witnessToJson) };
    return this.#guard(async () => {
      const kv = await this.#open(bucket, replicas);
      try {
        const key = checkpointKey(stream, checkpoint.lane);
        const text = JSON.stringify(json);
        return revision === 0 ? await kv.create(key, text) : await kv.update(key, text, revision);
      } catch (error) {
        if (error instanceof JetStreamApiError && error.code === 10071)
          throw new FailureError('superseded', `another daemon writes lane ${checkpoint.lane}`, { cause: error });
        throw error;
      }
    });
  }

  /** Enters a gap into the ledger; the same gap twice is one entry. */
  async recordGap(entry: LedgerEntry, replicas: number): Promise<void> {
    return this.#guard(async () => {
      const kv = await this.#open(ledgerBucket, replicas);
      const { after, upTo } = entry;
      await kv.put(
        `${entry.lane}.${after.incarnation}.${after.sequence}.${upTo.incarnation}.${upTo.sequence}`,
        JSON.stringify(entry),
      );
    });
  }

  /** The last declaration of a peer, as it was accepted; undefined if there is none. */
  async learned(): Promise<Map<string, readonly string[]>> {
    return this.#guard(async () => {
      const kv = await this.#open(bucket, 1);
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
    return this.#guard(async () => {
      const kv = await this.#open(bucket, 1);
      await kv.put(`learned.${peer}`, JSON.stringify({ v: 1, links }));
    });
  }

  #open(name: string, replicas: number): Promise<KV> {
    const connection = this.#link.require();
    if (this.#opened?.connection !== connection) this.#opened = { connection, buckets: new Map() };
    const { buckets } = this.#opened;
    let opening = buckets.get(name);
    if (opening === undefined) {
      opening = this.#create(connection, name, replicas);
      buckets.set(name, opening);
      opening.catch(() => buckets.delete(name));
    }
    return opening;
  }

  async #create(connection: NatsConnection, name: string, replicas: number): Promise<KV> {
    const { domain } = this.#link;
    const kvm = new Kvm(jetstream(connection, domain === undefined ? {} : { domain }));
    const existing = await kvm.open(name);
    try {
      await existing.status();
      return existing;
    } catch (error) {
      if (!(error instanceof JetStreamApiError) || error.code !== 10059) throw error;
    }
    return kvm.create(name, { history: 1, replicas });
  }

  async #guard<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      const failure = natsFailure(error, 'sink-missing');
      throw new FailureError(failure.reason, failure.detail, { cause: error });
    }
  }
}

function checkpointKey(stream: string, lane: string): string {
  return `checkpoint.${safe(stream)}.${lane}`;
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
  const { lane, cursor, sinkSequence, witnessSink, witnesses } = json;
  return { lane, cursor, sinkSequence, witnessSink, witnesses: witnesses.map(witnessFromJson) };
}
