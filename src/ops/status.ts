import type { Reason } from '../wire/reasons.ts';

/** States of a lane, as in docs/operations.md. */
export const laneStates = [
  'starting',
  'catching-up',
  'live',
  'blocked',
  'draining',
  'disconnected',
  'gap',
  'parked',
  'link-conflict',
  'stopped',
] as const;
export type LaneState = (typeof laneStates)[number];

/**
 * One lane as this daemon sees it. A number that is unknown is absent, never zero (I6); a number that can no longer be
 * refreshed carries the time of its last refresh, and lag goes on growing by age.
 */
export interface LaneStatus {
  readonly lane: string;
  readonly link: string;
  readonly from: string;
  readonly to: string;
  /** What this daemon is on the lane. */
  readonly role: 'sender' | 'receiver';
  readonly peer: string;
  readonly declaredBy: string;
  readonly state: LaneState;
  readonly reason?: Reason;
  readonly detail?: string;
  /** When this state was entered, Unix ms; a change of reason within the state does not move it. */
  readonly sinceMs: number;
  /** When the next attempt is made, Unix ms. */
  readonly nextTryMs?: number;
  /** Sequence up to which the sink has stored, in the lane's source stream. */
  readonly storedSequence?: number;
  readonly incarnation?: string;
  /** Newest sequence known at the source. */
  readonly headSequence?: number;
  /** When `headSequence` was last refreshed, Unix ms. */
  readonly headAtMs?: number;
  /** headSequence - storedSequence. */
  readonly lagRecords?: number;
  /** Time since the oldest record that is not stored was written at the source, in seconds; 0 when level. */
  readonly lagSeconds?: number;
  /**
   * At a sender: in how many seconds the source stream begins to delete what is not stored, at the present rate, and by which of its limits.
   * Absent while level, while the backlog does not grow towards a limit, and while that is not known.
   */
  readonly retention?: { readonly seconds: number; readonly limit: string };
  /** Last time the stored position moved, Unix ms. */
  readonly progressAtMs?: number;
  /**
   * When the present backlog began as this daemon saw it (the lane was made, or ceased to be level), Unix ms; absent
   * while level or unknown. Health measures a lack of progress from here, so that a lane that was idle for a day is
   * not taken for a stuck one in the instant its next record arrives.
   */
  readonly backlogSinceMs?: number;
  readonly recordsTotal: number;
  readonly bytesTotal: number;
  readonly wireBytesTotal: number;
  readonly duplicatesTotal: number;
  readonly loopDropsTotal: number;
  /** Left out at the source because JetStream had copied them there (`sourced`). */
  readonly sourcedDropsTotal: number;
  /** Records that the sink refused for good and that went into the quarantine since the daemon started, at a receiver. */
  readonly quarantinedTotal: number;
  readonly lostTotal: number;
  readonly gapsTotal: number;
  readonly reconnectsTotal: number;
  readonly creditBytes?: number;
  readonly inflightBytes?: number;
  /** How the sink is appended to, at a receiver: see docs/delivery.md. */
  readonly mode?: 'chain' | 'id';
  /** What is promised of a record that a failure leaves in doubt, at a receiver. */
  readonly guarantee?: 'exactly-once' | 'at-least-once';
}

export interface PeerStatus {
  readonly peer: string;
  readonly connected: boolean;
  /** `served-here`: this daemon works for that cluster too. */
  readonly direction: 'dials-us' | 'we-dial' | 'served-here';
  /** The group whose pattern its name fits. */
  readonly group?: string;
  /** When it was last connected, Unix ms; absent if it never was. */
  readonly lastSeenMs?: number;
  readonly address?: string;
  readonly reason?: Reason;
  readonly detail?: string;
  readonly sinceMs: number;
  /** How often its connection was made anew by plan while it stood. */
  readonly rotationsTotal: number;
  readonly nextTryMs?: number;
  readonly rttMs?: number;
  readonly clockOffsetMs?: number;
  readonly software?: string;
  readonly node?: string;
  /** Name, hash and generation of the file that the peer runs on. */
  readonly file?: string;
  readonly fileHash?: string;
  readonly generation?: number;
  /** Generation of our file that the peer last answered; behind ours while it has not taken notice. */
  readonly answeredGeneration?: number;
  readonly certificateNotAfterMs?: number;
}

