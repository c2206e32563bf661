/** What must be where after a run of the fault suite, and what is not. Shares no code with what it judges. */
import { createHash } from 'node:crypto';
import { payloadOf } from './feed.ts';
import type { NemesisLane } from './nemesis-world.ts';
import { header, type Stored } from './oracle.ts';

/** Reason of a gap that is one record in the quarantine. */
export const setAside = 'set-aside';

/** An entry of a ledger of gaps, or of a quarantine. */
export interface NamedGap {
  readonly lane: string;
  readonly after: { readonly incarnation: string; readonly sequence: number };
  readonly upTo: { readonly incarnation: string; readonly sequence: number };
  readonly reason: string;
}

/** What a cluster's stream held and holds. */
export class Chronicle {
  /** What somebody purged. */
  readonly purged: Stored[] = [];
  /** What went when an older copy of the store came back: the stream as it was before, and its last sequence afterwards. */
  lost: { readonly before: readonly Stored[]; readonly keptUpTo: number } | undefined;
  /** As it is in the end. */
  now: readonly Stored[] = [];
  /** Of all the time, also of a store that was replaced. */
  readonly gaps: NamedGap[] = [];

  get gone(): readonly Stored[] {
    return this.lost?.before.filter(({ sequence }) => sequence > this.lost!.keptUpTo) ?? [];
  }
}

/** What an application published: records 0 to count - 1. */
export interface PublishedLabel {
  readonly label: string;
  readonly home: string;
  readonly count: number;
  readonly payloadBytes: number;
}

/** Records that may stand behind later ones after a failure where others write the stream, too (docs/delivery.md). */
const mostDisorder = 1_024;
const mostExamples = 12;

export interface Judged {
  readonly chronicles: ReadonlyMap<string, Chronicle>;
  readonly lanes: readonly NemesisLane[];
  readonly published: readonly PublishedLabel[];
  /** Clusters whose stream several write. */
  readonly shared: ReadonlySet<string>;
  /** Clusters whose daemon was forbidden something for a while: the quarantine takes what it may not store (docs/delivery.md). */
  readonly forbidden: ReadonlySet<string>;
}

/** Everything that is wrong, in words. */
export function findWrongs(judged: Judged): string[] {
  const wrongs: string[] = [];
  for (const [cluster, chronicle] of judged.chronicles) wrongs.push(...wrongsOfStream(cluster, chronicle, judged));
  for (const lane of judged.lanes) wrongs.push(...summed(wrongsOfLane(lane, judged)));
  return wrongs;
}

const identity = ({ text }: Stored): string => text.split(' ', 2).join(' ');

/** What is there twice, out of order, or differs from what was published. */
function wrongsOfStream(cluster: string, { now }: Chronicle, judged: Judged): string[] {
  const { chronicles, published } = judged;
  const wrongs: string[] = [];
  const seen = new Map<string, number>();
  const highest = new Map<string, readonly [generation: number, number: number]>();
  let disorder = 0;
  for (const record of now) {
    const { sequence } = record;
    const id = identity(record);
    const [label = '', word = ''] = id.split(' ');
    const [name = '', generation = ''] = label.split('.');
    const from = published.find((one) => one.label === label);
    const number = Number(word);
    if (from === undefined || !(number < from.count)) {
      wrongs.push(`${cluster} ${sequence}: nobody published ${record.text}`);
      continue;
    }
    if (record.digest !== digestOf(from, number)) wrongs.push(`${cluster} ${sequence}: ${id} has another payload`);
    const first = seen.get(id);
    if (first !== undefined) {
      // An application that had no answer may publish a record again; then these are two.
      if (occurrences(chronicles.get(from.home)!.now, id) < 2 && cluster !== from.home)
        wrongs.push(`${cluster}: ${id} stands at ${first} and at ${sequence}`);
      continue;
    }
    seen.set(id, sequence);
    const place = [Number(generation), number] as const;
    const before = highest.get(name);
    if (before !== undefined && (place[0] < before[0] || (place[0] === before[0] && number < before[1]))) {
      disorder++;
      if (!mayBeMixed(from.home, cluster, judged))
        wrongs.push(`${cluster} ${sequence}: ${id} stands behind ${before.join(' ')}`);
    } else highest.set(name, place);
  }
  if (disorder > mostDisorder) wrongs.push(`${cluster}: ${disorder} records stand behind later ones`);
  return summed(wrongs);
}

