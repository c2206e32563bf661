import type { InBatch } from '../wire/batch.ts';
import type { Failure, Reason } from '../wire/reasons.ts';
import { RecordView } from '../wire/record-view.ts';
import type { BatchItem, PoisonItem } from './sink-lane-state.ts';

/** Refusals of a record for what it is: its size, its headers, what the server makes of it. */
const ofRecord: ReadonlySet<Reason> = new Set(['record-refused']);
/** Refusals for where it goes: it may be the record, or the lane as a whole that writes where it must not. */
const ofSubject: ReadonlySet<Reason> = new Set(['sink-subject', 'not-granted', 'nats-permission']);

/** So many records of a lane in a row, with none stored between them, are set aside; then it is taken for the lane that is wrong. */
const mostOfRecord = 100;
const mostOfSubject = 10;

/** True if the record may be to blame: without it, the lane might go on. Anything else is wrong with the lane or with the sink. */
export function mayBePoison({ reason }: Failure): boolean {
  return ofRecord.has(reason) || ofSubject.has(reason);
}

/** True if an answer of the sink concerns the lane of the record that it refused, and no other. */
export function concernsLane(failure: Failure): boolean {
  return mayBePoison(failure) || failure.reason === 'id-taken';
}

/**
 * Whether a refusal is held against the record, once everything before it is stored, rather than against the lane. A subject that is
 * refused says something of the record only where the sink has taken others of this lane, and where nobody mended it for `patienceMs`: a permission
 * that is taken away by mistake, and given back, costs no record its place.
 */
export function isPoison({ failure, position, lane }: PoisonItem, nowMs: number, patienceMs: number): boolean {
  if (!ofSubject.has(failure.reason)) return lane.setAside < mostOfRecord;
  const lasts = lane.refusedForMs(position, nowMs) >= patienceMs;
  return lasts && lane.last !== undefined && lane.setAside < mostOfSubject;
}

/** A batch in three: what went before the record that the walk of an item stands on, that record, and what comes behind it. */
export function splitAt({ batch, view, recordAt, lane, epoch }: BatchItem, failure: Failure) {
  const { incarnation, packed } = batch;
  const { sequence, nextAt } = view;
  const walked = new RecordView(packed.subarray(0, recordAt));
  let count = 0;
  while (walked.next()) count++;
  const lastSequence = count === 0 ? batch.firstSequence - 1 : walked.sequence;
  // Which of the positions without a record were left out, and where, is not known any more: nothing is claimed of them.
  const before: InBatch = { ...batch, packed: walked.buffer, lastSequence, count, filtered: 0, seen: undefined };
  const behind: InBatch = {
    ...batch,
    packed: packed.subarray(nextAt),
    firstSequence: sequence + 1,
    count: batch.count - count - 1,
    filtered: 0,
  };
  const poison: PoisonItem = {
    kind: 'poison',
    lane,
    epoch,
    position: { incarnation, sequence },
    record: packed.subarray(recordAt, nextAt),
    failure,
  };
  return { before, view: walked, poison, behind };
}
