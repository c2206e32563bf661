/** A connection between a client and a server: two queues of messages, each in order, that can stop, end, or come in late. */
import type { Seed } from '../support/seed.ts';
import type { Owner, VirtualClock } from './clock.ts';

/** What a client writes to its server. */
export type ToServer =
  | {
      readonly kind: 'publish';
      readonly subject: string;
      readonly reply: string;
      readonly headers: Buffer;
      readonly payload: Buffer;
    }
  | { readonly kind: 'subscribe'; readonly pattern: string }
  | { readonly kind: 'unsubscribe'; readonly pattern: string };

/** What a server writes to its client: `inbox` says which subscription it is for. */
export interface ToClient {
  readonly inbox: string;
  readonly subject: string;
  readonly reply: string;
  readonly headers: Buffer;
  readonly payload: Buffer;
}

export interface LineEnds {
  /** The server takes a message in. */
  readonly server: (line: SimLine, message: ToServer) => void;
  /** The client takes one in. */
  readonly client: (message: ToClient) => void;
  /** The server has noticed that the client is gone. */
  readonly gone: (line: SimLine) => void;
}

export class SimLine {
  readonly owner: Owner;
  readonly subscriptions = new Set<string>();
  /** Nothing moves, and nobody is told. */
  frozen = false;
  clientGone = false;
  serverGone = false;
  readonly #clock: VirtualClock;
  readonly #random: Seed;
  readonly #ends: LineEnds;
  #toServer: ToServer[] = [];
  #toClient: ToClient[] = [];
  #movingUp = false;
  #movingDown = false;

  constructor(clock: VirtualClock, random: Seed, owner: Owner, ends: LineEnds) {
    this.#clock = clock;
    this.#random = random;
    this.owner = owner;
    this.#ends = ends;
  }

  get writtenAndNotTaken(): number {
    return this.#toServer.length;
  }

  fromClient(message: ToServer): void {
    if (this.clientGone) return;
    this.#toServer.push(message);
    this.#moveUp();
  }

  fromServer(message: ToClient): void {
    if (this.serverGone) return;
    this.#toClient.push(message);
    this.#moveDown();
  }

  #moveUp(): void {
    if (this.#movingUp || this.frozen || this.serverGone || this.#toServer.length === 0) return;
    this.#movingUp = true;
    this.#clock.after(this.#latencyMs(), undefined, () => {
      this.#movingUp = false;
      if (this.frozen || this.serverGone) return;
      const some = this.#random.next() < 0.3 ? this.#random.between(1, this.#toServer.length) : this.#toServer.length;
      for (const message of this.#toServer.splice(0, some)) this.#ends.server(this, message);
      this.#moveUp();
    });
  }

  #moveDown(): void {
    if (this.#movingDown || this.frozen || this.clientGone || this.#toClient.length === 0) return;
    this.#movingDown = true;
    this.#clock.after(this.#latencyMs(), this.owner, () => {
      this.#movingDown = false;
      if (this.frozen || this.clientGone) return;
      const some = this.#random.next() < 0.3 ? this.#random.between(1, this.#toClient.length) : this.#toClient.length;
      for (const message of this.#toClient.splice(0, some)) if (!this.clientGone) this.#ends.client(message);
      this.#moveDown();
    });
  }

  thaw(): void {
    this.frozen = false;
    this.#moveUp();
    this.#moveDown();
  }

  /**
   * The client gives the connection up, or is no more. A prefix of what it wrote still arrives: at once, or `lateMs` later, when nobody
   * expects it any more.
   */
  leave(lateMs: number): void {
    if (this.clientGone) return;
    this.clientGone = true;
    this.#toClient = [];
    this.#toServer.length = this.#random.between(0, this.#toServer.length);
    this.frozen = lateMs > 0;
    this.#clock.after(lateMs, undefined, () => {
      this.frozen = false;
      for (const message of this.#toServer.splice(0)) if (!this.serverGone) this.#ends.server(this, message);
      this.#serverLeaves();
    });
  }

  /** The server is no more: what it has not taken in never arrives. */
  break(): void {
    this.#toServer = [];
    this.#serverLeaves();
  }

  #serverLeaves(): void {
    if (this.serverGone) return;
    this.serverGone = true;
    this.#ends.gone(this);
  }

  #latencyMs(): number {
    const random = this.#random;
    return random.next() < 0.05 ? random.next() * 40 : 0.1 + random.next() * 3;
  }
}
