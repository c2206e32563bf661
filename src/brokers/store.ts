import type { IntentGroup } from '../dedupe/intent-group.ts';
import type { OriginMark, OriginSnapshot } from '../dedupe/origin-snapshot.ts';
import type { Position, Witness } from '../wire/position.ts';
import type { Reason } from '../wire/reasons.ts';

/** Proof of a lane's progress, kept beside the sink. The write is a compare-and-set, and so fences older writers (I9). */
export interface Checkpoint {
  readonly lane: string;
  readonly cursor: Position | undefined;
  /** Of the source's record at `cursor`, where that one passed without being stored. */
  readonly seen?: Witness;
  /** Sink sequence behind which a scan finds everything of the lane that `cursor` does not say. */
  readonly sinkSequence: number;
  /** Sink sequence of the newest witness's record, if there is one. */
  readonly witnessSink: number;
  /** Of stored records, newest first. */
  readonly witnesses: readonly Witness[];
  /** The newest record of any lane that the sink held when this was written: if another stands there, the sink lost what this speaks of. */
  readonly mark?: OriginMark;
  /** Behind this the lane began, where only what was new then was wanted. */
  readonly began?: Position;
}

/** A checkpoint as it was read: what is written over it names this revision. */
export type KeptCheckpoint = Checkpoint & { readonly revision: number };

/** Positions of a lane that will never arrive, as the ledger keeps them. */
export interface LedgerEntry {
  readonly lane: string;
  readonly after: Position;
  readonly upTo: Position;
  readonly reason: Reason;
  /** When it was found, ISO 8601. */
  readonly at: string;
  /** Present once somebody took notice of it. */
  readonly acknowledged?: Acknowledgement;
}

/** That somebody knows of a gap, and what it means for him. */
export interface Acknowledgement {
  /** ISO 8601. */
  readonly at: string;
  /** As the caller named himself. */
  readonly by: string;
  readonly note?: string;
}

/** A gap as it was read: what is written over it names this revision. */
export type KeptGap = LedgerEntry & { readonly key: string; readonly revision: number };

/** What became of a ledger since it was last read, or the whole of it. */
export interface LedgerRead {
  /** Names the ledger, and how far it was read. */
  readonly place: LedgerPlace;
  /** Everything it holds is in `gaps`: what was known of it before is over. */
  readonly whole: boolean;
  /** New or changed, in the order in which that happened. */
  readonly gaps: readonly KeptGap[];
  /** Keys of those that were taken out. */
  readonly removed: readonly string[];
}

export interface LedgerPlace {
  /** When it was made; empty where there is none. */
  readonly created: string;
  readonly revision: number;
}

/** What is kept of a record that a sink refuses for good, besides the record. */
export interface QuarantineEntry {
  readonly lane: string;
  /** The sink stream. */
  readonly stream: string;
  readonly position: Position;
  /** When the lane's source stored it. */
  readonly seconds: number;
  readonly nanos: number;
  /** Under which it came, and under which it was to be stored; absent if the mapping yields none. */
  readonly subject: string;
  readonly target?: string;
  /** Where it was first seen, and the way from there, as in `Causeway-Origin` and `Causeway-Path`. */
  readonly origin: string;
  readonly path?: string;
  readonly reason: Reason;
  readonly detail: string;
  /** When it was set aside. */
  readonly at: string;
  readonly headerBytes: number;
  readonly payloadBytes: number;
}

export interface QuarantinedRecord extends QuarantineEntry {
  /** Its header block as it travelled; empty if it had none. */
  readonly headers: Buffer;
  readonly payload: Buffer;
}

/** An entry as it was read. */
export interface KeptRecord extends QuarantineEntry {
  /** Of its head: what is written over it, or taken away, is this. */
  readonly revision: number;
  readonly parts: number;
  /** Sink sequence at which it was last to be stored by `retry`, whatever came of it. */
  readonly triedAt?: number;
}

/** The quarantine of a cluster, for those who look after it. Every method throws FailureError. */
export interface QuarantineStore {
  /** Every entry, oldest first; empty where there is no quarantine. */
  list(): Promise<readonly KeptRecord[]>;
  /** The record of an entry, as it travelled; undefined if it is gone. */
  record(entry: KeptRecord): Promise<QuarantinedRecord | undefined>;
  /** Takes an entry away for good. */
  drop(entry: KeptRecord): Promise<void>;
  /**
   * Appends a record to its sink stream again, marked and behind everything that is there, takes its entry away, and returns its sequence
   * there. However often it is called, and whatever breaks in between, the record is stored once.
   */
  retry(entry: KeptRecord): Promise<number>;
}

/** A member of a group that called once. */
export interface RosterEntry {
  readonly cluster: string;
  readonly group: string;
  /** Unix ms. */
  readonly firstSeenMs: number;
  readonly lastSeenMs: number;
  /** Instance of its daemon at that time. */
  readonly node: string | undefined;
}

/** A consumer that a lane has at a stream of the own cluster, which it drains. */
export interface LaneConsumer {
  readonly stream: string;
  readonly lane: string;
  /** The cluster whose file declares the link. */
  readonly declaredBy: string;
}

/** What a sink stream holds by origin, as it is kept beside the checkpoints. */
export interface StoredOrigins extends OriginSnapshot {
  /** Creation date of the stream, for the time when the mark's record is gone. */
  readonly created: string;
}

