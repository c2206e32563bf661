import { randomInt } from 'node:crypto';
import type { NatsConnection } from 'nats';
import type { Opening } from '../../wire/frame.ts';
import { type Position, payloadDigest, type Witness } from '../../wire/position.ts';
import type { Failure, Reason } from '../../wire/reasons.ts';
import { messageAt, messageFrom, type StreamInfo, streamInfo } from './api.ts';
import { resolveStart } from './source-start.ts';

/** When a record was stored, by which it is known again (Unix time). */
export interface RecordTime {
  readonly seconds: number;
  readonly nanos: number;
}

/** Where a source goes on, and the gap before that if there is one. */
export interface ProvenStart {
  readonly at: Position;
  /** When the record at `at` was stored, if a witness has proven it. */
  readonly time?: RecordTime;
  readonly gap?: { readonly after: Position; readonly upTo: Position; readonly reason: Reason };
  /** The lane begins here: the sink has to know where before the first record. */
  readonly begins?: true;
}

type Verdict = 'match' | 'other' | 'gone';

/**
 * Decides where to read on, from what the sink says it holds. The cursor is believed only if the stream still has, or may have
 * had, the very records that the witnesses describe; `created` is no proof, because it changes on a restore that kept the data and
 * stays when a power cut took the tail and the numbers were used again. `drainedUpTo`: of a stream that is drained, what
 * is left behind there and up to the cursor will be removed, so that it has to be proven itself, by a witness at it or behind it.
 */
export async function proveStart(
  connection: NatsConnection,
  api: string,
  info: StreamInfo,
  { cursor, witnesses, start = { at: 'all' } }: Pick<Opening, 'cursor' | 'witnesses' | 'start'>,
  drainedUpTo?: number,
): Promise<ProvenStart> {
  const { first_seq: first, last_seq: last } = info.state;
  if (cursor === undefined) {
    const incarnation = createdLabel(info);
    const { after, continues } = await resolveStart(connection, api, info, start);
    const at = { incarnation, sequence: after };
    return { ...(continues ? withLoss(at, first) : { at }), begins: true };
  }
  const verdictOf = async (witness: Witness): Promise<Verdict> => {
    // A cursor that a gap moved to a new incarnation has no witnesses of its own yet; the old ones know nothing of it.
    if (witness.position.incarnation !== cursor.incarnation) return 'gone';
    if (witness.position.sequence > last) return 'other';
    const found = await messageAt(connection, api, info.config.name, witness.position.sequence);
    if (found === undefined) return 'gone';
    const same =
      found.seconds === witness.seconds &&
      found.nanos === witness.nanos &&
      payloadDigest(found.payload).equals(witness.digest);
    return same ? 'match' : 'other';
  };

  // The newest witness decides, unless its record is gone by the stream's own limits; then an older one may still speak. It is of the
  // record at the cursor wherever the sink knows that one: below it numbers may be in use again that an older witness knows nothing of.
  let forked = cursor.sequence > last;
  const isUnproven = async (upTo: number): Promise<boolean> => {
    if (drainedUpTo === undefined || Math.max(upTo, drainedUpTo) >= cursor.sequence) return false;
    const left = await messageFrom(connection, api, info.config.name, Math.max(upTo, drainedUpTo) + 1);
    return left !== undefined && left.sequence <= cursor.sequence;
  };
  for (const witness of witnesses) {
    const verdict = await verdictOf(witness);
    if (verdict === 'gone') continue;
    if (verdict === 'other') {
      forked = true;
      continue;
    }
    const { position, seconds, nanos } = witness;
    forked ||= await isUnproven(position.sequence);
    const time = { seconds, nanos };
    if (!forked) return { ...withLoss(cursor, first), ...(position.sequence === cursor.sequence ? { time } : {}) };
    const upTo = { incarnation: newIncarnation(info), sequence: position.sequence };
    return { at: upTo, time, gap: { after: cursor, upTo, reason: 'regressed' } };
  }
  // Nothing is left to prove it by, or there never was, where a lane began or went on behind what was lost. If it is read again without
  // need, what the sink has stored is known by its time.
  if (cursor.sequence > 0 && !cursor.incarnation.startsWith(createdLabel(info))) forked = true;
  forked ||= await isUnproven(0);
  if (!forked) return withLoss(cursor, first);
  const upTo = { incarnation: remadeIncarnation(info, cursor), sequence: Math.max(0, first - 1) };
  return { at: upTo, gap: { after: cursor, upTo, reason: 'recreated' } };
}

/** The cursor holds; what the stream deleted between it and its first record is lost. */
function withLoss(cursor: Position, first: number): ProvenStart {
  if (first <= cursor.sequence + 1) return { at: cursor };
  const upTo = { incarnation: cursor.incarnation, sequence: first - 1 };
  return { at: upTo, gap: { after: cursor, upTo, reason: 'expired' } };
}

/** What a reader knows of the stream it was reading. */
export interface Seen {
  readonly created: string;
  /** Sequence of the last message it read, or behind which it was to begin. */
  readonly sequence: number;
  /** Time of that message, if it was read. */
  readonly time: RecordTime | undefined;
}

/**
 * Whether a reader that had to let go of a stream may go on behind `seen`. It may not if the numbers there mean something else
 * now; then a new session has to prove its cursor. Returns why not.
 */
export async function stillTheSame(
  connection: NatsConnection,
  api: string,
  stream: string,
  seen: Seen,
): Promise<Failure | undefined> {
  const { sequence, time } = seen;
  const known = async (): Promise<'same' | Failure | undefined> => {
    const found = time === undefined ? undefined : await messageAt(connection, api, stream, sequence);
    if (found === undefined) return undefined;
    if (found.seconds === time?.seconds && found.nanos === time.nanos) return 'same';
    return { reason: 'regressed', detail: `${stream} holds another record ${sequence} than before` };
  };
  const first = await known();
  if (first !== undefined) return first === 'same' ? undefined : first;
  const info = await streamInfo(connection, api, stream);
  if (info.created !== seen.created) return { reason: 'recreated', detail: `${stream} was made anew` };
  if (info.state.last_seq < sequence)
    return { reason: 'regressed', detail: `${stream} ends at ${info.state.last_seq}; ${sequence} was there before` };
  // Another one may have been stored in its place since it was asked for. If there is none, it expired, or was never read: what else is
  // known is weaker, and enough unless the stream was restored within these seconds.
  const second = await known();
  return second === 'same' ? undefined : second;
}

/**
 * A label that no other incarnation has: that of the stream as it was made, and some randomness. Lanes that notice the same each take
 * one of their own; that their records are the same is told by sequence and time. The own clock takes no part: set back, it would give a
 * label again (I9).
 */
function newIncarnation(info: StreamInfo): string {
  const random = randomInt(36 ** 4).toString(36);
  return `${createdLabel(info)}${random.padStart(4, '0')}`;
}

/** The label of a stream as it was made, with which all its labels begin. */
function createdLabel({ created }: StreamInfo): string {
  return Math.floor(Date.parse(created)).toString(36);
}

/**
 * The label for a stream that holds nothing of what it held: of one that was made since the cursor got its label, the one that a lane takes
 * which begins there.
 */
function remadeIncarnation(info: StreamInfo, { incarnation }: Position): string {
  const label = createdLabel(info);
  return incarnation.startsWith(label) ? newIncarnation(info) : label;
}
