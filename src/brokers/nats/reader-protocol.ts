import { decimal } from './raw-message.ts';

/** What a consumer says about a message it delivers. One object serves all messages of a reader. */
export class Delivery {
  /** Sequence in the stream. */
  sequence = 0;
  /** Sequence of the consumer: without a hole if nothing was lost on the way. */
  delivered = 0;
  seconds = 0;
  nanos = 0;
  /** Messages that the stream holds behind this one, for this consumer. */
  pending = 0;
  /** Length of what the subjects of all acknowledgements to the consumer begin with. */
  prefixEnd = 0;
}

const dot = 46;
const dots = new Uint16Array(16);

/**
 * Reads an acknowledgement subject: `$JS.ACK.stream.consumer.deliveries.sequence.delivered.time.pending`, or from 2.14 on perhaps
 * `$JS.ACK.domain.account.stream.consumer. ... .pending[.random]` (ADR-15). Throws if it is neither.
 */
export function parseDelivery(reply: Buffer, into: Delivery): void {
  let count = 0;
  for (let i = 0; i < reply.length && count < dots.length; i++) if (reply[i] === dot) dots[count++] = i;
  if (count !== 8 && count !== 10 && count !== 11)
    throw new Error(`not the reply subject of a delivery: ${reply.toString('latin1')}`);
  const first = count === 8 ? 4 : 6;
  into.prefixEnd = dots[first - 1]! + 1;
  into.sequence = decimal(reply, dots[first]! + 1, dots[first + 1]!);
  into.delivered = decimal(reply, dots[first + 1]! + 1, dots[first + 2]!);
  const timeEnd = dots[first + 3]!;
  into.seconds = decimal(reply, dots[first + 2]! + 1, timeEnd - 9);
  into.nanos = decimal(reply, timeEnd - 9, timeEnd);
  into.pending = decimal(reply, timeEnd + 1, count > first + 4 ? dots[first + 4]! : reply.length);
}

/** A status that the server sends instead of a message. */
export interface Status {
  readonly code: number;
  readonly text: string;
  /** Bytes of the pull request that were not used; absent if the status says nothing about one. */
  readonly pendingBytes: number | undefined;
}

/** Reads `NATS/1.0 409 Message Size Exceeds MaxBytes`, and the header of what a pull request leaves unused. */
export function parseStatus(headers: Buffer): Status {
  const [line = '', ...rest] = headers.toString('latin1').split('\r\n');
  const pending = rest.find((header) => /^Nats-Pending-Bytes:/i.test(header));
  return {
    code: Number(line.slice(9, 12)),
    text: line.slice(13),
    pendingBytes: pending === undefined ? undefined : Number(pending.slice(pending.indexOf(':') + 1)),
  };
}
