import { basename } from 'node:path';
import { NatsLink } from '../brokers/nats/connection.ts';
import { ControlStore } from '../brokers/nats/control-store.ts';
import { NatsBroker, type NatsLinks } from '../brokers/nats/nats-broker.ts';
import type { Store } from '../brokers/store.ts';
import type { Logger } from '../lib/logger.ts';
import type { MemoryBudget } from '../lib/memory-budget.ts';
import type { Metrics } from '../ops/metrics.ts';
import type { GroupStatus, LaneStatus, LinkStatus, NatsStatus, PeerStatus } from '../ops/status.ts';
import { grantsFor, sinkRights } from '../topology/grants.ts';
import { groupOf, isPeer } from '../topology/groups.ts';
import type { PeerPlan, Plan } from '../topology/plan.ts';
import type { Channel, ChannelEvents, Dialer } from '../transport/channel.ts';
import type { Declaration, Verdicts } from '../wire/control.ts';
import type { Failure } from '../wire/reasons.ts';
import { awaitHello } from './await-hello.ts';
import { GapView } from './gap-view.ts';
import { groupStatus } from './group-status.ts';
import { LaneConsumers } from './lane-consumers.ts';
import { type DesiredLane, LaneSet } from './lane-set.ts';
import { LearnedLinks } from './learned-links.ts';
import { linkStatus } from './link-status.ts';
import { declarationFor, ownLanes, verdictOf } from './links.ts';
import { natsStatus } from './nats-status.ts';
import { Peer } from './peer.ts';
import { Roster } from './roster.ts';
import { type RotationOptions, rotationDefaults } from './rotation.ts';
import { Verifier } from './verifier.ts';

/** Largest frame accepted from a peer: a batch, or one record as large as NATS servers commonly allow. */
export const maxFrameBytes = 16 * 1024 * 1024;
/** How long peers may take to hear that this daemon stops. */
export const graceMs = 1000;
/** How often the roster hears who is there. */
const rosterMs = 60_000;

export interface ClusterEndOptions {
  readonly plan: Plan;
  /** How many versions of the file there were. */
  readonly generation: number;
  readonly node: string;
  readonly version: string;
  readonly log: Logger;
  readonly metrics: Metrics;
  /** Of the process. */
  readonly memory: MemoryBudget;
  /** How to reach a peer that this daemon dials or serves; undefined for one that dials us. */
  readonly dialer: (peer: PeerPlan) => Dialer | undefined;
  /** Default: `rotationDefaults`. */
  readonly rotation?: RotationOptions;
  /** Whether this daemon may still write to sinks; asked for each record. Absent: there is no other one. */
  readonly mayAppend?: (() => boolean) | undefined;
}

/**
 * A cluster that this daemon works for: its NATS connections, its peers, and its ends of all lanes with them. A daemon has one for
 * its own cluster, and one for each other that it serves (`peers.X.nats`).
 */
export class ClusterEnd {
  readonly #options: ClusterEndOptions;
  readonly #log: Logger;
  readonly #stopped = new AbortController();
  readonly store: Store;
  /** What its ledger holds that nobody acknowledged. */
  readonly gaps: GapView;
  readonly verifier: Verifier;
  readonly #links: NatsLinks;
  readonly #roster: Roster;
  readonly #lanes: LaneSet;
  readonly #peers = new Map<string, Peer>();
  readonly #learned: LearnedLinks;
  readonly #consumers: LaneConsumers;
  /** Of peers that the file lost: they may hear the last of us. */
  readonly #closing = new Set<Promise<void>>();
  /** What peers said of the links that this file declares. */
  readonly #verdicts = new Map<string, Verdicts>();
  /** What was last said to a peer of its links. */
  readonly #said = new WeakMap<Peer, string>();
  #plan: Plan;
  #generation: number;
  #draining = false;
  #timer: NodeJS.Timeout | undefined;

