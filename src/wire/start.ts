import { create } from '@bufbuild/protobuf';
import { StartSchema, type Start as WireStart } from './gen/causeway/v1/causeway_pb.ts';
import { FailureError } from './reasons.ts';
import { toNumber } from './varint.ts';

/** Where a lane begins of which the sink holds nothing. Decided at the sink's end, resolved at the source's. */
export type Start =
  | { readonly at: 'all' | 'new' }
  /** At the record of this sequence, or the first one behind it. */
  | { readonly at: 'sequence'; readonly sequence: number }
  /** At the first record that the source stored then (Unix ms) or later. */
  | { readonly at: 'time'; readonly timeMs: number }
  /** Behind what JetStream copied to the sink before. */
  | { readonly at: 'copies'; readonly copies: readonly Copies[] };

/** What one JetStream source, or a mirror, has copied to the sink from a stream with the name of the lane's source. */
export interface Copies {
  /** STREAM or STREAM:HASH as in Nats-Stream-Source; empty for a mirror. */
  readonly index: string;
  /** The sink still has this source. */
  readonly active: boolean;
  /** The newest ones, newest first. */
  readonly records: readonly CopiedRecord[];
}

export interface CopiedRecord {
  /** At the source. */
  readonly sequence: number;
  /** As in Witness. */
  readonly digest: Buffer;
  /** When the source stored it; only a mirror knows. */
  readonly time?: { readonly seconds: number; readonly nanos: number };
}

/** Version of the protocol from which on a sender knows Start. An older one begins at its first record. */
export const startVersion = 2;
/** Bounds of an Opening, however many sources a sink has had. */
export const maxCopies = 64;
export const maxCopiedRecords = 16;
const maxIndexLength = 512;

export function wireStart(start: Start): WireStart {
  switch (start.at) {
    case 'all':
    case 'new':
      return create(StartSchema, { at: { case: start.at, value: {} } });
    case 'sequence':
      return create(StartSchema, { at: { case: 'sequence', value: BigInt(start.sequence) } });
    case 'time':
      return create(StartSchema, { at: { case: 'timeMs', value: BigInt(start.timeMs) } });
    case 'copies': {
      const copies = start.copies.map(({ index, active, records }) => ({
        index,
        active,
        records: records.map(({ sequence, digest, time }) => ({ sequence: BigInt(sequence), digest, ...time })),
      }));
      return create(StartSchema, { at: { case: 'copies', value: { copies } } });
    }
  }
}

/** Throws FailureError `bad-frame` for a start that this version does not know: to begin elsewhere would not be what was asked for. */
export function startFromWire({ at }: WireStart): Start {
  switch (at.case) {
    case 'all':
    case 'new':
      return { at: at.case };
    case 'sequence':
      return { at: 'sequence', sequence: toNumber(at.value) };
    case 'timeMs':
      return { at: 'time', timeMs: toNumber(at.value) };
    case 'copies': {
      const { copies } = at.value;
      const fits = copies.every(({ index, records }) => index.length <= maxIndexLength && fewEnough(records));
      if (!fits || copies.length > maxCopies) throw new FailureError('bad-frame', 'too much about copies');
      return { at: 'copies', copies: copies.map(copiesFromWire) };
    }
    default:
      throw new FailureError('bad-frame', 'a start of an unknown kind');
  }
}

type WireCopies = Extract<WireStart['at'], { case: 'copies' }>['value']['copies'][number];

function fewEnough(records: WireCopies['records']): boolean {
  return records.length <= maxCopiedRecords;
}

function copiesFromWire({ index, active, records }: WireCopies): Copies {
  return {
    index,
    active,
    records: records.map(({ sequence, digest, seconds, nanos }) => ({
      sequence: toNumber(sequence),
      digest: Buffer.from(digest),
      ...(index === '' ? { time: { seconds, nanos } } : {}),
    })),
  };
}
