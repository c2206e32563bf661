import type { TailRecord } from '../brokers/broker.ts';
import { type IntentGroup, type IntentRecord, sameIntent } from '../dedupe/intent-group.ts';

/** `refused` and `stored` are what the sink said of this very append. */
type Fate = 'unknown' | 'stored' | 'refused';

/** An append that was made, or may have been made, at a sink sequence. */
export interface Attempt {
  readonly sinkSequence: number;
  readonly record: IntentRecord | undefined;
  fate: Fate;
  /** It is written down. */
  written: boolean;
  /** Number of the group in which this process wrote it down; undefined if another one did, which may append it still. */
  group: number | undefined;
  /** What was tried before at the same sequence, and may still come. */
  older: Attempt | undefined;
}

/** For so long after somebody else was noticed he may write again. */
const soleMs = 3_600_000;

/** What stands at a sequence of the sink: one of our records, somebody else's, or it is not known. */
export type Resolved = TailRecord | 'theirs' | undefined;

/**
 * Which record each sequence of a sink is, where the record itself may be gone. A chain puts each append at one sequence or nowhere;
 * so all that was ever tried at a sequence that the stream has passed is what can stand there. Where more than one record was tried, and
 * the sink told nothing, it counts as somebody else's: what is ours is then sent again rather than taken for stored (I1).
 */
export class IntentLog {
  readonly #newest = new Map<number, Attempt>();
  #known = 0;
  #end = 0;
  /** From here on what stands there is not what was written down last. */
  #corrected: number | undefined;
  #othersMs = 0;
  #othersNew = false;
  /** Groups that this process wrote. */
  readonly #own = new Set<number>();
  /** By sequence, what the sink refused of those: a reading of what is written down does not bring it back. */
  readonly #refused = new Map<number, { readonly group: number; readonly record: IntentRecord | undefined }[]>();

  /** Sink sequence up to which it is certain what every sequence is. */
  get known(): number {
    return this.#known;
  }

  /** Highest sequence at which anything was tried. */
  get end(): number {
    return this.#end;
  }

  /** Nobody else was noticed to write the stream for a long time: what was tried and can stand there does. */
  isSole(nowMs: number): boolean {
    return this.#othersMs === 0 || nowMs - this.#othersMs > soleMs;
  }

  /** Somebody else writes it. */
  noticed(nowMs: number): void {
    this.#othersNew ||= this.#othersMs === 0;
    this.#othersMs = Math.max(this.#othersMs, nowMs);
  }

  /** Takes in what was written down, in the order in which it was; of the last one, what was certain. */
  load(groups: readonly IntentGroup[]): void {
    for (const { number, base, othersMs, records } of groups) {
      this.#othersMs = Math.max(this.#othersMs, othersMs);
      for (const [i, record] of records.entries()) {
        const sinkSequence = base + 1 + i;
        const refused = this.#refused.get(sinkSequence);
        if (refused?.some((one) => one.group === number && sameIntent(one.record, record))) continue;
        const attempt = this.#add(sinkSequence, record);
        attempt.written = true;
        attempt.group = this.#own.has(number) ? number : undefined;
      }
    }
    const certain = groups.at(-1)?.known ?? 0;
    this.#known = Math.max(this.#known, certain);
    for (const attempt of this.#newest.values()) if (attempt.sinkSequence <= certain) settled(attempt);
  }

  /** A record is going to be appended at a sequence. */
  add(sinkSequence: number, record: IntentRecord | undefined): Attempt {
    const refused = this.#refused.get(sinkSequence)?.filter((one) => !sameIntent(one.record, record));
    if (refused !== undefined) this.#refused.set(sinkSequence, refused);
    return this.#add(sinkSequence, record);
  }

  #add(sinkSequence: number, record: IntentRecord | undefined): Attempt {
    const before = this.#newest.get(sinkSequence);
    const same = before !== undefined && sameIntent(before.record, record);
    // What another process wrote down it may append itself, and what becomes of that is not known here.
    const written = same && before.written && before.group !== undefined;
    const group = same ? before.group : undefined;
    const attempt: Attempt = {
      sinkSequence,
      record,
      fate: 'unknown',
      written,
      group,
      older: stillOpen(before, record),
    };
    this.#newest.set(sinkSequence, attempt);
    this.#end = Math.max(this.#end, sinkSequence);
    return attempt;
  }

