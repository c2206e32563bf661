import type { Source } from '../brokers/broker.ts';
import { creditBytes, negotiate } from '../lane/lane-receiver.ts';
import type { DrainReason } from '../lane/lane-sender.ts';
import type { Line } from '../lane/line.ts';
import type { MemoryShare } from '../lib/memory-budget.ts';
import type { LanePlan } from '../topology/plan.ts';
import type { Channel, ChannelEnd, ChannelEvents } from '../transport/channel.ts';
import {
  arrivalVersion,
  decodeFrame,
  encodeFrame,
  type Frame,
  type Goodbye,
  type Hello,
  type Opening,
  protocolVersions,
} from '../wire/frame.ts';
import { type Failure, failureFrom } from '../wire/reasons.ts';
import { startVersion } from '../wire/start.ts';
import type { LaneStats } from './lane-stats.ts';
import { ReceivingEnd } from './receiving-end.ts';
import { SendingEnd } from './sending-end.ts';
import type { SinkSession, SinkSessionEvents } from './sink-session.ts';

/** How long the other side may take to answer Hello: its sink may have a long tail to scan. */
const welcomeTimeoutMs = 60_000;
/** How long a receiver that says Hello without an opening may take to say why. */
const goodbyeTimeoutMs = 5000;

export interface LaneSessionOptions {
  readonly plan: LanePlan;
  readonly role: 'sender' | 'receiver';
  readonly node: string;
  readonly stats: LaneStats;
  readonly maxFrameBytes: number;
  readonly batchBytes: number;
  /** Memory for what a receiver has not stored, and for what a sender has not got rid of. */
  readonly openWindow: () => MemoryShare;
  readonly openOutbox: () => MemoryShare;
  /** What all lanes that are sent to the peer share. */
  readonly line: Line;
  readonly openSource: () => Source;
  readonly openSink: (events: SinkSessionEvents, signal: AbortSignal) => Promise<SinkSession>;
  /** Records may flow. */
  readonly live: () => void;
  /** Exactly once. */
  readonly ended: (failure: Failure | undefined) => void;
}

/**
 * One session of a lane over one channel: the handshake, then the sending or the receiving end. Made by the dialling end with
 * `dial`, by the accepting end with `accept`; whoever receives says with its Opening where the sender goes on.
 */
export class LaneSession {
  readonly #options: LaneSessionOptions;
  readonly #aborted = new AbortController();
  #channel: Channel | undefined;
  #end: SendingEnd | ReceivingEnd | undefined;
  #sink: SinkSession | undefined;
  #memory: MemoryShare | undefined;
  /** What the sender was told. */
  #creditLimit = 0;
  #timer: NodeJS.Timeout | undefined;
  #over = false;
  #parked: Failure | undefined;
  #draining: DrainReason | undefined;

  constructor(options: LaneSessionOptions) {
    this.#options = options;
  }

  get creditBytes(): number | undefined {
    return this.#end instanceof SendingEnd ? this.#end.creditBytes : undefined;
  }

  /** For how long a receiver has stored nothing of what it has, in ms. */
  get stalledMs(): number {
    return this.#end instanceof SendingEnd ? this.#end.stalledMs : 0;
  }

  /** Why the lane waits at a gap: until somebody acknowledges it. */
  get parked(): Failure | undefined {
    return this.#end instanceof SendingEnd ? this.#end.parked : this.#parked;
  }

  get inFlightBytes(): number | undefined {
    return this.#end?.inFlightBytes;
  }

