import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { ControlFrameSchema, type ControlFrame as WireControlFrame } from './gen/causeway/v1/causeway_pb.ts';
import { FailureError, isReason, type Reason } from './reasons.ts';
import { toNumber } from './varint.ts';
import { type VerifyFrame, verifyFromWire, wireVerify } from './verify.ts';

export interface Greeting {
  readonly kind: 'greeting';
  readonly minVersion: number;
  readonly maxVersion: number;
  readonly cluster: string;
  readonly node: string;
  readonly software: string;
  readonly fileHash: string;
  readonly generation: number;
  readonly beatMs: number;
  /** Name of the topology file without its folder; empty if it was not said. */
  readonly file: string;
}
export interface DeclaredLink {
  readonly name: string;
  readonly hash: string;
  readonly body: string;
}
/** Complete: what an earlier declaration had and this one lacks is withdrawn. */
export interface Declaration {
  readonly kind: 'declaration';
  readonly generation: number;
  readonly links: readonly DeclaredLink[];
  /** Of the file that says so. */
  readonly fileHash: string;
}
export interface LinkVerdict {
  readonly link: string;
  readonly hash: string;
  /** Absent: accepted. */
  readonly reason?: Reason;
  readonly detail: string;
}
export interface Verdicts {
  readonly kind: 'verdicts';
  readonly generation: number;
  readonly verdicts: readonly LinkVerdict[];
}
export interface Beat {
  readonly kind: 'beat';
  readonly sentMs: number;
  readonly echoMs: number;
  readonly heldMs: number;
  readonly wallMs: number;
}
export interface ControlDrain {
  readonly kind: 'drain';
  readonly reason: Reason;
}
export interface ControlGoodbye {
  readonly kind: 'goodbye';
  readonly reason: Reason;
  readonly detail: string;
  readonly retryAfterMs: number;
}
/** A frame of the control stream. */
export type ControlFrame = Greeting | Declaration | Verdicts | Beat | ControlDrain | ControlGoodbye | VerifyFrame;

/** Links that one peer may declare to another. */
export const maxDeclaredLinks = 1000;
/** Longest declaration of one link, and its name or hash, in characters. */
const maxLinkBody = 64 * 1024;
const maxLinkName = 256;
/** Slowest beat that a peer may announce: it has to be heard of some time. */
const maxBeatMs = 60_000;

export function encodeControl(frame: ControlFrame): Buffer {
  const bytes = toBinary(
    ControlFrameSchema,
    create(ControlFrameSchema, { body: wireBody(frame) as WireControlFrame['body'] }),
  );
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function wireBody(frame: ControlFrame) {
  switch (frame.kind) {
    case 'greeting':
      return { case: 'greeting', value: { ...frame, generation: BigInt(frame.generation) } } as const;
    case 'declaration':
      return { case: 'declaration', value: { ...frame, generation: BigInt(frame.generation) } } as const;
    case 'verdicts':
      return {
        case: 'verdicts',
        value: {
          generation: BigInt(frame.generation),
          verdicts: frame.verdicts.map((verdict) => ({ ...verdict, reason: verdict.reason ?? '' })),
        },
      } as const;
    case 'beat':
      return {
        case: 'beat',
        value: {
          sentMs: BigInt(frame.sentMs),
          echoMs: BigInt(frame.echoMs),
          heldMs: BigInt(frame.heldMs),
          wallMs: BigInt(frame.wallMs),
        },
      } as const;
    case 'drain':
      return { case: 'drain', value: { reason: frame.reason } } as const;
    case 'goodbye':
      return {
        case: 'goodbye',
        value: { reason: frame.reason, detail: frame.detail, retryAfterMs: BigInt(frame.retryAfterMs) },
      } as const;
    case 'verify':
      return { case: 'verify', value: wireVerify(frame) } as const;
  }
}

/** Reads a control frame; `undefined` for a kind that this version does not know. Throws FailureError `bad-frame`. */
export function decodeControl(bytes: Buffer): ControlFrame | undefined {
  const body = parse(bytes).body;
  switch (body.case) {
    case 'greeting': {
      const { minVersion, maxVersion, cluster, node, software, fileHash, beatMs } = body.value;
      return {
        kind: 'greeting',
        minVersion,
        maxVersion,
        cluster: cluster.slice(0, 64),
        node: node.slice(0, 64),
        software: software.slice(0, 64),
        fileHash: fileHash.slice(0, 64),
        generation: toNumber(body.value.generation),
        beatMs: Math.min(beatMs, maxBeatMs),
        file: body.value.file.slice(0, 128),
      };
    }
    case 'declaration': {
      if (body.value.links.length > maxDeclaredLinks) throw new FailureError('bad-frame', 'too many links declared');
      for (const { name, hash, body: text } of body.value.links)
        if (name.length > maxLinkName || hash.length > maxLinkName || text.length > maxLinkBody)
          throw new FailureError('bad-frame', 'a link of such a length is none');
      return {
        kind: 'declaration',
        generation: toNumber(body.value.generation),
        links: body.value.links.map(({ name, hash, body: text }) => ({ name, hash, body: text })),
        fileHash: body.value.fileHash.slice(0, 64),
      };
    }
    case 'verdicts':
      if (body.value.verdicts.length > maxDeclaredLinks) throw new FailureError('bad-frame', 'too many verdicts');
      return {
        kind: 'verdicts',
        generation: toNumber(body.value.generation),
        verdicts: body.value.verdicts.map(({ link, hash, reason, detail }) => ({
          link: link.slice(0, maxLinkName),
          hash: hash.slice(0, maxLinkName),
          detail: detail.slice(0, 500),
          ...(reason === '' ? {} : { reason: isReason(reason) ? reason : ('not-granted' as const) }),
        })),
      };
    case 'beat':
      return {
        kind: 'beat',
        sentMs: toNumber(body.value.sentMs),
        echoMs: toNumber(body.value.echoMs),
        heldMs: toNumber(body.value.heldMs),
        wallMs: toNumber(body.value.wallMs),
      };
    case 'drain':
      return { kind: 'drain', reason: isReason(body.value.reason) ? body.value.reason : 'draining' };
    case 'goodbye':
      return {
        kind: 'goodbye',
        reason: isReason(body.value.reason) ? body.value.reason : 'connection-lost',
        detail: body.value.detail.slice(0, 500),
        retryAfterMs: Math.min(toNumber(body.value.retryAfterMs), 3_600_000),
      };
    case 'verify':
      return verifyFromWire(body.value);
    default:
      return undefined;
  }
}

function parse(bytes: Buffer): WireControlFrame {
  try {
    return fromBinary(ControlFrameSchema, bytes);
  } catch (error) {
    throw new FailureError('bad-frame', 'not a control frame', { cause: error });
  }
}
