import type { Store } from '../brokers/store.ts';
import type { Logger } from '../lib/logger.ts';
import { pause } from '../lib/pause.ts';
import { linkFromJson, linkHash } from '../topology/lanes.ts';
import type { Plan } from '../topology/plan.ts';
import type { DeclaredLink } from '../wire/control.ts';
import { failureFrom } from '../wire/reasons.ts';
import { judge, type LearnedLink } from './links.ts';
import { WriteBehind } from './write-behind.ts';

const retryMs = 1000;

export interface LearnedLinksOptions {
  readonly store: Pick<Store, 'learned' | 'saveLearned' | 'forgetLearned'>;
  readonly log: Logger;
  readonly signal: AbortSignal;
  /** The own file, as it is now. */
  readonly plan: () => Plan;
  /** Name of a peer's file, as far as it is known. */
  readonly fileOf: (peer: string) => string | undefined;
}

/**
 * The links that peers declare, as they said it and as the own file judges them. What is accepted is kept in the own cluster
 * (I8), so that it runs at the next start before its declarer is heard of.
 */
export class LearnedLinks {
  readonly #options: LearnedLinksOptions;
  readonly #declared = new Map<string, readonly DeclaredLink[]>();
  readonly #judged = new Map<string, readonly LearnedLink[]>();
  /** What is kept, or is about to be, by peer. */
  readonly #kept = new Map<string, readonly string[]>();
  readonly #writes: WriteBehind;
  /** It is known what was kept. */
  #recalled = false;

  constructor(options: LearnedLinksOptions) {
    this.#options = options;
    const { store, log, signal } = options;
    const write = async (peer: string): Promise<void> => {
      const kept = this.#kept.get(peer);
      await (kept === undefined ? store.forgetLearned(peer) : store.saveLearned(peer, kept));
    };
    this.#writes = new WriteBehind({ write, failed: 'learned-not-saved', log, signal });
  }

  /** By peer, whatever was made of them. */
  get all(): ReadonlyMap<string, readonly LearnedLink[]> {
    return this.#judged;
  }

  of(peer: string): readonly LearnedLink[] {
    return this.#judged.get(peer) ?? [];
  }

  /** True if it is known what the peer declares. */
  has(peer: string): boolean {
    return this.#declared.has(peer);
  }

  /** A complete list of the links that a peer declares. */
  declared(peer: string, links: readonly DeclaredLink[]): void {
    this.#declared.set(peer, links);
    this.#judge(peer, links);
  }

  /** The own file has changed. */
  judgeAgain(): void {
    for (const [peer, links] of this.#declared) this.#judge(peer, links);
  }

  /** The peer is none of ours any more. */
  forget(peer: string): void {
    this.#declared.delete(peer);
    this.#judged.delete(peer);
    this.#kept.delete(peer);
    this.#writes.mark(peer);
  }

  /** Reads what was kept, as soon as the store answers. `found` is told of each peer that had links; one that is unknown is forgotten. */
  async recall(found: (peer: string) => boolean): Promise<void> {
    const { store, log, signal } = this.#options;
    while (!signal.aborted) {
      try {
        for (const [peer, bodies] of await store.learned()) {
          // Heard of meanwhile: that is newer.
          if (this.#declared.has(peer)) continue;
          if (!found(peer)) {
            this.#writes.mark(peer);
            continue;
          }
          this.#kept.set(peer, bodies);
          this.declared(
            peer,
            bodies.flatMap((body) => nameAndHash(body) ?? []),
          );
        }
        this.#recalled = true;
        return;
      } catch (error) {
        log.debug('learned-not-read', { ...failureFrom(error) });
        await pause(retryMs, signal);
      }
    }
  }

  /** What was kept may be lost: all that is known is written again. */
  keepAgain(): void {
    for (const peer of this.#kept.keys()) this.#writes.mark(peer);
  }

  /** Waits, no longer than so, until everything is written that can be. */
  settle(deadlineMs: number): Promise<void> {
    return this.#writes.settle(deadlineMs);
  }

  #judge(peer: string, links: readonly DeclaredLink[]): void {
    const { log, plan, fileOf } = this.#options;
    const before = this.of(peer);
    const judged = links.map((link) => judge(link, peer, plan(), fileOf(peer)));
    for (const { name, failure } of judged) {
      const known = before.find((link) => link.name === name)?.failure?.detail === failure?.detail;
      if (failure !== undefined && !known) log.warn('link-refused', { peer, link: name, ...failure });
    }
    this.#judged.set(peer, judged);
    this.#keep(
      peer,
      links.filter((_, index) => judged[index]!.failure === undefined).map(({ body }) => body),
    );
  }

  #keep(peer: string, bodies: readonly string[]): void {
    const kept = this.#kept.get(peer) ?? (this.#recalled ? [] : undefined);
    if (bodies.length === kept?.length && bodies.every((body, index) => body === kept[index])) return;
    this.#kept.set(peer, bodies);
    this.#writes.mark(peer);
  }
}

/** A stored declaration with its name and hash; undefined if it can no longer be read. */
function nameAndHash(body: string): DeclaredLink | undefined {
  const parsed = linkFromJson(body);
  return parsed.ok ? { name: parsed.link.name, hash: linkHash(parsed.link), body } : undefined;
}
