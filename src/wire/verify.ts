import { create } from '@bufbuild/protobuf';
import {
  type VerifyBound,
  VerifySchema,
  type VerifyPart as WirePart,
  type VerifySpan as WireSpan,
  type Verify as WireVerify,
} from './gen/causeway/v1/causeway_pb.ts';
import { digestBytes, type Position } from './position.ts';
import { FailureError, isReason, type Reason } from './reasons.ts';
import { toNumber } from './varint.ts';

/** Numbers from the first to the last, both included. */
export interface Span {
  readonly from: number;
  readonly upTo: number;
}

/** A place in a source stream as an operator names it: a sequence, or a time in Unix ms. */
export type VerifyLimit = { readonly sequence: number } | { readonly timeMs: number };

/** First question. To a source with what its sink has said. */
export interface VerifyOpen {
  readonly kind: 'open';
  readonly lane: string;
  readonly cursor?: Position;
  readonly after: number;
  readonly since?: VerifyLimit;
  readonly until?: VerifyLimit;
}
/** What an end knows of itself. */
export interface VerifyOpened {
  readonly kind: 'opened';
  /** Of a sink: how far it has stored. */
  readonly cursor?: Position;
  /** Of a sink: the lane began behind this sequence, as far as that is known. */
  readonly after: number;
  /** Of a source: what is to be compared; absent: nothing. */
  readonly positions?: Span;
  /** First and last sequence of the stream. */
  readonly stream: Span;
  /** Of a sink: gaps of the lane in its ledger, and the records in them as far as they can be counted. */
  readonly gaps: number;
  readonly lost: number;
}
export interface VerifyPlaces {
  readonly kind: 'places';
  readonly places: readonly number[];
}
/** What shall be read, and how it is told. */
export interface VerifyRead {
  readonly kind: 'read';
  /** Records of the lane outside of these do not count. */
  readonly positions: readonly Span[];
  /** Sequences of the stream at this end; none: all of them. */
  readonly stretches: readonly Span[];
  /** A group holds 2^level sequences of one place. */
  readonly level: number;
  /** Only records of these groups. */
  readonly within?: { readonly level: number; readonly groups: readonly number[] };
  /** Single records instead of groups. */
  readonly records: boolean;
}
/** A number of records by one digest. */
export interface VerifyGroup {
  readonly id: number;
  readonly count: number;
  readonly digest: Buffer;
  /** Lowest and highest sequence of the stream at this end. */
  readonly first: number;
  readonly last: number;
}
export interface VerifyRecord {
  /** cluster/stream where it was first seen, its sequence there, and when, in µs since 1970. */
  readonly place: string;
  readonly sequence: number;
  readonly time: number;
  readonly digest: Buffer;
  /** On the lane; 0 at a sink if another lane, or another incarnation of this one, brought it. */
  readonly position: number;
  /** In the stream at this end. */
  readonly at: number;
  /** At a source: the lane does not carry it. */
  readonly leftOut: boolean;
}
/** Where the records of a lane begin in its sink. */
export interface VerifyEdge {
  /** Position of the first one in the stream; 0: there is none. */
  readonly position: number;
  /** Messages missing in the stream in front of it. */
  readonly before: number;
  /** First sequence of the stream after it was read. */
  readonly first: number;
}
export interface VerifyPart {
  readonly kind: 'part';
  readonly read: number;
  readonly total: number;
  readonly done: boolean;
  readonly groups: readonly VerifyGroup[];
  readonly records: readonly VerifyRecord[];
  /** Of a source: the places of its records, as `placeId` has them. */
  readonly places: readonly number[];
  readonly edge?: VerifyEdge;
}
export interface VerifyRefused {
  readonly kind: 'refused';
  readonly reason: Reason;
  readonly detail: string;
}
export type VerifyQuestion =
  | VerifyOpen
  | VerifyPlaces
  | VerifyRead
  | { readonly kind: 'next' }
  | { readonly kind: 'close' };
export type VerifyAnswer = VerifyOpened | VerifyPart | VerifyRefused;