/** The origins of a sink stream as they were last read or written; what is written next goes over them by compare-and-set. */
export interface OriginsHead {
  /** 0: there are none. */
  readonly revision: number;
  /** Where the parts are, if it has any. */
  readonly slot: 'a' | 'b' | undefined;
  readonly parts: number;
}

export interface LoadedOrigins {
  readonly head: OriginsHead;
  readonly origins: StoredOrigins | undefined;
  /** Why what is there cannot be used. */
  readonly fault: string | undefined;
}

export interface SavedOrigins {
  readonly head: OriginsHead;
  readonly bytes: number;
  /** Time that coding it took, in ms. */
  readonly workMs: number;
}

/** A group as it was read; what is written over it names this revision. */
export interface KeptIntent {
  readonly slot: number;
  readonly revision: number;
  /** Undefined: what stands there is none that this build can read. */
  readonly group: IntentGroup | undefined;
}

/** What is kept of the lanes that end in the sink streams of a cluster. `replicas`: as many copies as the sink stream has. */
export interface SinkStore {
  /** The checkpoint of a lane into a sink stream, and its revision; undefined if there is none. */
  checkpoint(
    stream: string,
    lane: string,
    replicas: number,
  ): Promise<{ readonly checkpoint: Checkpoint; readonly revision: number } | undefined>;
  /** Every checkpoint of lanes into a sink stream. */
  checkpoints(stream: string, replicas: number): Promise<readonly KeptCheckpoint[]>;
  /** Writes a checkpoint over the given revision (0: there is none) and returns the new one; `superseded` if another was faster. */
  saveCheckpoint(stream: string, checkpoint: Checkpoint, revision: number, replicas: number): Promise<number>;
  /** Takes away the checkpoint of a lane that is no more; `superseded` if it is not of the given revision. */
  deleteCheckpoint(stream: string, lane: string, revision: number, replicas: number): Promise<void>;
  /** What a sink stream was last known to hold by origin. */
  origins(stream: string, replicas: number): Promise<LoadedOrigins>;
  /** Writes that over what `head` describes, and returns what is to be written over next; `superseded` if another was faster. */
  saveOrigins(stream: string, origins: StoredOrigins, head: OriginsHead, replicas: number): Promise<SavedOrigins>;
  /** The groups of records that were announced for a sink stream and may not be accounted for elsewhere yet. */
  intents(stream: string, replicas: number): Promise<readonly KeptIntent[]>;
  /** Writes a group over what its slot has (revision 0: nothing) and returns the new revision; `superseded` if another was faster. */
  saveIntent(stream: string, slot: number, group: IntentGroup, revision: number, replicas: number): Promise<number>;
  /**
   * Enters a gap into the ledger; the same gap twice is one entry. One that was met before and has grown since is one entry too, but for
   * what is acknowledged of it. Returns whether all of it is acknowledged.
   */
  recordGap(entry: LedgerEntry, replicas: number): Promise<boolean>;
  /**
   * Keeps a record that a sink refuses for good; the same lane and position twice is one entry. Throws FailureError: `quarantine-full`, or
   * `quarantine-unavailable` if somebody has to change something.
   */
  quarantine(record: QuarantinedRecord, replicas: number): Promise<void>;
}

/** Which daemon works for a cluster, as the one who does wrote it. */
export interface LeaseEntry {
  /** Instance of the daemon. */
  readonly node: string;
  /** Where it runs, if that can be said: a place that no other process can have at the same time. */
  readonly place?: string;
  /** It has given the lease back. */
  readonly released?: boolean;
}

/** A lease as it was read: what is written over it names this revision. */
export interface KeptLease {
  readonly entry: LeaseEntry;
  readonly revision: number;
}

/** Where the lease of a cluster lies, among several daemons that could work for it. Every method throws FailureError. */
export interface LeaseStore {
  lease(cluster: string): Promise<KeptLease | undefined>;
  /**
   * Writes it over the given revision (0: there is none); `superseded` if another was faster. `anew`: what was kept had been lost, and
   * everything else with it.
   */
  saveLease(
    cluster: string,
    entry: LeaseEntry,
    revision: number,
  ): Promise<{ readonly revision: number; readonly anew: boolean }>;
}

/** What a daemon keeps in its own cluster, and nowhere else (I8). Every method throws FailureError. */
export interface Store extends SinkStore {
  readonly quarantined: QuarantineStore;
  /** The ledger of gaps; with `since`, what changed after that. One that is not there is empty, and is not made. */
  gaps(since?: LedgerPlace): Promise<LedgerRead>;
  /** Marks a gap as known, over the revision that was read; `superseded` if it was changed since. */
  acknowledgeGap(gap: KeptGap, acknowledgement: Acknowledgement): Promise<void>;
  /** The declarations of peers as they were last accepted, by peer. */
  learned(): Promise<ReadonlyMap<string, readonly string[]>>;
  saveLearned(peer: string, links: readonly string[]): Promise<void>;
  /** Nothing of this peer is remembered any more: it is none of ours now. */
  forgetLearned(peer: string): Promise<void>;
  /** The consumers of lanes that were not removed. */
  consumers(): Promise<readonly LaneConsumer[]>;
  saveConsumer(consumer: LaneConsumer): Promise<void>;
  forgetConsumer(consumer: LaneConsumer): Promise<void>;
  roster(): Promise<readonly RosterEntry[]>;
  saveRoster(entry: RosterEntry): Promise<void>;
}
