import type { GapStatus, LaneStatus, NatsStatus } from '../ops/status.ts';
import type { PeerPlan, Plan } from '../topology/plan.ts';
import type { Channel, ChannelEvents, Dialer } from '../transport/channel.ts';
import { createMemoryDialer } from '../transport/memory-dialer.ts';
import type { Failure } from '../wire/reasons.ts';
import { ClusterEnd, type ClusterEndOptions } from './cluster-end.ts';
import { servedPlan } from './served.ts';

/** For each of them the same; the plan is that of the own one. */
export type EndsOptions = ClusterEndOptions;

/** The clusters that a daemon works for: its own, and those that it serves besides. */
export class Ends {
  readonly #options: EndsOptions;
  readonly main: ClusterEnd;
  /** Clusters besides the own one, by name. */
  readonly #served = new Map<string, ClusterEnd>();
  /** Ends that the file lost, until they have ended. */
  readonly #ending = new Set<Promise<void>>();
  #plan: Plan;
  #generation: number;

  constructor(options: EndsOptions) {
    this.#options = options;
    this.#plan = options.plan;
    this.#generation = options.generation;
    this.main = new ClusterEnd({ ...options, dialer: (peer) => this.#dialer(peer) });
  }

  get node(): string {
    return this.#options.node;
  }

  start(): void {
    this.#reconcileServed();
    this.main.start();
  }

  /** Another version of the file. */
  apply(plan: Plan, generation: number): void {
    this.#plan = plan;
    this.#generation = generation;
    // The served clusters first: what is new there has to be known when the lanes to it start.
    this.#reconcileServed();
    this.main.apply(plan, generation);
  }

  async drain(deadlineMs: number): Promise<void> {
    await Promise.all(this.all().map((end) => end.drain(deadlineMs)));
  }

  /** First of two steps: the lanes end, and peers are told why. */
  async end(failure: Failure): Promise<void> {
    await Promise.all(this.all().map((end) => end.end(failure)));
  }

  /** Second step: after the peers had time to hear it. */
  async close(): Promise<void> {
    await Promise.all([...this.all().map((end) => end.close()), ...this.#ending]);
  }

  servedStatus(): (NatsStatus & { readonly cluster: string })[] {
    return [...this.#served.values()].map((end) => ({ cluster: end.cluster, ...end.natsStatus() }));
  }

  /** Undefined while a ledger has not been read. */
  gapStatus(): GapStatus[] | undefined {
    const known = this.all().map((end) => end.gaps.status());
    return known.every((gaps) => gaps !== undefined) ? known.flat() : undefined;
  }

  laneStatus(nowMs: number): LaneStatus[] {
    return this.all().flatMap((end) => end.laneStatus(nowMs));
  }

  /** Those that there are by now. */
  all(): ClusterEnd[] {
    return [this.main, ...this.#served.values()];
  }

  #dialer(peer: PeerPlan): Dialer | undefined {
    return peer.nats === undefined ? this.#options.dialer(peer) : this.#inside(this.#plan.cluster, peer.cluster);
  }

  /** The way to a cluster that is served here. */
  #inside(self: string, cluster: string): Dialer {
    const down: Failure = { reason: 'unreachable', detail: `${cluster} is not served at the moment` };
    const accept = (channel: Channel): ChannelEvents | Failure => this.#served.get(cluster)?.accept(channel) ?? down;
    return createMemoryDialer({ self, peer: cluster, trustDomain: this.#plan.trustDomain, accept });
  }

  /** Ends of the clusters that the file has this daemon serve: made, changed, ended. */
  #reconcileServed(): void {
    const wanted = new Map(this.#plan.peers.flatMap((peer) => (peer.nats === undefined ? [] : [[peer.cluster, peer]])));
    for (const [cluster, end] of this.#served) {
      const peer = wanted.get(cluster);
      if (peer !== undefined && JSON.stringify(peer.nats) === JSON.stringify(end.plan.nats)) {
        end.apply(servedPlan(this.#plan, peer), this.#generation);
        continue;
      }
      this.#served.delete(cluster);
      const ending = end
        .end({ reason: 'draining', detail: `${cluster} is not served any more, or elsewhere` })
        .then(() => end.close())
        .finally(() => this.#ending.delete(ending));
      this.#ending.add(ending);
    }
    const { rotation: _, ...common } = this.#options;
    for (const [cluster, peer] of wanted) {
      if (this.#served.has(cluster)) continue;
      const end = new ClusterEnd({
        ...common,
        plan: servedPlan(this.#plan, peer),
        generation: this.#generation,
        log: this.#options.log.child({ served: cluster }),
        // Of two that are served, the lower name dials. Which are served by then, the present file says.
        dialer: (other) =>
          cluster < other.cluster && this.#serves(other.cluster) ? this.#inside(cluster, other.cluster) : undefined,
      });
      this.#served.set(cluster, end);
      end.start();
    }
  }

  #serves(cluster: string): boolean {
    return this.#plan.peers.some((peer) => peer.cluster === cluster && peer.nats !== undefined);
  }
}
