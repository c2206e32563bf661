import { createHash } from 'node:crypto';

/** A place in a lane's own source stream. Sequence 0 is the place before the first record. */
export interface Position {
  readonly incarnation: string;
  readonly sequence: number;
}

/** Proof that a position held a certain record: its time at the source and a digest of its payload. */
export interface Witness {
  readonly position: Position;
  readonly seconds: number;
  readonly nanos: number;
  readonly digest: Buffer;
}

/** Size of a Witness's digest. */
export const digestBytes = 16;

/** Digest of a payload for a Witness: the first 16 bytes of SHA-256. Headers are left out, because each hop changes them. */
export function payloadDigest(payload: Uint8Array): Buffer {
  return createHash('sha256').update(payload).digest().subarray(0, digestBytes);
}

export function samePosition(a: Position | undefined, b: Position | undefined): boolean {
  return (
    a === b || (a !== undefined && b !== undefined && a.sequence === b.sequence && a.incarnation === b.incarnation)
  );
}

/** Everything up to `position` being safe at the sink, so is `earlier`. */
export function covers(position: Position, earlier: Position): boolean {
  return position.incarnation === earlier.incarnation && position.sequence >= earlier.sequence;
}

/** `incarnation.sequence`, as in the Causeway-Lane header, logs and status. */
export function formatPosition(position: Position): string {
  return `${position.incarnation}.${position.sequence}`;
}

/** A Witness as JSON, for the checkpoint. */
export interface WitnessJson {
  readonly incarnation: string;
  readonly sequence: number;
  readonly seconds: number;
  readonly nanos: number;
  readonly digest: string;
}

export function witnessToJson(witness: Witness): WitnessJson {
  return {
    incarnation: witness.position.incarnation,
    sequence: witness.position.sequence,
    seconds: witness.seconds,
    nanos: witness.nanos,
    digest: witness.digest.toString('hex'),
  };
}

export function witnessFromJson(json: WitnessJson): Witness {
  return {
    position: { incarnation: json.incarnation, sequence: json.sequence },
    seconds: json.seconds,
    nanos: json.nanos,
    digest: Buffer.from(json.digest, 'hex'),
  };
}