/** A question of a verification, or the answer to one. */
export interface VerifyFrame {
  readonly kind: 'verify';
  /** Of the verification, 16 hex digits. */
  readonly id: string;
  readonly number: number;
  readonly body: VerifyQuestion | VerifyAnswer;
}

/** Most of each that a frame may hold: frames stay small beside the beats, and a peer can make nobody hold more. */
export const verifyLimits = { places: 1000, spans: 64, within: 512, groups: 256, records: 128 } as const;
/** Records of a group of this level are few enough to be told one by one. */
export const recordLevel = 10;
const maxLevel = 40;

export function wireVerify({ id, number, body }: VerifyFrame): WireVerify {
  return create(VerifySchema, { id: BigInt(`0x${id}`), number, body: wireBody(body) as WireVerify['body'] });
}

function wireBody(body: VerifyFrame['body']) {
  switch (body.kind) {
    case 'open': {
      const { lane, cursor, after, since, until } = body;
      const value = {
        lane,
        cursor: cursor && { ...cursor, sequence: BigInt(cursor.sequence) },
        after: BigInt(after),
        since: since && wireLimit(since),
        until: until && wireLimit(until),
      };
      return { case: 'open', value } as const;
    }
    case 'opened': {
      const { cursor, after, positions, stream, gaps, lost } = body;
      const value = {
        cursor: cursor && { ...cursor, sequence: BigInt(cursor.sequence) },
        after: BigInt(after),
        positions: positions && wireSpan(positions),
        stream: wireSpan(stream),
        gaps,
        lost: BigInt(lost),
      };
      return { case: 'opened', value } as const;
    }
    case 'places':
      return { case: 'places', value: { places: body.places.map(BigInt) } } as const;
    case 'read': {
      const { positions, stretches, level, within, records } = body;
      const value = {
        positions: positions.map(wireSpan),
        stretches: stretches.map(wireSpan),
        level,
        withinLevel: within?.level ?? 0,
        within: within?.groups.map(BigInt) ?? [],
        records,
      };
      return { case: 'read', value } as const;
    }
    case 'part':
      return { case: 'part', value: wirePart(body) } as const;
    case 'refused':
      return { case: 'refused', value: { reason: body.reason, detail: body.detail } } as const;
    case 'next':
    case 'close':
      return { case: body.kind, value: {} } as const;
  }
}

function wirePart({ read, total, done, groups, records, places, edge }: VerifyPart) {
  const names = [...new Set(records.map(({ place }) => place))];
  return {
    read: BigInt(read),
    total: BigInt(total),
    done,
    groups: groups.map(({ id, count, digest, first, last }) => ({
      id: BigInt(id),
      count,
      digest,
      first: BigInt(first),
      last: BigInt(last),
    })),
    names,
    records: records.map(({ place, sequence, time, digest, position, at, leftOut }) => ({
      name: names.indexOf(place),
      sequence: BigInt(sequence),
      time: BigInt(time),
      digest,
      position: BigInt(position),
      at: BigInt(at),
      leftOut,
    })),
    places: places.map(BigInt),
    edge: edge && { position: BigInt(edge.position), before: BigInt(edge.before), first: BigInt(edge.first) },
  };
}

function wireSpan({ from, upTo }: Span) {
  return { from: BigInt(from), upTo: BigInt(upTo) };
}

function wireLimit(limit: VerifyLimit) {
  return {
    at:
      'sequence' in limit
        ? ({ case: 'sequence', value: BigInt(limit.sequence) } as const)
        : ({ case: 'timeMs', value: BigInt(limit.timeMs) } as const),
  };
}

/** `undefined` for a kind of question or answer that this version does not know. Throws FailureError `bad-frame`. */
export function verifyFromWire(wire: WireVerify): VerifyFrame | undefined {
  const body = bodyOf(wire.body);
  if (body === undefined) return undefined;
  return { kind: 'verify', id: wire.id.toString(16).padStart(16, '0'), number: wire.number, body };
}

