import type { Msg } from 'nats';
import { type Failure, FailureError } from '../../wire/reasons.ts';
import { messageFrom } from './api.ts';
import type { NatsLink } from './connection.ts';
import { natsFailure } from './errors.ts';
import { StreamReader } from './stream-reader.ts';

export interface StreamSpanOptions {
  readonly link: NatsLink;
  readonly stream: string;
  /** `created` of the stream, by which it is known again. */
  readonly created: string;
  readonly after: number;
  readonly upTo: number;
  readonly headersOnly: boolean;
  readonly prefetchBytes: number;
  readonly missing: 'source-missing' | 'sink-missing';
  /** A message, in ascending order of the sequences. */
  readonly message: (message: Msg, sequence: number, seconds: number, nanos: number) => void;
  /** A message was taken, and more may be asked for. Default: it is, at once. */
  readonly refill?: (want: () => void) => void;
  readonly signal: AbortSignal;
}

/** Reads every message behind `after` that a stream holds up to a sequence that it has come to. Throws FailureError. */
export function readSpan(options: StreamSpanOptions): Promise<void> {
  const { link, stream, created, after, upTo, headersOnly, prefetchBytes, missing, message, signal } = options;
  const refill = options.refill ?? ((want: () => void) => want());
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
      if (next === undefined || next.sequence > upTo) end();
    };
    const maybeDone = () => void confirm().catch((error: unknown) => end(natsFailure(error, missing)));
    const want = () => reader.want(prefetchBytes);
    const reader = new StreamReader({
      link,
      stream,
      created,
      after,
      headersOnly,
      prefetchBytes,
      missing,
      message: (one, sequence, seconds, nanos, pending) => {
        if (sequence <= upTo) message(one, sequence, seconds, nanos);
        if (sequence >= upTo) {
          end();
          return;
        }
        refill(want);
        if (pending === 0) maybeDone();
      },
      idle: maybeDone,
      failed: end,
    });
    const unlisten = link.listen({ disconnected: end });
    if (signal.aborted) aborted();
    else signal.addEventListener('abort', aborted);
  });
}
