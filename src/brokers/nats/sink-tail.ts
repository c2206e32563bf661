import type { SinkFacts } from '../broker.ts';
import type { NatsLink } from './connection.ts';
import { rawHeaders } from './raw-message.ts';
import { readSpan } from './stream-span.ts';

const prefetchBytes = 4 * 1024 * 1024;

export interface SinkTailOptions {
  readonly link: NatsLink;
  readonly stream: string;
  /** What the stream was a moment ago: its last sequence ends the reading. */
  readonly facts: Pick<SinkFacts, 'created' | 'lastSequence' | 'messages'>;
  readonly after: number;
  /** The header block of a message, in ascending order of the sequences. */
  readonly headers: (sequence: number, block: Buffer) => void;
  readonly signal: AbortSignal;
}

/** Reads the headers of every message behind `after` up to the last one that `facts` speak of. Throws FailureError. */
export async function readHeaders({ link, stream, facts, after, headers, signal }: SinkTailOptions): Promise<void> {
  const { created, lastSequence: upTo, messages } = facts;
  if (upTo <= after || messages === 0) return;
  await readSpan({
    link,
    stream,
    created,
    after,
    upTo,
    headersOnly: true,
    prefetchBytes,
    missing: 'sink-missing',
    message: (message, sequence) => headers(sequence, rawHeaders(message)),
    signal,
  });
}