function bodyOf(body: WireVerify['body']): VerifyFrame['body'] | undefined {
  switch (body.case) {
    case 'open': {
      const { lane, cursor, after, since, until } = body.value;
      if (lane.length > 256) throw bad('a lane of such a length is none');
      return {
        kind: 'open',
        lane,
        after: toNumber(after),
        ...(cursor === undefined ? {} : { cursor: positionOf(cursor) }),
        ...(since === undefined ? {} : { since: limitOf(since) }),
        ...(until === undefined ? {} : { until: limitOf(until) }),
      };
    }
    case 'opened': {
      const { cursor, after, positions, stream, gaps, lost } = body.value;
      return {
        kind: 'opened',
        after: toNumber(after),
        stream: stream === undefined ? { from: 0, upTo: 0 } : spanOf(stream),
        gaps,
        lost: toNumber(lost),
        ...(cursor === undefined ? {} : { cursor: positionOf(cursor) }),
        ...(positions === undefined ? {} : { positions: spanOf(positions) }),
      };
    }
    case 'places':
      return { kind: 'places', places: few(body.value.places, verifyLimits.places).map(toNumber) };
    case 'read': {
      const { positions, stretches, level, withinLevel, within, records } = body.value;
      if (level > maxLevel || withinLevel > maxLevel) throw bad('groups of such a size');
      return {
        kind: 'read',
        positions: few(positions, verifyLimits.spans).map(spanOf),
        stretches: few(stretches, verifyLimits.spans).map(spanOf),
        level,
        records,
        ...(within.length === 0
          ? {}
          : { within: { level: withinLevel, groups: few(within, verifyLimits.within).map(toNumber) } }),
      };
    }
    case 'part':
      return partOf(body.value);
    case 'refused': {
      const { reason, detail } = body.value;
      return {
        kind: 'refused',
        reason: isReason(reason) ? reason : 'connection-lost',
        detail: detail.slice(0, 500),
      };
    }
    case 'next':
    case 'close':
      return { kind: body.case };
    default:
      return undefined;
  }
}

function partOf({ read, total, done, groups, records, names, places, edge }: WirePart): VerifyPart {
  return {
    kind: 'part',
    read: toNumber(read),
    total: toNumber(total),
    done,
    groups: few(groups, verifyLimits.groups).map(({ id, count, digest, first, last }) => ({
      id: toNumber(id),
      count,
      digest: digestOf(digest),
      first: toNumber(first),
      last: toNumber(last),
    })),
    records: few(records, verifyLimits.records).map((record) => {
      const place = names[record.name];
      if (place === undefined || place.length > 512) throw bad('a record of no place');
      return {
        place,
        sequence: toNumber(record.sequence),
        time: toNumber(record.time),
        digest: digestOf(record.digest),
        position: toNumber(record.position),
        at: toNumber(record.at),
        leftOut: record.leftOut,
      };
    }),
    places: few(places, verifyLimits.places).map(toNumber),
    ...(edge === undefined
      ? {}
      : {
          edge: { position: toNumber(edge.position), before: toNumber(edge.before), first: toNumber(edge.first) },
        }),
  };
}

function few<T>(list: readonly T[], most: number): readonly T[] {
  if (list.length > most) throw bad(`more than ${most} of what a verification tells at once`);
  return list;
}

function digestOf(bytes: Uint8Array): Buffer {
  if (bytes.length !== digestBytes) throw bad('not a digest');
  return Buffer.from(bytes);
}

function spanOf({ from, upTo }: Pick<WireSpan, 'from' | 'upTo'>): Span {
  return { from: toNumber(from), upTo: toNumber(upTo) };
}

function positionOf({ incarnation, sequence }: { readonly incarnation: string; readonly sequence: bigint }): Position {
  if (incarnation.length > 32) throw bad('incarnation label too long');
  return { incarnation, sequence: toNumber(sequence) };
}

function limitOf({ at }: VerifyBound): VerifyLimit {
  if (at.case === 'sequence') return { sequence: toNumber(at.value) };
  if (at.case === 'timeMs') return { timeMs: toNumber(at.value) };
  throw bad('a limit of an unknown kind');
}

function bad(detail: string): FailureError {
  return new FailureError('bad-frame', detail);
}
