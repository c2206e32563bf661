import type { NatsConnection } from 'nats';
import type { Failure } from '../../wire/reasons.ts';
import type { Delivery } from './reader-protocol.ts';

/** A consumer under a name of its own, whose deliveries are acknowledged: it outlives its reader, and is replaced by the next. */
export interface ReaderConsumer {
  readonly name: string;
  /** Names of consumers that have to go before it can be made, its own among them. */
  readonly replaces: readonly string[];
  readonly config: object;
  /** Whether this is the subject of an acknowledgement. */
  acknowledgesAt(subject: string): boolean;
  /** It was made anew: what is not acknowledged comes from the start. */
  made(connection: NatsConnection): void;
  /** Each delivery. `again`: not to be handed on. A failure ends the reader. */
  delivered(delivery: Delivery, reply: Buffer): 'new' | 'again' | Failure;
}
