import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { decodeBatch, type InBatch, isBatchFrame } from './batch.ts';
import {
  FrameSchema,
  OpeningSchema,
  PositionSchema,
  Role,
  type Frame as WireFrame,
  type Opening as WireOpening,
  type Position as WirePosition,
} from './gen/causeway/v1/causeway_pb.ts';
import type { Position, Witness } from './position.ts';
import { FailureError, isReason, type Reason } from './reasons.ts';
import { type Start, startFromWire, wireStart } from './start.ts';
import { toNumber } from './varint.ts';

/** Protocol versions within the major version of the package that this build speaks. */
export const protocolVersions = { min: 1, max: 4 } as const;

/** From this version on an Ack also says what has arrived, and is sent for that alone. */
export const arrivalVersion = 3;

/** From this version on a peer answers the questions of a verification. */
export const verifyVersion = 4;

/** Witnesses in an Opening: the cursor and a few older ones. */
export const maxWitnesses = 16;

/** What the receiver knows when a session opens. */
export interface Opening {
  readonly epoch: number;
  /** Everything up to here is stored; absent for a lane that never stored anything. */
  readonly cursor?: Position;
  /** Records at or before the cursor, newest first. */
  readonly witnesses: readonly Witness[];
  readonly creditLimit: number;
  readonly maxFrameBytes: number;
  /** Only without a cursor; absent: at the first record. */
  readonly start?: Start;
}

export interface Hello {
  readonly kind: 'hello';
  readonly minVersion: number;
  readonly maxVersion: number;
  readonly lane: string;
  readonly role: 'sender' | 'receiver';
  readonly node: string;
  readonly session: string;
  readonly opening?: Opening;
  readonly linkHash: string;
}
export interface Welcome {
  readonly kind: 'welcome';
  readonly version: number;
  readonly node: string;
  readonly opening?: Opening;
}
export interface BatchFrame {
  readonly kind: 'batch';
  readonly batch: InBatch;
}
export interface Gap {
  readonly kind: 'gap';
  readonly epoch: number;
  readonly frame: number;
  readonly stripe: number;
  readonly after: Position;
  readonly upTo: Position;
  readonly reason: Reason;
}
export interface Ack {
  readonly kind: 'ack';
  readonly epoch: number;
  readonly stored: Position | undefined;
  readonly creditLimit: number;
  /** Bytes of records that have arrived in this session, stored or not; 0 before `arrivalVersion`. */
  readonly arrivedBytes: number;
  /** When the last of them did, by the receiver's own monotonic clock. */
  readonly arrivedMs: number;
}
export interface Drain {
  readonly kind: 'drain';
  readonly reason: Reason;
}
export interface Goodbye {
  readonly kind: 'goodbye';
  readonly reason: Reason;
  readonly detail: string;
  readonly retryAfterMs: number;
}
/** A frame of an Exchange. */
export type Frame = Hello | Welcome | BatchFrame | Gap | Ack | Drain | Goodbye;