  constructor(options: ClusterEndOptions) {
    const { plan, generation, node, log, metrics, memory, mayAppend } = options;
    this.#options = options;
    this.#plan = plan;
    this.#generation = generation;
    this.#log = log;
    const link = (name: string) => new NatsLink({ plan: plan.nats, name, log });
    this.#links = { control: link('control'), reader: link('reader'), writer: link('writer') };
    const store = new ControlStore(this.#links.control, () => this.keepAgain());
    this.store = store;
    this.gaps = new GapView({
      cluster: plan.cluster,
      store,
      log,
      isWanted: () => this.#lanes.hasReceivers,
      isReachable: () => this.#links.control.connection !== undefined,
    });
    const { signal } = this.#stopped;
    const present = () => this.#plan;
    const fileOf = (peer: string) => this.#peers.get(peer)?.file;
    this.#roster = new Roster(store, log, signal);
    this.#learned = new LearnedLinks({ store, log, signal, plan: present, fileOf });
    const broker = new NatsBroker({ cluster: plan.cluster, links: this.#links, store, mayAppend });
    this.#consumers = new LaneConsumers({ store, broker, log, signal, plan: present, learned: this.#learned });
    this.#lanes = new LaneSet({
      cluster: plan.cluster,
      node,
      log,
      broker,
      metrics,
      maxFrameBytes,
      memory,
      open: (peer) => this.#peers.get(peer)?.open,
      nodeOf: (peer) => this.#peers.get(peer)?.node,
    });
    this.verifier = new Verifier({
      broker,
      store,
      lanes: () =>
        this.#lanes.list().map((lane) => ({ ...lane, ...sinkRights(lane.plan, grantsFor(this.#plan, lane.peer)) })),
      versionOf: (peer) => this.#peers.get(peer)?.version,
      send: (peer, frame) => this.#peers.get(peer)?.send(frame),
    });
  }

  get cluster(): string {
    return this.#plan.cluster;
  }

  get plan(): Plan {
    return this.#plan;
  }

  start(): void {
    for (const link of Object.values(this.#links)) link.start();
    this.#reconcilePeers();
    this.#reconcileLanes();
    void this.#recall();
    this.gaps.start();
    this.#timer = setInterval(() => this.#noteMembers(), rosterMs);
    this.#timer.unref();
  }

  /** What an earlier run knew: links run before their declarer is heard of, and members that are away are shown. */
  async #recall(): Promise<void> {
    await this.#learned.recall((peer) => {
      if (!isPeer(this.#plan, peer)) return false;
      if (!this.#peers.has(peer)) this.#addPeer({ cluster: peer, dial: [] });
      return true;
    });
    this.#reconcileLanes();
    void this.#consumers.recall();
    if (!(await this.#roster.load())) return;
    this.#reconcilePeers();
    this.#reconcileLanes();
  }

  /** Another version of the file: what it changes starts, stops or is judged again; everything else goes on untouched. */
  apply(plan: Plan, generation: number): void {
    this.#plan = plan;
    this.#generation = generation;
    this.#reconcilePeers();
    const up = [...this.#peers.values()].filter((peer) => peer.isUp);
    // Told first, so that the other end knows why when lanes end.
    for (const peer of up) this.#declare(peer);
    this.#learned.judgeAgain();
    this.#reconcileLanes();
    for (const peer of up)
      if (this.#learned.has(peer.cluster) && this.#verdictsOn(peer) !== this.#said.get(peer)) this.#answer(peer);
  }

  accept(channel: Channel): ChannelEvents | Failure {
    const { cluster } = channel.peer;
    if (!isPeer(this.#plan, cluster))
      return { reason: 'peer-unknown', detail: `${this.cluster} has no peer ${cluster}` };
    if (this.#draining) return { reason: 'draining', detail: 'the daemon stops' };
    let peer = this.#peers.get(cluster);
    if (peer === undefined) {
      peer = this.#addPeer({ cluster, dial: [] });
      this.#reconcileLanes();
    }
    if (peer.plan.nats !== undefined)
      return { reason: 'name-taken', detail: `the daemon of ${this.cluster} serves ${cluster} itself` };
    if (channel.method === 'control') return peer.accept(channel);
    return awaitHello(channel, (hello) => this.#lanes.accept(channel, hello));
  }

  /** Peers that are being waited for are tried now: what kept them away may have changed. */
  retryPeers(): void {
    for (const peer of this.#peers.values()) peer.retry();
  }

  async drain(deadlineMs: number): Promise<void> {
    this.#draining = true;
    await this.#lanes.drain(deadlineMs);
  }

  /** First of two steps: the lanes end, and peers are told why. */
  async end(failure: Failure): Promise<void> {
    this.#draining = true;
    clearInterval(this.#timer);
    this.gaps.stop();
    this.#noteMembers(true);
    this.verifier.stop();
    for (const peer of this.#peers.values()) peer.stop(failure);
    await Promise.all([this.#lanes.stop(), this.#roster.settle(graceMs), this.#learned.settle(graceMs)]);
    this.#stopped.abort();
  }

  /** Second step: after the peers had time to hear it. */
  async close(): Promise<void> {
    await Promise.all([...this.#closing, ...[...this.#peers.values()].map((peer) => peer.close(graceMs))]);
    this.#peers.clear();
    await Promise.all(Object.values(this.#links).map((link) => link.stop()));
  }

  #addPeer(plan: PeerPlan): Peer {
    const { cluster } = plan;
    const group = groupOf(this.#plan, cluster)?.name;
    const { rotation = rotationDefaults } = this.#options;
    const peer: Peer = new Peer({
      plan,
      self: this.cluster,
      dialer: this.#options.dialer(plan),
      ...(group === undefined ? {} : { group }),
      lastSeenMs: () => this.#roster.lastSeenMs(cluster),
      log: this.#log,
      rotateMs: rotation.everyMs,
      greeting: () => ({
        cluster: this.cluster,
        node: this.#options.node,
        software: `causeway/${this.#options.version}`,
        file: basename(this.#plan.file),
        fileHash: this.#plan.hash,
        generation: this.#generation,
      }),
      changed: (up, failure) => {
        if (this.#peers.get(cluster) !== peer) return;
        if (up) {
          this.#declare(peer);
          this.#note(peer, true);
        }
        this.#lanes.peerChanged(cluster, up, failure);
        if (!up) this.verifier.peerDown(cluster, failure);
      },
      rotated: () => {
        if (this.#peers.get(cluster) !== peer) return;
        this.#declare(peer);
        this.#lanes.rotate(cluster, rotation.drainMs);
        this.verifier.moved(cluster);
      },
      left: () => this.#note(peer, true),
      declaration: (declaration) => this.#onDeclaration(peer, declaration),
      verdicts: (verdicts) => this.#onVerdicts(peer, verdicts),
      verify: (frame) => this.verifier.frame(cluster, frame),
    });
    this.#peers.set(cluster, peer);
    peer.start();
    return peer;
  }

  #removePeer(peer: Peer): void {
    const { cluster } = peer;
    const stays = isPeer(this.#plan, cluster);
    this.#peers.delete(cluster);
    this.#verdicts.delete(cluster);
    if (!stays) this.#learned.forget(cluster);
    const failure: Failure = stays
      ? { reason: 'draining', detail: `the way to ${cluster} was changed` }
      : { reason: 'peer-unknown', detail: `${this.cluster} has no peer ${cluster} any more` };
    peer.stop(failure);
    this.#lanes.peerChanged(cluster, false, failure);
    this.verifier.peerDown(cluster, failure);
    const closing = peer.close(graceMs).finally(() => this.#closing.delete(closing));
    this.#closing.add(closing);
  }

  /** Peers as the file has them now: named ones, and the members of groups that are known. */
  #reconcilePeers(): void {
    if (this.#draining) return;
    const { peers, groups } = this.#plan;
    const named = new Map(peers.map((peer) => [peer.cluster, peer]));
    const members = new Set([
      ...groups.flatMap(({ expect }) => (typeof expect === 'object' ? expect : [])),
      ...this.#roster.clusters,
      ...this.#learned.all.keys(),
    ]);
    for (const peer of [...this.#peers.values()]) {
      const { cluster, group } = peer;
      const plan = named.get(cluster);
      const same =
        plan === undefined
          ? group !== undefined && group === groupOf(this.#plan, cluster)?.name
          : group === undefined && JSON.stringify(plan) === JSON.stringify(peer.plan);
      // Of a member that never came there is nothing but that it was expected.
      const expected = plan !== undefined || members.has(cluster) || peer.isUp;
      if (!same || !expected) this.#removePeer(peer);
    }
    for (const plan of peers) if (!this.#peers.has(plan.cluster)) this.#addPeer(plan);
    for (const cluster of members)
      if (!this.#peers.has(cluster) && groupOf(this.#plan, cluster) !== undefined) this.#addPeer({ cluster, dial: [] });
  }

  #reconcileLanes(): void {
    if (this.#draining) return;
    const lanes = [...this.#peers.keys()].flatMap((peer): DesiredLane[] => {
      const grants = grantsFor(this.#plan, peer);
      const ends = [...ownLanes(this.#plan, peer), ...this.#learned.of(peer).flatMap((link) => link.lanes)];
      return ends.map((lane) => ({ ...lane, rights: sinkRights(lane.plan, grants) }));
    });
    this.#lanes.set(lanes);
    this.#consumers.set(lanes);
  }

  #declare(peer: Peer): void {
    const links = declarationFor(this.#plan, peer.cluster);
    peer.send({ kind: 'declaration', generation: this.#generation, fileHash: this.#plan.hash, links });
  }

  /** A complete list of the links that a peer declares: judge them, answer, and keep them for the next start. */
  #onDeclaration(peer: Peer, declaration: Declaration): void {
    if (this.#peers.get(peer.cluster) !== peer) return;
    peer.fileChanged(declaration.generation, declaration.fileHash);
    this.#learned.declared(peer.cluster, declaration.links);
    this.#reconcileLanes();
    this.#answer(peer);
  }

  /** Tells a peer what became of the links that it declares. One that both declare alike is agreed by that on this side, too. */
  #answer(peer: Peer): void {
    const judged = this.#learned.of(peer.cluster);
    peer.send({ kind: 'verdicts', generation: peer.generation ?? 0, verdicts: judged.map(verdictOf) });
    this.#said.set(peer, this.#verdictsOn(peer));
    for (const { name, hash, failure, lanes } of judged)
      if (failure === undefined && lanes.length === 0) this.#lanes.verdict(peer.cluster, name, hash, undefined);
  }

  #verdictsOn({ cluster }: Peer): string {
    return JSON.stringify(this.#learned.of(cluster).map(verdictOf));
  }

  #onVerdicts(peer: Peer, verdicts: Verdicts): void {
    const { cluster } = peer;
    if (this.#peers.get(cluster) !== peer) return;
    this.#verdicts.set(cluster, verdicts);
    // Of an older version of the file: the answer to the present one follows.
    if (verdicts.generation !== this.#generation) return;
    for (const { link, hash, reason, detail } of verdicts.verdicts)
      this.#lanes.verdict(cluster, link, hash, reason === undefined ? undefined : { reason, detail });
  }

  /** What was kept in the own cluster may be lost: it is written again, as far as it is known. */
  keepAgain(): void {
    for (const kept of [this.#roster, this.#learned, this.#consumers, this.#lanes]) kept.keepAgain();
  }

  #noteMembers(change = false): void {
    for (const peer of this.#peers.values()) if (peer.isUp) this.#note(peer, change);
  }

  #note(peer: Peer, change: boolean): void {
    const { group, cluster, node, lastSeenMs } = peer;
    if (group !== undefined && lastSeenMs !== undefined) this.#roster.seen(cluster, group, node, change);
  }

  natsStatus(): NatsStatus {
    return natsStatus(this.#links.control, this.#plan);
  }

  laneStatus(nowMs: number): LaneStatus[] {
    return this.#lanes.status(nowMs);
  }

  peerStatus(): PeerStatus[] {
    return [...this.#peers.values()].map((peer) => {
      const answered = this.#verdicts.get(peer.cluster)?.generation;
      return { ...peer.status(), ...(answered === undefined || !peer.isUp ? {} : { answeredGeneration: answered }) };
    });
  }

  groupStatus(): GroupStatus[] {
    return this.#plan.groups.map((group) =>
      groupStatus(
        group,
        [...this.#peers.values()].filter((peer) => peer.group === group.name),
        this.#roster.isRead,
      ),
    );
  }

  linkStatus(): LinkStatus[] {
    return linkStatus(this.#plan, [...this.#peers.keys()], this.#learned.all, this.#verdicts);
  }
}
