import type { Failure } from '../wire/reasons.ts';

/** Daemons that a newer one replaced: as many as are remembered. */
const maxOusted = 100;
/** An attempt of a second daemon under the name of the peer is shown for so long: it comes back every 15 seconds, if it is there. */
const shownMs = 45_000;

/** Which daemons go under the name of one peer, and which of them another one took over from. */
export class Rivals {
  readonly #cluster: string;
  /** Nodes that another one took over from. One that comes back while the other is there is a second daemon under one name. */
  readonly #ousted = new Set<string>();
  /** The node that was last connected. */
  #last: string | undefined;
  /** The node that was refused last because another one is connected. */
  #refused: { readonly node: string; readonly atMs: number } | undefined;

  constructor(cluster: string) {
    this.#cluster = cluster;
  }

  wasOusted(node: string): boolean {
    return this.#ousted.has(node);
  }

  /** Another one has taken the place of this node: should it come back meanwhile, it is refused. */
  oust(node: string): void {
    this.#ousted.delete(node);
    this.#ousted.add(node);
    for (const oldest of this.#ousted) if (this.#ousted.size > maxOusted) this.#ousted.delete(oldest);
  }

  /** This node is connected now. */
  connected(node: string): void {
    // One that was ousted and has come back is no restart of the one that did it: now that one would be the second.
    if (this.#last !== undefined && this.#last !== node && this.#ousted.has(node)) this.oust(this.#last);
    this.#last = node;
    if (this.#refused?.node === node) this.#refused = undefined;
  }

  /** Refuses a node while another one is present; `news`: that was not shown lately. */
  refuse(present: string, node: string): { readonly failure: Failure; readonly news: boolean } {
    const news = this.#refused === undefined || Date.now() - this.#refused.atMs > shownMs;
    this.#refused = { node, atMs: Date.now() };
    return { failure: this.#taken(present, node), news };
  }

  /** The second daemon that was refused lately, while the first one is connected. */
  shown(present: string | undefined): Failure | undefined {
    const refused = this.#refused;
    if (present === undefined || refused === undefined || Date.now() - refused.atMs > shownMs) return undefined;
    return this.#taken(present, refused.node);
  }

  #taken(present: string, refused: string): Failure {
    const detail = `two daemons call themselves ${this.#cluster}: ${present} is connected, ${refused} is refused`;
    return { reason: 'name-taken', detail };
  }
}
