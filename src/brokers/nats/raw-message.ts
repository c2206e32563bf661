import type { Msg, MsgHdrs } from 'nats';

/** The private shape of a message in the pinned client: bytes as they came, without strings or header maps. */
interface RawShape {
  readonly _msg: { readonly subject: Uint8Array; readonly reply?: Uint8Array; readonly hdr: number };
  readonly _rdata: Uint8Array;
}

const none = Buffer.alloc(0);

function buffer(bytes: Uint8Array | undefined): Buffer {
  return bytes === undefined ? none : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** Subject as bytes. */
export function rawSubject(message: Msg): Buffer {
  return buffer((message as unknown as RawShape)._msg.subject);
}

/** Reply subject as bytes; empty if there is none. */
export function rawReply(message: Msg): Buffer {
  return buffer((message as unknown as RawShape)._msg.reply);
}

/** The header block as it came, from `NATS/1.0` to the empty line; empty if there is none. */
export function rawHeaders(message: Msg): Buffer {
  const { _msg, _rdata } = message as unknown as RawShape;
  return _msg.hdr > 0 ? buffer(_rdata.subarray(0, _msg.hdr)) : none;
}

export function rawPayload(message: Msg): Buffer {
  const { _msg, _rdata } = message as unknown as RawShape;
  return buffer(_msg.hdr > 0 ? _rdata.subarray(_msg.hdr) : _rdata);
}

/** Size as the server counts it for a pull request's byte limit: subject, reply, headers and payload. */
export function rawSize(message: Msg): number {
  const { _msg, _rdata } = message as unknown as RawShape;
  return _msg.subject.length + (_msg.reply?.length ?? 0) + _rdata.length;
}

/** A header block that the client forwards byte for byte: all it asks of headers is `encode()`. */
export class RawHeaders {
  readonly #bytes: Uint8Array;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  encode(): Uint8Array {
    return this.#bytes;
  }

  /** As the type that the client's `publish` wants. */
  get asHeaders(): MsgHdrs {
    return this as unknown as MsgHdrs;
  }
}

/** Reads a decimal number out of bytes. */
export function decimal(bytes: Uint8Array, start: number, end: number): number {
  let value = 0;
  for (let i = start; i < end; i++) value = value * 10 + (bytes[i]! - 48);
  return value;
}
