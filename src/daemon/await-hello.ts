import type { Channel, ChannelEnd, ChannelEvents } from '../transport/channel.ts';
import { decodeFrame, encodeFrame, type Hello } from '../wire/frame.ts';
import { type Failure, failureFrom } from '../wire/reasons.ts';

/** The first frame of a stream has to come within this time. */
const helloTimeoutMs = 5000;

/** Reads Hello from an incoming stream and hands the stream over to whoever it is for; refuses it with a Goodbye otherwise. */
export function awaitHello(channel: Channel, assign: (hello: Hello) => ChannelEvents | Failure): ChannelEvents {
  let owner: ChannelEvents | undefined;
  let over = false;
  const refuse = ({ reason, detail, retryAfterMs = 0 }: Failure): void => {
    over = true;
    clearTimeout(timer);
    channel.send(encodeFrame({ kind: 'goodbye', reason, detail, retryAfterMs }));
    channel.end();
  };
  const timer = setTimeout(() => refuse({ reason: 'peer-silent', detail: 'no Hello in time' }), helloTimeoutMs);
  timer.unref();
  return {
    frame(bytes: Buffer): void {
      if (owner !== undefined) {
        owner.frame(bytes);
        return;
      }
      if (over) return;
      try {
        const frame = decodeFrame(bytes);
        if (frame?.kind !== 'hello') {
          refuse({ reason: 'bad-frame', detail: 'the first frame is not Hello' });
          return;
        }
        clearTimeout(timer);
        const assigned = assign(frame);
        if ('reason' in assigned) refuse(assigned);
        else owner = assigned;
      } catch (error) {
        refuse(failureFrom(error));
      }
    },
    ended(end: ChannelEnd): void {
      clearTimeout(timer);
      owner?.ended(end);
    },
  };
}
