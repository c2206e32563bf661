/** In place of a ControlStore: the same questions and answers over the same connection, with the entries in the simulated cluster. */
import type {
  Checkpoint,
  KeptCheckpoint,
  KeptIntent,
  LedgerEntry,
  OriginsHead,
  QuarantinedRecord,
  SinkStore,
  StoredOrigins,
} from '../../src/brokers/store.ts';
import { decodeGroup, encodeGroup, type IntentGroup } from '../../src/dedupe/intent-group.ts';
import { type SpacesJson, spacesFromJson, spacesToJson } from '../../src/dedupe/origin-snapshot.ts';
import { type WitnessJson, witnessFromJson, witnessToJson } from '../../src/wire/position.ts';
import { FailureError } from '../../src/wire/reasons.ts';
import type { Seed } from '../support/seed.ts';
import type { VirtualClock } from './clock.ts';
import type { SimBroker } from './sim-broker.ts';
import type { SimLink } from './sim-link.ts';

/** The client waits no longer for an answer, in ms. */
const timeoutMs = 5000;

interface CheckpointJson extends Omit<Checkpoint, 'witnesses' | 'seen'> {
  readonly witnesses: readonly WitnessJson[];
  readonly seen?: WitnessJson;
}

/** How well the KV buckets of a cluster do at the moment. */
export interface StoreHealth {
  slow: boolean;
  failing: boolean;
}

export class SimStore implements SinkStore {
  readonly #clock: VirtualClock;
  readonly #random: Seed;
  readonly #broker: SimBroker;
  readonly #link: SimLink;
  readonly #health: StoreHealth;

  constructor(options: {
    readonly clock: VirtualClock;
    readonly random: Seed;
    readonly broker: SimBroker;
    readonly link: SimLink;
    readonly health: StoreHealth;
  }) {
    this.#clock = options.clock;
    this.#random = options.random;
    this.#broker = options.broker;
    this.#link = options.link;
    this.#health = options.health;
  }

