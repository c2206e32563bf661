import type { Endpoint } from '../topology/plan.ts';
import type { Failure } from '../wire/reasons.ts';

/** Which RPC of the service a stream belongs to. */
export type Method = 'control' | 'exchange';

/** Who is at the other end, read from the URI SAN of the certificate of this very connection, never from a message. */
export interface PeerIdentity {
  readonly trustDomain: string;
  readonly cluster: string;
  /** SHA-256 fingerprint of the certificate. */
  readonly fingerprint: string;
  /** End of the certificate's validity, Unix milliseconds. */
  readonly notAfterMs: number;
}

/** How a stream ended. `failure` is absent for a clean end from either side. */
export interface ChannelEnd {
  readonly failure?: Failure;
}

/** What the owner of a Channel wants to hear. All calls come asynchronously, never from inside a Channel method. */
export interface ChannelEvents {
  /** A whole frame. The buffer belongs to the receiver of this call. */
  frame(bytes: Buffer): void;
  /** Exactly once, after which nothing else comes. */
  ended(end: ChannelEnd): void;
}

/**
 * One bidirectional stream of frames. Frames of one channel arrive in order or not at all.
 * Back-pressure is the owner's: `queuedBytes` counts what gRPC has not yet taken, `onTaken` tells when it has.
 */
export interface Channel {
  readonly method: Method;
  readonly peer: PeerIdentity;
  /** Bytes accepted by `send` and not yet taken by HTTP/2. */
  readonly queuedBytes: number;
  /** Queues a frame. `onTaken` is called when HTTP/2 has taken its bytes; not called if the channel ends first. */
  send(frame: Buffer, onTaken?: () => void): void;
  /** Stops and resumes reading; HTTP/2 then holds the sender back. */
  pause(): void;
  resume(): void;
  /**
   * Ends cleanly after what is queued has been written. A clean end of one side ends the whole channel: what the other side still
   * had queued may be dropped there. Reading goes on, unpaused, until `ended`.
   */
  end(): void;
  /** Ends now; what is queued is dropped. The other side sees `connection-lost`. */
  abort(failure: Failure): void;
}

/** The dialling end: one connection to one peer, many channels over it. */
export interface Dialer {
  /** Where new channels go: the address that is being dialled or was reached; undefined while there is none. */
  readonly address: Endpoint | undefined;
  /**
   * Opens a channel. Never throws: a failure to connect arrives as `ended`. `identity` is verified against the
   * expected peer before the first frame is delivered; `channel.peer` is valid from then on.
   */
  open(method: Method, events: ChannelEvents): Channel;
  /**
   * As `open`, over a connection that is made for it. From the moment the peer has accepted the channel that connection takes the
   * new ones; those that are open stay where they are. If it cannot be made, nothing changes. Absent where there is nothing to renew.
   */
  openAnew?(method: Method, events: ChannelEvents): Channel;
  /** The connection does not answer any more: its channels end with `failure` now, and the next one dials anew. */
  abandon(failure: Failure): void;
  /** Ends everything: waits up to `graceMs` for open channels to end by themselves, so that last words arrive, then cuts them. */
  stop(graceMs: number): Promise<void>;
  close(): void;
}

/** The listening end. */
export interface Listener {
  /** The bound address; port 0 in the plan becomes a real one here. */
  readonly address: Endpoint;
  /** No new streams; existing ones go on. */
  refuseNew(failure: Failure): void;
  /** Ends the streams of peers that are not known any more, with `peer-unknown`: call it after the plan changed. */
  recheck(): void;
  /** Ends everything: waits up to `graceMs` for open streams to end by themselves, then cuts them. */
  stop(graceMs: number): Promise<void>;
}

/** Called for each incoming stream whose identity was proven; returns what to tell about it, or a refusal. */
export type Accept = (channel: Channel) => ChannelEvents | Failure;
