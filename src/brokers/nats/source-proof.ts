import { randomInt } from 'node:crypto';
import type { NatsConnection } from 'nats';
import type { Opening } from '../../wire/frame.ts';
import { type Position, payloadDigest, type Witness } from '../../wire/position.ts';
import type { Reason } from '../../wire/reasons.ts';
import { messageAt, type StreamInfo } from './api.ts';

/** Where a source goes on, and the gap before that if there is one. */
export interface ProvenStart {
  readonly at: Position;
  readonly gap?: { readonly after: Position; readonly upTo: Position; readonly reason: Reason };
}

type Verdict = 'match' | 'other' | 'gone';

/**
 * Decides where to read on, from what the sink says it holds. The cursor is believed only if the stream still has, or may have
 * had, the very records that the witnesses describe; `created` is no proof, because it changes on a restore that kept the data and
 * stays when a power cut took the tail and the numbers were used again.
 */
export async function proveStart(
  connection: NatsConnection,
  api: string,
  info: StreamInfo,
  { cursor, witnesses }: Pick<Opening, 'cursor' | 'witnesses'>,
): Promise<ProvenStart> {
  const { first_seq: first, last_seq: last } = info.state;
  if (cursor === undefined) {
    const incarnation = Math.floor(Date.parse(info.created)).toString(36);
    return { at: { incarnation, sequence: Math.max(0, first - 1) } };
  }
  const verdictOf = async (witness: Witness): Promise<Verdict> => {
    if (witness.position.incarnation !== cursor.incarnation || witness.position.sequence > last) return 'other';
    const found = await messageAt(connection, api, info.config.name, witness.position.sequence);
    if (found === undefined) return 'gone';
    const same =
      found.seconds === witness.seconds &&
      found.nanos === witness.nanos &&
      payloadDigest(found.payload).equals(witness.digest);
    return same ? 'match' : 'other';
  };

  // The newest witness decides, unless its record is gone by the stream's own limits; then an older one may still speak.
  let forked = cursor.sequence > last;
  for (const witness of witnesses) {
    const verdict = await verdictOf(witness);
    if (verdict === 'gone') continue;
    if (verdict === 'other') {
      forked = true;
      continue;
    }
    if (!forked) return withLoss(cursor, first);
    const upTo = { incarnation: newIncarnation(), sequence: witness.position.sequence };
    return { at: upTo, gap: { after: cursor, upTo, reason: 'regressed' } };
  }
  if (!forked) return withLoss(cursor, first);
  const upTo = { incarnation: newIncarnation(), sequence: Math.max(0, first - 1) };
  return { at: upTo, gap: { after: cursor, upTo, reason: 'recreated' } };
}

/** The cursor holds; what the stream deleted between it and its first record is lost. */
function withLoss(cursor: Position, first: number): ProvenStart {
  if (first <= cursor.sequence + 1) return { at: cursor };
  const upTo = { incarnation: cursor.incarnation, sequence: first - 1 };
  return { at: upTo, gap: { after: cursor, upTo, reason: 'expired' } };
}

/** A label that no other incarnation of the stream has: the time it was noticed, and some randomness. */
function newIncarnation(): string {
  return `${Date.now().toString(36)}${randomInt(36 ** 3).toString(36)}`;
}