  checkpoint(stream: string, lane: string): Promise<{ checkpoint: Checkpoint; revision: number } | undefined> {
    return this.#call(() => {
      const entry = this.#broker.kv.get(key(stream, lane));
      return entry && { checkpoint: parse(entry.value), revision: entry.revision };
    });
  }

  checkpoints(stream: string): Promise<KeptCheckpoint[]> {
    return this.#call(() =>
      [...this.#broker.kv]
        .filter(([name]) => name.startsWith(`checkpoint ${stream} `))
        .map(([, { value, revision }]) => ({ ...parse(value), revision })),
    );
  }

  saveCheckpoint(stream: string, checkpoint: Checkpoint, revision: number): Promise<number> {
    const { seen, witnesses, ...rest } = checkpoint;
    const json: CheckpointJson = {
      ...rest,
      witnesses: witnesses.map(witnessToJson),
      ...(seen === undefined ? {} : { seen: witnessToJson(seen) }),
    };
    return this.#call(() => this.#put(key(stream, checkpoint.lane), JSON.stringify(json), revision));
  }

  deleteCheckpoint(stream: string, lane: string, revision: number): Promise<void> {
    return this.#call(() => {
      this.#put(key(stream, lane), '', revision);
      this.#broker.kv.delete(key(stream, lane));
    });
  }

  origins(stream: string): ReturnType<SinkStore['origins']> {
    return this.#call(() => {
      const entry = this.#broker.kv.get(`origins ${stream}`);
      const head = { revision: entry?.revision ?? 0, slot: undefined, parts: 0 };
      if (entry === undefined) return { head, origins: undefined, fault: undefined };
      const { spaces, ...rest } = JSON.parse(entry.value) as Omit<StoredOrigins, 'spaces'> & { spaces: SpacesJson };
      return { head, origins: { ...rest, spaces: spacesFromJson(spaces)! }, fault: undefined };
    });
  }

  saveOrigins(stream: string, origins: StoredOrigins, head: OriginsHead): ReturnType<SinkStore['saveOrigins']> {
    const text = JSON.stringify({ ...origins, spaces: spacesToJson(origins.spaces) });
    return this.#call(() => {
      const revision = this.#put(`origins ${stream}`, text, head.revision);
      return { head: { revision, slot: undefined, parts: 0 }, bytes: text.length, workMs: 0 };
    });
  }

  intents(stream: string): Promise<KeptIntent[]> {
    const prefix = `intents ${stream} `;
    return this.#call(() =>
      [...this.#broker.kv]
        .filter(([name]) => name.startsWith(prefix))
        .map(([name, { value, revision }]) => ({
          slot: Number(name.slice(prefix.length)),
          revision,
          group: decodeGroup(Buffer.from(value, 'base64')),
        })),
    );
  }

  saveIntent(stream: string, slot: number, group: IntentGroup, revision: number): Promise<number> {
    const value = encodeGroup(group).toString('base64');
    return this.#call(() => this.#put(`intents ${stream} ${slot}`, value, revision));
  }

  recordGap(entry: LedgerEntry): Promise<boolean> {
    const { lane, after, upTo } = entry;
    return this.#call(() => {
      const name = `${lane}.${after.incarnation}.${after.sequence}.${upTo.incarnation}.${upTo.sequence}`;
      this.#broker.ledger.set(name, JSON.stringify(entry));
      return false;
    });
  }

  quarantine(record: QuarantinedRecord): Promise<void> {
    const { lane, stream, position } = record;
    return this.#call(() => {
      const name = `${stream} ${lane} ${position.incarnation}.${position.sequence}`;
      if (!this.#broker.quarantine.has(name)) this.#broker.quarantine.set(name, record);
    });
  }

  #put(name: string, value: string, revision: number): number {
    const broker = this.#broker;
    const known = broker.kv.get(name)?.revision ?? 0;
    if (known !== revision) throw new FailureError('superseded', `another daemon writes ${name}`);
    broker.kv.set(name, { value, revision: ++broker.kvRevision });
    return broker.kvRevision;
  }

  /** A question goes out, may be acted on, and is answered or not. */
  #call<T>(work: () => T): Promise<T> {
    const { line } = this.#link;
    return new Promise<T>((resolve, reject) => {
      const owner = this.#clock.current;
      this.#link.require();
      const slow = this.#health.slow ? this.#random.between(100, 4000) : 0;
      const oneWay = (): number => slow / 2 + 0.2 + this.#random.next() * 4;
      const timer = this.#clock.after(timeoutMs, owner, () =>
        reject(new FailureError('nats-unreachable', 'the server does not answer')),
      );
      const answer = (tell: () => void): void => {
        this.#clock.after(oneWay(), owner, () => {
          if (line?.clientGone === true || line?.frozen === true) return;
          this.#clock.cancel(timer);
          tell();
        });
      };
      this.#clock.after(oneWay(), undefined, () => {
        if (
          !this.#broker.up ||
          line?.serverGone === true ||
          line?.frozen === true ||
          this.#broker.answering === 'silent'
        )
          return;
        if (this.#health.failing && this.#random.next() < 0.5) {
          answer(() => reject(new FailureError('sink-blocked', 'no quorum')));
          return;
        }
        try {
          const result = work();
          answer(() => resolve(result));
        } catch (error) {
          answer(() => reject(error as Error));
        }
      });
    });
  }
}

function key(stream: string, lane: string): string {
  return `checkpoint ${stream} ${lane}`;
}

function parse(value: string): Checkpoint {
  const { witnesses, seen, ...rest } = JSON.parse(value) as CheckpointJson;
  return {
    ...rest,
    cursor: rest.cursor,
    witnesses: witnesses.map(witnessFromJson),
    ...(seen === undefined ? {} : { seen: witnessFromJson(seen) }),
  };
}