/** A group of peers: who was expected, who called once, who is connected. */
export interface GroupStatus {
  readonly group: string;
  readonly match: string;
  /** As declared; absent if the file does not say. */
  readonly expected?: number;
  /** Members that ever called; absent while the roster could not be read. */
  readonly seen?: number;
  readonly connected: number;
  /** Expected and never seen, in number; by name as far as the file names them. Absent if unknown. */
  readonly neverSeen?: number;
  readonly missing?: readonly string[];
}

/** Gaps of a lane that nobody has acknowledged, as the ledger of a cluster that is served here has them. */
export interface GapStatus {
  /** The cluster whose ledger it is: where the lane ends. */
  readonly cluster: string;
  readonly lane: string;
  readonly link: string;
  readonly gaps: number;
  /** Positions that they take in; absent if that is not known of all of them. */
  readonly records?: number;
  /** When the oldest was found, Unix ms, and why it came about. */
  readonly sinceMs: number;
  readonly reason: Reason;
}

/** A link whose other end refused it, or that we refused. */
export interface LinkStatus {
  readonly link: string;
  readonly declaredBy: string;
  readonly peer: string;
  readonly accepted: boolean;
  readonly reason?: Reason;
  readonly detail?: string;
}

export interface NatsStatus {
  readonly connected: boolean;
  readonly server?: string;
  readonly version?: string;
  readonly reason?: Reason;
  readonly detail?: string;
  readonly sinceMs: number;
  readonly embedded: boolean;
}

/** Of a daemon that is one of several for its cluster. */
export interface StandbyStatus {
  /** `active`: it holds the lease and works; `alone`: it works without one, since none can be kept; `standby`: another one works, or may. */
  readonly state: 'active' | 'standby' | 'alone';
  /** When this state was entered, Unix ms. */
  readonly sinceMs: number;
  /** Instance of the daemon that holds the lease, as far as that is known. */
  readonly holder?: string;
  /** How often this daemon became the one that works. */
  readonly takeoversTotal: number;
  /** Why the lease cannot be looked at, or kept, and since when, Unix ms. */
  readonly reason?: Reason;
  readonly detail?: string;
  readonly failingSinceMs?: number;
}

/** Everything the monitor endpoints show. Made on demand; holds no secrets. */
export interface DaemonStatus {
  readonly cluster: string;
  readonly node: string;
  readonly software: string;
  readonly startedAtMs: number;
  readonly nowMs: number;
  readonly file: {
    readonly path: string;
    readonly hash: string;
    readonly generation: number;
    readonly loadedAtMs: number;
    /** The file as it is now cannot be used; what runs is the generation above. */
    readonly error?: string;
    /** Options that were changed in the file and take effect when the daemon is started anew. */
    readonly pending?: readonly string[];
  };
  readonly ready: boolean;
  readonly draining: boolean;
  /** Absent where the file does not say that there are several daemons. */
  readonly standby?: StandbyStatus;
  readonly listen?: string;
  readonly certificateNotAfterMs?: number;
  /** Connections that the listener did not take, or cut to make room, by reason, since the start; absent on a daemon that only dials. */
  readonly refusedConnections?: Readonly<Partial<Record<Reason, number>>>;
  readonly nats: NatsStatus;
  /** NATS of other clusters that this daemon serves. */
  readonly served: readonly (NatsStatus & { readonly cluster: string })[];
  readonly peers: readonly PeerStatus[];
  readonly groups: readonly GroupStatus[];
  readonly links: readonly LinkStatus[];
  readonly lanes: readonly LaneStatus[];
  /** Absent while a ledger has not been read. */
  readonly gaps?: readonly GapStatus[];
  readonly memory: {
    readonly rssBytes: number;
    /** What all lanes together may hold of records, and what they hold or may hold by now. */
    readonly budgetBytes: number;
    readonly usedBytes: number;
  };
  readonly eventLoopDelayMs?: number;
}