/** Whether records on their way from one cluster to another pass a stream that several write, and that another one may copy. */
function mayBeMixed(home: string, cluster: string, { lanes, shared }: Pick<Judged, 'lanes' | 'shared'>): boolean {
  if (cluster === home) return false;
  if (shared.has(cluster)) return true;
  return lanes.some(({ to, from, ownOnly }) => to === cluster && !ownOnly && mayBeMixed(home, from, { lanes, shared }));
}

/** What a lane has not brought, and nothing accounts for. */
function wrongsOfLane(lane: NemesisLane, { chronicles, published, forbidden }: Judged): string[] {
  const [source, sink] = [chronicles.get(lane.from)!, chronicles.get(lane.to)!];
  const homes = new Map(published.map(({ label, home }) => [label, home]));
  const isCarried = (record: Stored): boolean => {
    const home = homes.get(identity(record).split(' ')[0]!);
    return home !== undefined && (lane.ownOnly ? home === lane.from : home !== lane.to);
  };
  const gaps = sink.gaps.filter((gap) => gap.lane === lane.id);
  const wrongs = gaps
    .filter(({ reason }) =>
      reason === setAside ? !forbidden.has(lane.to) : reason !== 'expired' && source.lost === undefined,
    )
    .map((gap) => `${lane.id}: nothing gave cause for ${JSON.stringify(gap)}`);
  const has = new Set(sink.now.map(identity));
  const purgedThere = new Set(sink.purged.map(identity));
  const isThere = (record: Stored): boolean => has.has(identity(record)) || purgedThere.has(identity(record));
  const say = (record: Stored, what: string): void => {
    wrongs.push(`${lane.id}: ${identity(record)} (${record.sequence} of its source) ${what}`);
  };
  const present = new Set(source.now.map(identity));
  const aside = new Set(gaps.filter(({ reason }) => reason === setAside).map(({ upTo }) => upTo.sequence));
  for (const record of source.now)
    if (isCarried(record) && !isThere(record) && !aside.has(record.sequence)) say(record, 'is not in the sink');
  const isNamed = ({ sequence }: Stored): boolean =>
    gaps.some(({ after, upTo }) =>
      after.incarnation === upTo.incarnation
        ? after.sequence < sequence && sequence <= upTo.sequence
        : after.sequence < sequence,
    );
  const lacking = (records: readonly Stored[]): Stored[] =>
    records.filter((one) => isCarried(one) && !present.has(identity(one)) && !isThere(one) && !isNamed(one));
  const held = new Set([...has, ...purgedThere, ...(sink.lost?.before ?? []).map(identity)]);
  const wasHeld = (record: Stored): boolean => isCarried(record) && held.has(identity(record));
  // What was purged before the lane had begun is none of its gaps: it begins at the first record there is (docs/delivery.md).
  const firstSeen = source.purged.find(wasHeld)?.sequence ?? Number.POSITIVE_INFINITY;
  for (const record of lacking(source.purged))
    if (record.sequence > firstSeen) say(record, 'was purged before it was carried, and the ledger does not say so');
  // The end of what the source lost may have been seen by nobody. What stands before something that was carried has been.
  const lastSeen = source.gone.findLast(wasHeld)?.sequence ?? 0;
  const lostThere = new Set(sink.gone.map(identity));
  for (const record of lacking(source.gone)) {
    // Gone at either end: nobody has it.
    if (record.sequence > lastSeen || lostThere.has(identity(record))) continue;
    say(record, 'was lost by the source after it was passed, and the ledger does not say so');
  }
  for (const record of sink.now) {
    if (header(record, 'Causeway-Lane')?.startsWith(`${lane.id};`) === true && !isCarried(record))
      say(record, 'is nothing that this lane carries');
  }
  return wrongs;
}

function occurrences(records: readonly Stored[], id: string): number {
  return records.filter((record) => identity(record) === id).length;
}

function digestOf({ label, payloadBytes }: PublishedLabel, number: number): string {
  return createHash('sha1')
    .update(payloadOf(label, number, payloadBytes))
    .digest('base64');
}

/** The first few, and how many more. */
function summed(wrongs: readonly string[]): string[] {
  if (wrongs.length <= mostExamples) return [...wrongs];
  return [...wrongs.slice(0, mostExamples), `... and ${wrongs.length - mostExamples} more like these`];
}
