import type { Sink, SinkFacts } from '../brokers/broker.ts';
import type { Checkpoint, StoredOrigins } from '../brokers/store.ts';
import type { OriginIndex } from '../dedupe/origin-index.ts';
import type { OriginMark } from '../dedupe/origin-snapshot.ts';
import type { SinkLaneState } from '../lane/sink-lane-state.ts';
import type { SinkWriter } from '../lane/sink-writer.ts';
import type { WitnessHistory } from '../lane/witness-history.ts';
import type { Logger } from '../lib/logger.ts';
import { payloadDigest, samePosition } from '../wire/position.ts';

export interface RecallContext {
  readonly sink: Pick<Sink, 'messageAt'>;
  /** Asked for after the checkpoints and the snapshot were read: what they speak of may have been stored a moment before. */
  readonly facts: SinkFacts;
  /** Sink sequence up to which all of a lane is in its checkpoint, although that may not say so; 0 if that is not known. */
  readonly floor: number;
  /** The stream is known to have lost records since what is kept was written, whatever it looks like. */
  readonly isLost: boolean;
  readonly writer: SinkWriter;
  readonly index: OriginIndex;
  readonly log: Logger;
}

export interface Recalled {
  /** Behind this sequence of the sink the scan begins. */
  readonly from: number;
  /** What was taken is there while this is. */
  readonly mark: OriginMark | undefined;
  /** The stream lost its tail, or is another one. What is kept of it has to be written over before anything new is stored, lest it look true again. */
  readonly lost: boolean;
}

/**
 * Takes the cursors from the checkpoints and what is held by origin from the snapshot, as far as the stream still holds what they speak
 * of, and returns where the scan has to begin: where the oldest of them ends. Which of them was written last does not matter, for
 * each is complete up to its own sequence. Without a snapshot the scan begins at the first record, and only the cursors are taken. A stream that
 * lost its tail, or is another one, gives nothing (I3: nothing is believed to be held that is not found).
 */
export async function recall(
  checkpoints: readonly Checkpoint[],
  origins: StoredOrigins | undefined,
  context: RecallContext,
): Promise<Recalled> {
  const { writer, index, log, sink, facts, floor } = context;
  const last = facts.lastSequence;
  const lost: Recalled = { from: 0, mark: undefined, lost: true };
  index.restore(new Map());
  if (context.isLost) return lost;
  /** Most of them have the same mark. */
  const verdicts = new Map<string, Verdict>();
  const judge = async (mark: OriginMark | undefined): Promise<Verdict> => {
    const key = JSON.stringify(mark ?? null);
    const known = verdicts.get(key) ?? (await verdict(mark, last, sink));
    verdicts.set(key, known);
    return known;
  };
  for (const checkpoint of checkpoints) {
    const { lane, sinkSequence } = checkpoint;
    if (sinkSequence <= last && (await judge(markOf(checkpoint))) !== 'other') continue;
    log.warn('sink-regressed', { lane, sinkSequence, last });
    return lost;
  }
  let from = 0;
  let spaces: StoredOrigins['spaces'] = new Map();
  if (origins !== undefined) {
    const { upTo, mark, created } = origins;
    const found = upTo > last ? 'other' : await judge(mark);
    if (found === 'other') {
      log.warn('sink-regressed', { upTo, last });
      return lost;
    }
    if (found === 'same' || created === facts.created) {
      spaces = origins.spaces;
      from = upTo;
    } else log.warn('origins-unproven', { upTo });
  }
  // From here on nothing can fail.
  for (const checkpoint of checkpoints) {
    const state = writer.lane(checkpoint.lane);
    const [newest] = checkpoint.witnesses;
    if (checkpoint.cursor !== undefined) state.moveCursor(checkpoint.cursor, checkpoint.seen);
    if (newest !== undefined) state.last = { ...newest, sinkSequence: checkpoint.witnessSink };
    state.accounted = Math.max(checkpoint.sinkSequence, Math.min(floor, last));
    from = Math.min(from, checkpoint.sinkSequence);
  }
  index.restore(spaces);
  const marks = [origins?.mark, ...checkpoints.map(markOf)].filter((mark) => mark !== undefined);
  const mark = marks.reduce<OriginMark | undefined>(
    (newest, one) => (one.sinkSequence > (newest?.sinkSequence ?? 0) ? one : newest),
    undefined,
  );
  // Without a checkpoint nothing tells how far the lanes are but the records.
  return { from: checkpoints.length === 0 ? 0 : from, mark, lost: false };
}

function markOf({ mark, lane, witnessSink, witnesses: [newest] }: Checkpoint): OriginMark | undefined {
  return mark ?? (newest && { sinkSequence: witnessSink, lane, ...newest.position });
}

/** Whether a sink that ends at `lastSequence` may hold what a checkpoint speaks of: it has not lost its tail since. */
export async function mayHold(checkpoint: Checkpoint, last: number, sink: Pick<Sink, 'messageAt'>): Promise<boolean> {
  return checkpoint.sinkSequence <= last && (await verdict(markOf(checkpoint), last, sink)) !== 'other';
}

type Verdict = 'same' | 'other' | 'unknown';

/**
 * True if the sink, which now ends at `last`, does not hold the marked record any more where it was: it lost its tail, and others may
 * have filled it up. The mark is one of before what the sink holds was read: what a reading finds is there in any case.
 */
export async function lostTail(
  mark: OriginMark | undefined,
  last: number,
  sink: Pick<Sink, 'messageAt'>,
): Promise<boolean> {
  return (await verdict(mark, last, sink)) === 'other';
}

/** Whether the record is where it was. One that is missing proves nothing, unless the sink ends before it: it may have expired. */
async function verdict(mark: OriginMark | undefined, last: number, sink: Pick<Sink, 'messageAt'>): Promise<Verdict> {
  if (mark === undefined || mark.sinkSequence === 0) return 'unknown';
  if (mark.sinkSequence > last) return 'other';
  const found = await sink.messageAt(mark.sinkSequence);
  if (found === undefined) return 'unknown';
  const { record } = found;
  const same =
    record?.lane === mark.lane &&
    record.position.sequence === mark.sequence &&
    record.position.incarnation === mark.incarnation;
  return same ? 'same' : 'other';
}

/** Finds the digest of a lane's newest record, if a headers-only scan found it. */
export async function findDigest({ last }: SinkLaneState, sink: Pick<Sink, 'messageAt'>): Promise<void> {
  if (last === undefined || last.digest !== undefined || last.sinkSequence === 0) return;
  const found = await sink.messageAt(last.sinkSequence);
  if (found !== undefined) last.digest = payloadDigest(found.payload);
}

/** What is to be remembered of a lane as of now; takes the newest witness into its history. */
export function checkpointOf(writer: SinkWriter, id: string, history: WitnessHistory): Checkpoint {
  const lane = writer.lane(id);
  const { last, cursor, seen } = lane;
  const newest = lane.witness();
  if (newest !== undefined) history.add(newest);
  const witnesses = history.list();
  // Without its place the witness is still one for the source.
  const placed = last !== undefined && samePosition(witnesses[0]?.position, last.position);
  const witnessSink = placed ? last.sinkSequence : 0;
  const sinkSequence = lane.scanFrom(writer.storedUpTo);
  const { mark } = writer;
  const optional = { ...(seen === undefined ? {} : { seen }), ...(mark === undefined ? {} : { mark }) };
  return { lane: id, cursor, sinkSequence, witnessSink, witnesses, ...optional };
}
