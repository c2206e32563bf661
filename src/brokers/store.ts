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
  readonly at: string;
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
  /** Enters a gap into the ledger; the same gap twice is one entry. */
  recordGap(entry: LedgerEntry, replicas: number): Promise<void>;
}

/** What a daemon keeps in its own cluster, and nowhere else (I8). Every method throws FailureError. */
export interface Store extends SinkStore {
  /** The ledger of gaps, in the order they were entered; empty where there is none. */
  gaps(): Promise<readonly LedgerEntry[]>;
  /** The declarations of peers as they were last accepted, by peer. */
  learned(): Promise<ReadonlyMap<string, readonly string[]>>;
  saveLearned(peer: string, links: readonly string[]): Promise<void>;
  /** Nothing of this peer is remembered any more: it is none of ours now. */
  forgetLearned(peer: string): Promise<void>;
  roster(): Promise<readonly RosterEntry[]>;
  saveRoster(entry: RosterEntry): Promise<void>;
}
