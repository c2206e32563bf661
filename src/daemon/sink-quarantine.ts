import type { QuarantinedRecord, SinkStore } from '../brokers/store.ts';
import type { QuarantineEffect } from '../lane/sink-writer-events.ts';
import type { Logger } from '../lib/logger.ts';
import { pause } from '../lib/pause.ts';
import { formatPosition } from '../wire/position.ts';
import { type Failure, failureFrom, reasons } from '../wire/reasons.ts';
import { RecordView } from '../wire/record-view.ts';

const retryMs = 1000;
/** What may pass is waited for so many times; then the lane says what it waits for. */
const mostTries = 10;

export interface QuarantineContext {
  readonly store: Pick<SinkStore, 'quarantine'>;
  /** The sink stream. */
  readonly stream: string;
  readonly log: Logger;
  readonly replicas: number;
  /** The session that brought the record goes on. */
  readonly isOpen: () => boolean;
  readonly signal: AbortSignal;
}

/**
 * Puts a record that its sink refuses for good into the quarantine. True when it is there, whoever put it there; why not, if it cannot be;
 * false if its session is over before.
 */
export async function setAside(effect: QuarantineEffect, context: QuarantineContext): Promise<boolean | Failure> {
  const { store, stream, log, replicas, isOpen, signal } = context;
  const record = quarantined(effect, stream);
  const { lane, position, subject, reason, detail } = record;
  for (let tries = 1; isOpen(); tries++) {
    try {
      await store.quarantine(record, replicas);
      log.warn('quarantined', { lane, position: formatPosition(position), subject, reason, detail });
      return true;
    } catch (error) {
      const failure = failureFrom(error);
      log.warn('quarantine-failed', { lane, position: formatPosition(position), ...failure });
      if (reasons[failure.reason].retry === 'park') return failure;
      if (tries >= mostTries) return { reason: 'quarantine-unavailable', detail: failure.detail };
      await pause(retryMs, signal);
    }
  }
  return false;
}

function quarantined({ lane, position, record, failure }: QuarantineEffect, stream: string): QuarantinedRecord {
  const view = new RecordView(record);
  view.next();
  const { buffer, sequence, seconds, nanos } = view;
  const text = (start: number, end: number): string => buffer.toString('utf8', start, end);
  const source = `${lane.from}/${lane.sourceStream}`;
  const identity = text(view.identityStart, view.identityEnd);
  const way = text(view.pathStart, view.pathEnd);
  const own = `${source}/${position.incarnation}/${sequence}/${seconds}${String(nanos).padStart(9, '0')}`;
  const origin = identity === '' ? own : identity;
  const subject = text(view.subjectStart, view.subjectEnd);
  const target = lane.map(subject, origin.slice(0, Math.max(0, origin.indexOf('/'))));
  const headers = buffer.subarray(view.headersStart, view.headersEnd);
  const payload = buffer.subarray(view.payloadStart, view.payloadEnd);
  return {
    lane: lane.id,
    stream,
    position,
    seconds,
    nanos,
    subject,
    ...(target === undefined ? {} : { target }),
    origin,
    ...(identity === '' ? {} : { path: way === '' ? source : `${way},${source}` }),
    ...failure,
    at: new Date().toISOString(),
    headerBytes: headers.length,
    payloadBytes: payload.length,
    headers,
    payload,
  };
}
