import { lanesOf, linkBetween } from '../topology/lanes.ts';
import type { Grant, PeerPlan, Plan } from '../topology/plan.ts';

/**
 * The Plan of a cluster that this daemon serves besides its own (`peers.X.nats`), as if a daemon of its own ran there: its
 * peers are the daemon's cluster, and others served that replicate with it; and it allows what the file's links with it need,
 * because one operator answers for both.
 */
export function servedPlan(plan: Plan, { cluster, nats }: PeerPlan): Plan {
  if (nats === undefined) throw new Error(`${cluster} is not served`);
  const links = plan.links.flatMap((link) => linkBetween(link, plan, plan.cluster, cluster) ?? []);
  const grants = links.flatMap((link) =>
    lanesOf(link, plan.cluster).map((lane): Grant => {
      const common = { to: plan.cluster, stream: lane.from === cluster ? lane.sourceStream : lane.sinkStream };
      if (lane.from === cluster) return { ...common, verb: lane.consume === true ? 'consume' : 'read' };
      const create = lane.create === undefined ? {} : { create: { maxBytes: lane.create.maxBytes } };
      return { ...common, verb: 'append', origins: link.origins, ...create };
    }),
  );
  // A replicate link stands in the file of every member.
  const replicas = plan.links.filter(({ kind, from }) => kind === 'replicate' && from.clusters.includes(cluster));
  const others = plan.peers.filter(
    (peer) =>
      peer.nats !== undefined &&
      peer.cluster !== cluster &&
      replicas.some(({ from }) => from.clusters.includes(peer.cluster)),
  );
  return {
    cluster,
    trustDomain: plan.trustDomain,
    tls: plan.tls,
    nats,
    monitor: plan.monitor,
    peers: [plan, ...others].map((peer) => ({ cluster: peer.cluster, dial: [] })),
    groups: [],
    links: replicas,
    grants,
    file: plan.file,
    hash: plan.hash,
  };
}
