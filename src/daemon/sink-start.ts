import type { SinkFacts } from '../brokers/broker.ts';
import type { SinkLaneState } from '../lane/sink-lane-state.ts';
import type { SinkWriter } from '../lane/sink-writer.ts';
import { WitnessHistory } from '../lane/witness-history.ts';
import type { Logger } from '../lib/logger.ts';
import type { LanePlan } from '../topology/plan.ts';
import { formatPosition } from '../wire/position.ts';
import { FailureError, failureFrom } from '../wire/reasons.ts';
import type { Start } from '../wire/start.ts';
import type { SinkCensus } from './sink-census.ts';
import type { LaneEntry, SinkCheckpoints } from './sink-checkpoints.ts';

/** What the plan of a lane says of where it begins. */
export type LaneBeginning = Pick<LanePlan, 'id' | 'sourceStream' | 'start' | 'previously' | 'gaps'>;

export interface StartContext {
  readonly stream: string;
  readonly log: Logger;
  readonly writer: SinkWriter;
  readonly census: SinkCensus;
  readonly lanes: SinkCheckpoints;
  /** Resolves when nothing of a lane is in flight. */
  readonly idle: (entry: LaneEntry) => Promise<void>;
  readonly findDigest: (lane: SinkLaneState) => Promise<void>;
  /** What the stream held and holds no more is known to have been of lanes, and of which. */
  readonly isAccounted: boolean;
}

/**
 * Finds what the sink holds of a lane: by its checkpoint, by its records, or under the id it had before. Only if all of that gives
 * nothing does it matter where the file lets the lane begin: that is what it returns. Throws FailureError `start-required`.
 */
export async function findStart(plan: LaneBeginning, context: StartContext): Promise<Start | undefined> {
  const { lanes, writer, findDigest } = context;
  const entry = lanes.entry(plan.id);
  const state = writer.lane(plan.id);
  const old = plan.previously === undefined ? undefined : await previous(plan.previously, context);
  let facts: SinkFacts | undefined;
  if (state.cursor === undefined && writer.lane(old?.id ?? plan.id).cursor === undefined) {
    facts = await context.census.complete();
    take(state, context.census.lane(plan.id));
    if (old !== undefined) take(writer.lane(old.id), context.census.lane(old.id));
  }
  if (old !== undefined) await adopt(entry, old, context);
  await findDigest(state);
  const witness = state.witness();
  if (witness !== undefined) entry.history.add(witness);
  if (state.cursor !== undefined) return undefined;
  // Records of it behind a hole are all that is known: it has begun before them, wherever that was.
  const { at } = plan.start ?? { at: 'new' };
  if (state.ahead.size > 0 && entry.began === undefined && at === 'new') return { at: 'all' };
  return decide(plan, entry, context, facts ?? (await context.census.complete()));
}

/** The lane as it was called before; nobody may still run it. */
async function previous(id: string, { lanes, idle }: StartContext): Promise<LaneEntry> {
  const old = lanes.entry(id);
  if (old.session !== undefined)
    throw new FailureError('start-required', `lane ${id}, which this one takes over from, still runs here`);
  await idle(old);
  return old;
}

/** Takes over what the records of a lane tell, unless some are known to lie behind a hole: the newest would hide it. */
function take(state: SinkLaneState, found: SinkLaneState | undefined): void {
  if (found?.cursor === undefined || state.ahead.size > 0) return;
  state.moveCursor(found.cursor);
  state.last = found.last;
  state.tip = found.last?.position;
}

/**
 * The lane goes on where it stood under its old id. Records under that id are no proof of the new one: what is remembered of the
 * newest record stays a witness for the source only, and the first record under the new id names no predecessor.
 */
async function adopt(entry: LaneEntry, old: LaneEntry, { writer, log, findDigest }: StartContext): Promise<void> {
  const [state, before] = [writer.lane(entry.id), writer.lane(old.id)];
  const { cursor } = before;
  if (cursor === undefined) return;
  if (state.cursor === undefined) {
    await findDigest(before);
    state.moveCursor(cursor);
    entry.history = new WitnessHistory(old.history.list());
    const witness = before.witness();
    if (witness !== undefined) entry.history.add(witness);
    log.info('lane-renamed', { lane: entry.id, previously: old.id, cursor: formatPosition(cursor) });
  }
  // Stored under the old id behind a hole that the new one fills.
  if (state.cursor?.incarnation !== cursor.incarnation) return;
  for (const sequence of before.ahead) if (sequence > state.cursor.sequence) state.ahead.add(sequence);
}

/**
 * Once the new checkpoint is written the old one goes; if this does not come to pass, at the next opening. It stays as long as
 * it leads to records behind a hole.
 */
export async function forgetPrevious(
  { id, previously }: LaneBeginning,
  { lanes, writer, log }: StartContext,
): Promise<void> {
  if (previously === undefined) return;
  const cursor = writer.lane(id).cursor;
  const old = lanes.entry(previously);
  const needed = [...writer.lane(previously).ahead].some((sequence) => sequence > (cursor?.sequence ?? 0));
  if (cursor === undefined || needed || old.session !== undefined) return;
  await lanes.forget(old).catch((error: unknown) => {
    log.warn('previous-not-forgotten', { lane: id, previously, ...failureFrom(error) });
  });
}

/** Where a lane begins that is new to the sink. */
async function decide(
  { start, sourceStream }: LaneBeginning,
  { began }: LaneEntry,
  { census, stream, isAccounted }: StartContext,
  facts: SinkFacts,
): Promise<Start> {
  if (start === undefined) {
    const foreign = census.foreign(facts);
    const options = 'say start: all, new, a sequence, a time or fromMirror, or previously: OLD-NAME';
    // What is gone may have been of this lane, or of somebody else.
    if (facts.vanishing === 'consumed' && facts.lastSequence > facts.messages && !isAccounted)
      throw new FailureError('start-required', `${stream} had records that nobody accounts for: ${options}`);
    if (foreign === undefined) return { at: 'all' };
    throw new FailureError(
      'start-required',
      `${stream} holds records that no lane wrote, as at ${foreign}: ${options}`,
    );
  }
  switch (start.at) {
    case 'all':
      return { at: 'all' };
    case 'sequence':
    case 'time':
      return start;
    case 'new':
      // It was new once; what came since is not to be left out because the sink lost what it held.
      return began === undefined ? { at: 'new' } : { at: 'sequence', sequence: began.sequence + 1 };
    case 'fromMirror':
      return { at: 'copies', copies: await census.copies(sourceStream, facts) };
  }
}