  /**
   * Opens a channel and says Hello under the session's name, 16 hexadecimal digits. A receiver first finds out where it stands; one whose
   * sink fails says so in place of that.
   */
  async dial(open: (events: ChannelEvents) => Channel, name: string): Promise<void> {
    const { role } = this.#options;
    try {
      const opening = role === 'receiver' ? await this.#opening().catch(failureFrom) : undefined;
      if (this.#over) return;
      const failure = opening !== undefined && 'reason' in opening ? opening : undefined;
      const stands = opening !== undefined && 'reason' in opening ? undefined : opening;
      this.#channel = open(this.#events((frame) => this.#onWelcome(frame, stands)));
      this.#timer = this.#timeout(welcomeTimeoutMs, 'no answer to Hello in time');
      this.#hello(name, stands);
      if (failure !== undefined) this.finish(failure);
    } catch (error) {
      this.finish(failureFrom(error));
    }
  }

  #hello(session: string, opening: Opening | undefined): void {
    const { role, plan, node } = this.#options;
    this.#send({
      kind: 'hello',
      minVersion: protocolVersions.min,
      maxVersion: protocolVersions.max,
      lane: plan.id,
      role,
      node,
      session,
      linkHash: plan.linkHash,
      ...(opening === undefined ? {} : { opening }),
    });
  }

  /** Takes over a channel whose Hello was read and found to be for this lane. Returns what the channel shall tell from now on. */
  accept(channel: Channel, hello: Hello): ChannelEvents {
    this.#channel = channel;
    const events = this.#events((frame) => {
      if (frame.kind === 'goodbye') this.#left(frame);
      else this.#fault(`${frame.kind} before Welcome`);
    });
    void this.#welcome(hello);
    return events;
  }

  async #welcome(hello: Hello): Promise<void> {
    const version = negotiate(hello.minVersion, hello.maxVersion);
    if (typeof version !== 'number') {
      this.#refuse(version);
      return;
    }
    try {
      const { role, node } = this.#options;
      if (role === 'sender') {
        if (hello.opening === undefined) {
          // It cannot open, and its Goodbye says why.
          this.#timer = this.#timeout(goodbyeTimeoutMs, 'a receiver without an opening, and no Goodbye of it in time');
          return;
        }
        this.#send({ kind: 'welcome', version, node });
        this.#startSending(hello.opening, version);
      } else {
        const opening = await this.#opening();
        if (this.#over) return;
        if (this.#isBeyond(version, opening)) return;
        this.#send({ kind: 'welcome', version, node, opening });
        this.#startReceiving(version);
      }
    } catch (error) {
      this.#refuse(failureFrom(error));
    }
  }

  #onWelcome(frame: Frame, own: Opening | undefined): void {
    if (frame.kind === 'goodbye') {
      this.#left(frame);
      return;
    }
    if (frame.kind !== 'welcome') {
      this.#fault(`${frame.kind} instead of Welcome`);
      return;
    }
    clearTimeout(this.#timer);
    const version = negotiate(frame.version, frame.version);
    if (typeof version !== 'number') this.#refuse(version);
    else if (own !== undefined) this.#isBeyond(version, own) || this.#startReceiving(version);
    else if (frame.opening === undefined) this.#fault('Welcome of a receiver without an opening');
    else this.#startSending(frame.opening, version);
  }

  /** The other side gives up before the session has begun. */
  #left({ reason, detail, retryAfterMs }: Goodbye): void {
    this.finish({ reason, detail, retryAfterMs });
  }

  /** A sender of an older version would begin at its first record, wherever the lane is to begin: it is refused. */
  #isBeyond(version: number, { start }: Opening): boolean {
    const beyond = version < startVersion && start !== undefined && start.at !== 'all';
    if (beyond) {
      const detail = `the peer speaks version ${version}, in which a lane can begin at the first record only`;
      this.#refuse({ reason: 'version-mismatch', detail });
    }
    return beyond;
  }

  async #opening(): Promise<Opening> {
    const { openWindow, batchBytes, maxFrameBytes } = this.#options;
    const events: SinkSessionEvents = {
      stored: (effect) => this.#end instanceof ReceivingEnd && this.#end.stored(effect),
      parked: (failure) => {
        this.#parked = failure;
      },
      ended: (failure) => (this.#end instanceof ReceivingEnd ? this.#end.refused(failure) : this.#refuse(failure)),
    };
    const sink = await this.#options.openSink(events, this.#aborted.signal);
    this.#sink = sink;
    this.#memory = openWindow();
    const creditLimit = creditBytes(this.#memory, batchBytes);
    this.#creditLimit = creditLimit;
    if (this.#over) this.#release();
    const { epoch, cursor, witnesses, start } = sink;
    return {
      epoch,
      witnesses,
      creditLimit,
      maxFrameBytes,
      ...(cursor === undefined ? {} : { cursor }),
      ...(start === undefined ? {} : { start }),
    };
  }

  #startSending(opening: Opening, version: number): void {
    const { stats, line, live } = this.#options;
    const outbox = this.#options.openOutbox();
    this.#memory = outbox;
    const end = new SendingEnd({
      channel: this.#channel!,
      source: this.#options.openSource(),
      stats,
      opening,
      outbox,
      line: version < arrivalVersion ? undefined : line,
      live,
      ended: (failure) => this.#ended(failure),
    });
    this.#end = end;
    end.start();
    if (this.#draining !== undefined) end.drain(this.#draining);
  }

  #startReceiving(version: number): void {
    const { stats, batchBytes, live } = this.#options;
    this.#end = new ReceivingEnd({
      channel: this.#channel!,
      sink: this.#sink!,
      stats,
      memory: this.#memory!,
      batchBytes,
      creditLimit: this.#creditLimit,
      tellsArrival: version >= arrivalVersion,
      ended: (failure) => this.#ended(failure),
    });
    live();
    if (this.#draining !== undefined) this.#end.drain(this.#draining);
  }

  #events(handshake: (frame: Frame) => void): ChannelEvents {
    return {
      frame: (bytes) => {
        if (this.#over) return;
        try {
          const frame = decodeFrame(bytes);
          if (frame === undefined) return;
          if (this.#end !== undefined) this.#end.frame(frame);
          else handshake(frame);
        } catch (error) {
          this.#refuse(failureFrom(error));
        }
      },
      ended: (end: ChannelEnd) =>
        this.#ended(end.failure ?? { reason: 'connection-lost', detail: 'the peer ended the stream' }),
    };
  }

  /** Finish what is in flight, then end. */
  drain(reason: DrainReason): void {
    this.#draining = reason;
    if (this.#end !== undefined) this.#end.drain(reason);
    else this.finish({ reason, detail: 'no record was sent yet' });
  }

  /** Ends the session now, telling the other side why. */
  finish(failure: Failure): void {
    if (this.#over) return;
    this.#refuse(failure);
  }

  #fault(detail: string): void {
    this.#refuse({ reason: 'bad-frame', detail });
  }

  #refuse(failure: Failure): void {
    if (this.#over) return;
    const { reason, detail, retryAfterMs = 0 } = failure;
    if (this.#channel !== undefined) {
      this.#send({ kind: 'goodbye', reason, detail, retryAfterMs });
      this.#channel.end();
    }
    this.#ended(failure);
  }

  #ended(failure: Failure | undefined): void {
    if (this.#over) return;
    this.#over = true;
    clearTimeout(this.#timer);
    this.#aborted.abort();
    this.#release();
    this.#options.ended(failure);
  }

  /** Lets go of the two ends. What the sink has of the session counts until it is resolved. */
  #release(): void {
    const inFlightBytes = this.#end?.inFlightBytes ?? 0;
    const [sink, memory] = [this.#sink, this.#memory];
    this.#end?.close();
    sink?.close();
    memory?.retire(sink === undefined ? 0 : inFlightBytes);
    void Promise.resolve(sink?.released()).then(() => memory?.close());
  }

  #send(frame: Exclude<Frame, { kind: 'batch' }>): void {
    this.#channel?.send(encodeFrame(frame));
  }

  #timeout(ms: number, detail: string): NodeJS.Timeout {
    const timer = setTimeout(() => {
      this.#channel?.abort({ reason: 'peer-silent', detail });
      this.#ended({ reason: 'peer-silent', detail });
    }, ms);
    timer.unref();
    return timer;
  }
}
