import { type Failure, FailureError } from '../../wire/reasons.ts';
import type { SinkFacts } from '../broker.ts';
import { messageFrom } from './api.ts';
import type { NatsLink } from './connection.ts';
import { natsFailure } from './errors.ts';
import { rawHeaders } from './raw-message.ts';
import { StreamReader } from './stream-reader.ts';

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
export function readHeaders({ link, stream, facts, after, headers, signal }: SinkTailOptions): Promise<void> {
  const { created, lastSequence: last, messages } = facts;
  if (last <= after || messages === 0) return Promise.resolve();
  return new Promise<void>((resolve, reject) => {
    const aborted = () => end({ reason: 'draining', detail: 'the daemon stops' });
    const end = (failure?: Failure) => {
      unlisten();
      signal.removeEventListener('abort', aborted);
      reader.close();
      if (failure === undefined) resolve();
      else reject(new FailureError(failure.reason, failure.detail));
    };
    /** The newest messages may have been deleted. That nothing is left is believed only to the stream itself. */
    const confirm = async () => {
      const next = await messageFrom(link.require(), link.api, stream, reader.last + 1);
      if (next === undefined || next.sequence > last) end();
    };
    const maybeDone = () => void confirm().catch((error: unknown) => end(natsFailure(error, 'sink-missing')));
    const reader = new StreamReader({
      link,
      stream,
      created,
      after,
      headersOnly: true,
      prefetchBytes,
      missing: 'sink-missing',
      message: (message, sequence, _seconds, _nanos, pending) => {
        if (sequence <= last) headers(sequence, rawHeaders(message));
        reader.want(prefetchBytes);
        if (sequence >= last) end();
        else if (pending === 0) maybeDone();
      },
      idle: maybeDone,
      failed: end,
    });
    const unlisten = link.listen({ disconnected: end });
    signal.addEventListener('abort', aborted);
  });
}