  /** It was not sent after all. */
  forget(attempt: Attempt): void {
    const { sinkSequence, older } = attempt;
    if (this.#newest.get(sinkSequence) !== attempt) attempt.fate = 'refused';
    else if (older === undefined) this.#newest.delete(sinkSequence);
    else this.#newest.set(sinkSequence, older);
  }

  /** Something else that was tried at the same sequence may still come. */
  isContested({ record, older }: Attempt): boolean {
    for (let one = older; one !== undefined; one = one.older)
      if (one.fate === 'unknown' && !sameIntent(one.record, record)) return true;
    return false;
  }

  /** This process wrote an attempt down, in that group. */
  wrote(attempt: Attempt, group: number): void {
    attempt.written = true;
    attempt.group = group;
    this.#own.add(group);
  }

  /** The sink's own answer. */
  answered(attempt: Attempt, stored: boolean): void {
    attempt.fate = stored ? 'stored' : 'refused';
    if (!stored) {
      this.#rememberRefusal(attempt);
      return;
    }
    attempt.older = undefined;
    while (this.#newest.get(this.#known + 1)?.fate === 'stored') this.#known++;
  }

  #rememberRefusal({ sinkSequence, record, group, older }: Attempt): void {
    if (group === undefined) return;
    // The same record, sent before over a connection that was given up, may still come.
    for (let one = older; one !== undefined; one = one.older)
      if (one.fate === 'unknown' && sameIntent(one.record, record)) return;
    this.#refused.set(sinkSequence, [...(this.#refused.get(sinkSequence) ?? []), { group, record }]);
  }

  /** Whether it takes more than what was tried to say what stands at a sequence that the stream has passed. */
  isCertain(sinkSequence: number): boolean {
    return sinkSequence <= this.#known || this.#newest.get(sinkSequence)?.fate === 'stored';
  }

  /** What stands at a sequence that the stream has passed. Where others write it too, nothing but the sink's own answer counts. */
  resolve(sinkSequence: number, nowMs: number): Resolved {
    const newest = this.#newest.get(sinkSequence);
    if (newest === undefined) return sinkSequence <= this.#known ? undefined : 'theirs';
    let only: IntentRecord | undefined;
    for (let one: Attempt | undefined = newest; one !== undefined; one = one.older) {
      if (one.fate === 'stored') return tailRecord(one);
      if (one.fate === 'refused' || one.record === undefined) continue;
      if (only !== undefined && !sameIntent(only, one.record)) return 'theirs';
      only = one.record;
    }
    return only === undefined || !this.isSole(nowMs) ? 'theirs' : tailRecord({ sinkSequence, record: only });
  }

  /** The stream ends at `last`, and up to there it has been found out what stands where. */
  settle(last: number, found: ReadonlyMap<number, Resolved>): void {
    // What it held behind its end is lost, and does not come by itself.
    for (const sinkSequence of this.#newest.keys())
      if (sinkSequence > last && sinkSequence <= this.#known) this.#newest.delete(sinkSequence);
    for (const [sinkSequence, what] of found) {
      const newest = this.#newest.get(sinkSequence);
      if (newest === undefined) continue;
      const record = typeof what === 'object' ? intentRecord(what) : undefined;
      if (sameIntent(newest.record, record) && newest.written) settled(newest);
      else {
        const now = {
          sinkSequence,
          record,
          fate: 'stored',
          written: false,
          group: undefined,
          older: undefined,
        } as const;
        this.#newest.set(sinkSequence, { ...now });
        this.#corrected = Math.min(this.#corrected ?? sinkSequence, sinkSequence);
      }
    }
    this.#known = last;
    this.#end = Math.max(this.#end, last);
  }

  /** The next group to be written down: new records behind `base`, and before them what has to be said anew. */
  group(number: number, base: number, records: readonly IntentRecord[]): IntentGroup {
    const [known, othersMs] = [this.#known, this.#othersMs];
    if (this.#corrected === undefined || this.#corrected > base) return { number, base, known, othersMs, records };
    const again: (IntentRecord | undefined)[] = [];
    for (let at = this.#corrected; at <= base; at++) again.push(this.#newest.get(at)?.record);
    return { number, base: this.#corrected - 1, known, othersMs, records: [...again, ...records] };
  }

  /** Something was found out that has to be written down before anything is done by it. */
  get hasNews(): boolean {
    return this.#corrected !== undefined || this.#othersNew;
  }

  /** What `group` said anew is written down. */
  corrected(): void {
    this.#corrected = undefined;
    this.#othersNew = false;
  }

  /** Nobody will ask for what stands up to here any more. */
  trim(upTo: number): void {
    for (const sinkSequence of this.#newest.keys())
      if (sinkSequence <= Math.min(upTo, this.#known)) this.#newest.delete(sinkSequence);
    for (const sinkSequence of this.#refused.keys())
      if (sinkSequence <= Math.min(upTo, this.#known)) this.#refused.delete(sinkSequence);
  }
}

/** What of earlier attempts may still come; of the same record one is enough. */
function stillOpen(attempt: Attempt | undefined, record: IntentRecord | undefined): Attempt | undefined {
  const open: Attempt[] = [];
  for (let one = attempt; one !== undefined; one = one.older)
    if (one.fate !== 'refused' && !open.some((other) => sameIntent(other.record, one.record))) open.push(one);
  const own = open.findIndex((one) => sameIntent(one.record, record));
  // The own one first, since it is the likely one.
  if (own > 0) open.unshift(...open.splice(own, 1));
  return open.reduceRight<Attempt | undefined>((older, one) => ({ ...one, older }), undefined);
}

function settled(attempt: Attempt): void {
  attempt.fate = 'stored';
  attempt.older = undefined;
}

function tailRecord({ sinkSequence, record }: Pick<Attempt, 'sinkSequence' | 'record'>): Resolved {
  if (record === undefined) return 'theirs';
  const { lane, incarnation, sequence, previous, space, originSequence, originTime, seconds, nanos } = record;
  return {
    sinkSequence,
    lane,
    position: { incarnation, sequence },
    previous,
    origin: { space, sequence: originSequence, time: originTime, seconds, nanos },
  };
}

function intentRecord({ lane, position, previous, origin }: TailRecord): IntentRecord {
  const { incarnation, sequence } = position;
  const { space, sequence: originSequence, time: originTime, seconds, nanos } = origin;
  return { lane, incarnation, sequence, previous, space, originSequence, originTime, seconds, nanos };
}