/** A frame of an Exchange that is not a Batch, as bytes. Batches come from BatchBuilder.frame(). */
export function encodeFrame(frame: Exclude<Frame, BatchFrame>): Buffer {
  const bytes = toBinary(FrameSchema, create(FrameSchema, { body: wireBody(frame) as WireFrame['body'] }));
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function wireBody(frame: Exclude<Frame, BatchFrame>) {
  switch (frame.kind) {
    case 'hello':
      return {
        case: 'hello',
        value: {
          minVersion: frame.minVersion,
          maxVersion: frame.maxVersion,
          lane: frame.lane,
          role: frame.role === 'sender' ? Role.SENDER : Role.RECEIVER,
          node: frame.node,
          session: BigInt(`0x${frame.session}`),
          opening: frame.opening && wireOpening(frame.opening),
          linkHash: frame.linkHash,
        },
      } as const;
    case 'welcome':
      return {
        case: 'welcome',
        value: { version: frame.version, node: frame.node, opening: frame.opening && wireOpening(frame.opening) },
      } as const;
    case 'gap':
      return {
        case: 'gap',
        value: {
          epoch: BigInt(frame.epoch),
          frame: BigInt(frame.frame),
          stripe: frame.stripe,
          after: wirePosition(frame.after),
          upto: wirePosition(frame.upTo),
          reason: frame.reason,
        },
      } as const;
    case 'ack':
      return {
        case: 'ack',
        value: {
          epoch: BigInt(frame.epoch),
          stored: frame.stored && wirePosition(frame.stored),
          creditLimit: BigInt(frame.creditLimit),
          arrivedBytes: BigInt(frame.arrivedBytes),
          arrivedMs: BigInt(frame.arrivedMs),
        },
      } as const;
    case 'drain':
      return { case: 'drain', value: { reason: frame.reason } } as const;
    case 'goodbye':
      return {
        case: 'goodbye',
        value: { reason: frame.reason, detail: frame.detail, retryAfterMs: BigInt(frame.retryAfterMs) },
      } as const;
  }
}

/**
 * Reads a frame of an Exchange. A kind that this version does not know is `undefined` (new kinds are gated by the
 * negotiated version). Throws FailureError `bad-frame`.
 */
export function decodeFrame(bytes: Buffer): Frame | undefined {
  if (isBatchFrame(bytes)) return { kind: 'batch', batch: decodeBatch(bytes) };
  const body = parse(bytes).body;
  switch (body.case) {
    case 'hello': {
      const hello = body.value;
      if (hello.role === Role.UNSPECIFIED) throw new FailureError('bad-frame', 'hello without a role');
      return {
        kind: 'hello',
        minVersion: hello.minVersion,
        maxVersion: hello.maxVersion,
        lane: hello.lane,
        role: hello.role === Role.SENDER ? 'sender' : 'receiver',
        node: hello.node,
        session: hello.session.toString(16).padStart(16, '0'),
        opening: hello.opening && opening(hello.opening),
        linkHash: hello.linkHash,
      };
    }
    case 'welcome': {
      const welcome = body.value;
      return {
        kind: 'welcome',
        version: welcome.version,
        node: welcome.node,
        opening: welcome.opening && opening(welcome.opening),
      };
    }
    case 'gap': {
      const gap = body.value;
      if (!gap.after || !gap.upto || gap.reason === '') throw new FailureError('bad-frame', 'incomplete gap');
      return {
        kind: 'gap',
        epoch: toNumber(gap.epoch),
        frame: toNumber(gap.frame),
        stripe: gap.stripe,
        after: position(gap.after),
        upTo: position(gap.upto),
        // Why a newer peer has them no more may be a word that we do not know; they are gone all the same.
        reason: isReason(gap.reason) ? gap.reason : 'purged',
      };
    }
    case 'ack': {
      const ack = body.value;
      return {
        kind: 'ack',
        epoch: toNumber(ack.epoch),
        stored: ack.stored && position(ack.stored),
        creditLimit: toNumber(ack.creditLimit),
        arrivedBytes: toNumber(ack.arrivedBytes),
        arrivedMs: toNumber(ack.arrivedMs),
      };
    }
    case 'drain':
      return { kind: 'drain', reason: knownReason(body.value.reason) };
    case 'goodbye':
      return {
        kind: 'goodbye',
        reason: knownReason(body.value.reason),
        detail: body.value.detail.slice(0, 500),
        retryAfterMs: Math.min(toNumber(body.value.retryAfterMs), 3_600_000),
      };
    default:
      return undefined;
  }
}

function parse(bytes: Buffer): WireFrame {
  try {
    return fromBinary(FrameSchema, bytes);
  } catch (error) {
    throw new FailureError('bad-frame', 'not a frame', { cause: error });
  }
}

function wireOpening(opening: Opening): WireOpening {
  return create(OpeningSchema, {
    epoch: BigInt(opening.epoch),
    cursor: opening.cursor && wirePosition(opening.cursor),
    witnesses: opening.witnesses.map((witness) => ({
      position: wirePosition(witness.position),
      seconds: witness.seconds,
      nanos: witness.nanos,
      digest: witness.digest,
    })),
    creditLimit: BigInt(opening.creditLimit),
    maxFrameBytes: BigInt(opening.maxFrameBytes),
    start: opening.start && wireStart(opening.start),
  });
}

function opening(wire: WireOpening): Opening {
  if (wire.witnesses.length > maxWitnesses) throw new FailureError('bad-frame', 'too many witnesses');
  return {
    epoch: toNumber(wire.epoch),
    cursor: wire.cursor && position(wire.cursor),
    witnesses: wire.witnesses.map((witness) => {
      if (!witness.position) throw new FailureError('bad-frame', 'witness without a position');
      return {
        position: position(witness.position),
        seconds: witness.seconds,
        nanos: witness.nanos,
        digest: Buffer.from(witness.digest),
      };
    }),
    creditLimit: toNumber(wire.creditLimit),
    maxFrameBytes: toNumber(wire.maxFrameBytes),
    ...(wire.start === undefined ? {} : { start: startFromWire(wire.start) }),
  };
}

function wirePosition(position: Position): WirePosition {
  return create(PositionSchema, { incarnation: position.incarnation, sequence: BigInt(position.sequence) });
}

function position(wire: WirePosition): Position {
  if (wire.incarnation.length > 32) throw new FailureError('bad-frame', 'incarnation label too long');
  return { incarnation: wire.incarnation, sequence: toNumber(wire.sequence) };
}

/** A reason from a newer peer that we do not know keeps its retry behaviour of a lost connection. */
function knownReason(text: string): Reason {
  return isReason(text) ? text : 'connection-lost';
}
