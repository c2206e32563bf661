import type { NatsConnection } from 'nats';
import { payloadDigest } from '../../wire/position.ts';
import { FailureError } from '../../wire/reasons.ts';
import type { CopiedRecord, Copies, Start } from '../../wire/start.ts';
import { messageAt, messageFrom, type StreamInfo } from './api.ts';
import { sourceIndex } from './stream-source.ts';

/** Behind which sequence a lane begins, and whether what the stream lost behind it is a gap. */
export interface ResolvedStart {
  readonly after: number;
  /** Somebody else has carried the records up to `after`: what is gone behind them is lost. */
  readonly continues: boolean;
}

/**
 * Finds the position where a lane begins of which the sink holds nothing. Throws FailureError `start-required` where the stream
 * has not come so far, or copies cannot be proven to be of it.
 */
export async function resolveStart(
  connection: NatsConnection,
  api: string,
  { config: { name }, state }: StreamInfo,
  start: Start,
): Promise<ResolvedStart> {
  const beforeFirst = Math.max(0, state.first_seq - 1);
  const last = state.last_seq;
  switch (start.at) {
    case 'all':
      return { after: beforeFirst, continues: false };
    case 'new':
      return { after: last, continues: false };
    case 'sequence': {
      const after = Math.max(0, start.sequence - 1);
      if (after > last) throw required(`${name} ends at ${last}; the lane begins at ${start.sequence}`);
      return { after: Math.max(after, beforeFirst), continues: false };
    }
    case 'time': {
      const found = await firstSince(start.timeMs, state.first_seq, last, (from) =>
        messageFrom(connection, api, name, from),
      );
      if (found !== undefined) return { after: found - 1, continues: false };
      if (start.timeMs > Date.now())
        throw required(`${name} has no record of ${new Date(start.timeMs).toISOString()} or later yet`);
      return { after: last, continues: false };
    }
    case 'copies': {
      const read = (sequence: number) => messageAt(connection, api, name, sequence);
      const judged: JudgedCopies[] = [];
      for (const copies of start.copies) judged.push(await judgeCopies(copies, last, read));
      const external = /^\$JS\.[^.]+\.API$/.test(api) ? api : undefined;
      return { after: chooseCopies(judged, name, sourceIndex(name, external)), continues: true };
    }
  }
}

function required(detail: string): FailureError {
  return new FailureError('start-required', detail);
}

interface Timed {
  readonly sequence: number;
  readonly seconds: number;
  readonly nanos: number;
}

/**
 * Sequence of the first record stored at `timeMs` (Unix ms) or later; undefined if there is none. `from` gives the first record at a
 * sequence or behind it. Halves the range: works on every version of the server, with some dozens of reads. Times in a
 * stream grow, but for a clock that was set back; then it finds one of the places where the time passes by.
 */
export async function firstSince(
  timeMs: number,
  first: number,
  last: number,
  from: (sequence: number) => Promise<Timed | undefined>,
): Promise<number | undefined> {
  let low = first;
  let high = last + 1;
  let found: number | undefined;
  while (low < high) {
    const middle = Math.floor((low + high) / 2);
    const record = await from(middle);
    if (record !== undefined && record.seconds * 1000 + record.nanos / 1e6 < timeMs) {
      low = record.sequence + 1;
    } else {
      if (record !== undefined) found = record.sequence;
      high = middle;
    }
  }
  return found;
}

/** What the own stream says of copies in the sink. */
export interface JudgedCopies {
  readonly index: string;
  readonly active: boolean;
  /** The highest sequence that is copied. */
  readonly upTo: number;
  readonly proven: boolean;
}

type Read = (
  sequence: number,
) => Promise<{ readonly seconds: number; readonly nanos: number; readonly payload: Buffer } | undefined>;

/**
 * A source's copies are of this stream if its records say so and none says otherwise. In a former mirror records may have been
 * stored behind the mirrored ones: the newest that this stream holds alike, time included, is the last of those.
 */
export async function judgeCopies(copies: Copies, last: number, read: Read): Promise<JudgedCopies> {
  const { index, active, records } = copies;
  let upTo = 0;
  let same = 0;
  let other = 0;
  for (const record of records) {
    const verdict = record.sequence > last ? 'other' : await compare(record, read);
    if (verdict === 'same') same++;
    if (verdict === 'other') other++;
    if (index !== '') {
      upTo = Math.max(upTo, record.sequence);
    } else if (verdict === 'same') {
      upTo = record.sequence;
      break;
    }
  }
  return { index, active, upTo, proven: same > 0 && (index === '' || other === 0) };
}

async function compare({ sequence, digest, time }: CopiedRecord, read: Read): Promise<'same' | 'other' | 'gone'> {
  const found = await read(sequence);
  if (found === undefined) return 'gone';
  const sameTime = time === undefined || (time.seconds === found.seconds && time.nanos === found.nanos);
  return sameTime && payloadDigest(found.payload).equals(digest) ? 'same' : 'other';
}

/**
 * The sequence up to which this stream was copied. Where several sources of one stream name are proven, as by payloads that
 * are all alike, the one that is read through the own domain is meant, or the mirror, which proves more. Throws FailureError
 * `start-required` otherwise.
 */
export function chooseCopies(judged: readonly JudgedCopies[], stream: string, own: string): number {
  if (judged.length === 0) throw required(`the sink holds nothing that JetStream copied from a stream ${stream}`);
  const proven = judged.filter((one) => one.proven);
  const chosen = proven.find(({ index }) => index === own) ?? proven.find(({ index }) => index === '') ?? proven[0];
  const found = judged.map(
    ({ index, upTo, active }) => `${index || 'mirror'} up to ${upTo}${active ? ', active' : ''}`,
  );
  if (chosen === undefined)
    throw required(
      `of what the sink holds nothing is proven to be a copy of this stream ${stream}: ${found.join('; ')}`,
    );
  if (proven.length > 1 && chosen.index !== own && chosen.index !== '')
    throw required(`the sink holds copies of several streams that look like ${stream}: ${found.join('; ')}`);
  if (chosen.active)
    throw required(`the sink still copies ${stream} by itself: take the source out of its configuration first`);
  return chosen.upTo;
}
