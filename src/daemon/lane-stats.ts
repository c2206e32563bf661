import type { RetentionEnd } from '../lane/retention.ts';
import type { LanePlan } from '../topology/plan.ts';
import type { Position } from '../wire/position.ts';

/** Where the counts of a lane go as they happen; one object per lane and daemon, over all its sessions. */
export interface LaneObserver {
  /** Once per batch that the sink has stored. */
  batch(batch: {
    readonly records: number;
    readonly bytes: number;
    readonly stagesMs?: Readonly<Partial<Record<'source-wait' | 'round-trip' | 'store', number>>>;
  }): void;
}

/** What this daemon knows of one lane's progress. Plain numbers; LaneRunner makes the status of them. */
export class LaneStats {
  readonly plan: LanePlan;
  readonly observer: LaneObserver;
  stored: Position | undefined;
  head: number | undefined;
  headAtMs: number | undefined;
  progressAtMs: number | undefined;
  /** When the lane ceased to be level as this daemon saw it; undefined while level or unknown. */
  backlogSinceMs: number | undefined;
  /** When the source stored the oldest record that is on its way and not stored, Unix ms. */
  oldestMs: number | undefined;
  records = 0;
  bytes = 0;
  wireBytes = 0;
  duplicates = 0;
  loopDrops = 0;
  sourcedDrops = 0;
  quarantined = 0;
  lost = 0;
  gaps = 0;
  sessions = 0;
  /** When the source begins to delete what is not carried; undefined while that is not known, or not to be expected. */
  retention: RetentionEnd | undefined;
  /** How far the source's latest incarnation was, by its last batch. */
  #known: Position | undefined;

  constructor(plan: LanePlan, observer: LaneObserver, nowMs: number) {
    this.plan = plan;
    this.observer = observer;
    this.backlogSinceMs = nowMs;
  }

  /** Records at the source that the sink does not hold yet; undefined while one of the two is unknown (I6). */
  get lag(): number | undefined {
    if (this.head === undefined || this.stored === undefined) return undefined;
    return Math.max(0, this.head - this.stored.sequence);
  }

  onHead(sequence: number, nowMs: number): void {
    this.head = sequence;
    this.headAtMs = nowMs;
    this.#level(nowMs);
  }

  onStored(position: Position | undefined, nowMs: number): void {
    if (position === undefined) return;
    if (this.stored?.sequence !== position.sequence || this.stored.incarnation !== position.incarnation)
      this.progressAtMs = nowMs;
    this.stored = position;
    this.#level(nowMs);
  }

  /** A batch says how far its incarnation of the source is. */
  onBatchHead(incarnation: string, sequence: number): void {
    const known = this.#known?.incarnation === incarnation ? this.#known.sequence : 0;
    this.#known = { incarnation, sequence: Math.max(known, sequence) };
  }

  /** A gap: what lies in it will never arrive. Of an incarnation that is gone that is what was known to be in it. */
  onGap(after: Position, upTo: Position): void {
    const last = after.incarnation === upTo.incarnation ? upTo : this.#known;
    this.gaps++;
    if (last?.incarnation === after.incarnation) this.lost += Math.max(0, last.sequence - after.sequence);
  }

  #level(nowMs: number): void {
    const lag = this.lag;
    if (lag === undefined) return;
    if (lag === 0) {
      this.backlogSinceMs = undefined;
      this.oldestMs = undefined;
    } else {
      this.backlogSinceMs ??= nowMs;
    }
  }
}
