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
  readonly facts: SinkFacts;
  readonly writer: SinkWriter;
  readonly index: OriginIndex;
  readonly log: Logger;
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
): Promise<number> {
  const { writer, index, log, sink, facts } = context;
  index.restore(new Map());
  /** Most of them have the same mark. */
  const verdicts = new Map<string, Verdict>();
  const judge = async (mark: OriginMark | undefined): Promise<Verdict> => {
    const key = JSON.stringify(mark ?? null);
    const known = verdicts.get(key) ?? (await verdict(mark, sink));
    verdicts.set(key, known);
    return known;
  };
  for (const checkpoint of checkpoints) {
    const { lane, sinkSequence } = checkpoint;
    if (sinkSequence <= facts.lastSequence && (await judge(markOf(checkpoint))) !== 'other') continue;
    log.warn('sink-regressed', { lane, sinkSequence, last: facts.lastSequence });
    return 0;
  }
  let from = 0;
  let spaces: StoredOrigins['spaces'] = new Map();
  if (origins !== undefined) {
    const { upTo, mark, created } = origins;
    const found = upTo > facts.lastSequence ? 'other' : await judge(mark);
    if (found === 'other') {
      log.warn('sink-regressed', { upTo, last: facts.lastSequence });
      return 0;
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
    state.accounted = checkpoint.sinkSequence;
    from = Math.min(from, checkpoint.sinkSequence);
  }
  index.restore(spaces);
  // Without a checkpoint nothing tells how far the lanes are but the records.
  return checkpoints.length === 0 ? 0 : from;
}

function markOf({ mark, lane, witnessSink, witnesses: [newest] }: Checkpoint): OriginMark | undefined {
  return mark ?? (newest && { sinkSequence: witnessSink, lane, ...newest.position });
}

/** Whether a sink that ends at `lastSequence` may hold what a checkpoint speaks of: it has not lost its tail since. */
export async function mayHold(
  checkpoint: Checkpoint,
  lastSequence: number,
  sink: Pick<Sink, 'messageAt'>,
): Promise<boolean> {
  return checkpoint.sinkSequence <= lastSequence && (await verdict(markOf(checkpoint), sink)) !== 'other';
}

type Verdict = 'same' | 'other' | 'unknown';

/** True if another record stands where the newest one of ours up to `sinkSequence` was: the sink lost its tail, and others filled it up. */
export async function lostTail(
  writer: SinkWriter,
  sinkSequence: number,
  sink: Pick<Sink, 'messageAt'>,
): Promise<boolean> {
  return (await verdict(writer.markUpTo(sinkSequence), sink)) === 'other';
}

/** Whether the record is where it was. One that is missing proves nothing: it may have expired. */
async function verdict(mark: OriginMark | undefined, sink: Pick<Sink, 'messageAt'>): Promise<Verdict> {
  if (mark === undefined || mark.sinkSequence === 0) return 'unknown';
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
  const mark = writer.markUpTo(sinkSequence);
  const optional = { ...(seen === undefined ? {} : { seen }), ...(mark === undefined ? {} : { mark }) };
  return { lane: id, cursor, sinkSequence, witnessSink, witnesses, ...optional };
}
