import { type Failure, failureFrom } from '../wire/reasons.ts';
import type { Accept, Channel, ChannelEnd, ChannelEvents, Dialer, Method } from './channel.ts';
import { memoryPair } from './memory.ts';

export interface MemoryDialerOptions {
  /** The two clusters: the one that dials, and the one that accepts. */
  readonly self: string;
  readonly peer: string;
  readonly trustDomain: string;
  /** The accepting end, as it would take a stream from a listener. */
  readonly accept: Accept;
}

/** Dials a cluster that lives in this very process: lanes inside one daemon that serves two clusters. */
export function createMemoryDialer(options: MemoryDialerOptions): Dialer {
  return new MemoryDialer(options);
}

const noLonger: Failure = { reason: 'draining', detail: 'this daemon no longer serves the peer' };

class MemoryDialer implements Dialer {
  readonly address = undefined;
  readonly #options: MemoryDialerOptions;
  #closed = false;
  readonly #open = new Set<Channel>();
  #onQuiet: (() => void) | undefined;

  constructor(options: MemoryDialerOptions) {
    this.#options = options;
  }

  open(method: Method, events: ChannelEvents): Channel {
    const { self, peer, trustDomain } = this.#options;
    const [near, far] = memoryPair({ method, clusters: [self, peer], trustDomain });
    this.#open.add(near);
    near.attach({
      frame: (bytes) => events.frame(bytes),
      ended: (end: ChannelEnd) => {
        this.#open.delete(near);
        if (this.#open.size === 0) this.#onQuiet?.();
        events.ended(end);
      },
    });
    const answer = this.#closed ? noLonger : this.#ask(far);
    if ('reason' in answer) near.abort(answer);
    else far.attach(answer);
    return near;
  }

  #ask(channel: Channel): ChannelEvents | Failure {
    try {
      return this.#options.accept(channel);
    } catch (thrown) {
      return failureFrom(thrown);
    }
  }

  abandon(failure: Failure): void {
    for (const channel of [...this.#open]) channel.abort(failure);
  }

  async stop(graceMs: number): Promise<void> {
    this.#closed = true;
    if (this.#open.size > 0) {
      let timer: NodeJS.Timeout | undefined;
      await new Promise<void>((resolve) => {
        timer = setTimeout(resolve, graceMs);
        this.#onQuiet = resolve;
      });
      clearTimeout(timer);
    }
    this.close();
  }

  close(): void {
    this.#closed = true;
    this.abandon(noLonger);
  }
}
