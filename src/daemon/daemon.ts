import { randomBytes } from 'node:crypto';
import { hostname } from 'node:os';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { NatsLink } from '../brokers/nats/connection.ts';
import { ControlStore } from '../brokers/nats/control-store.ts';
import { EmbeddedServer } from '../brokers/nats/embedded.ts';
import { newest } from '../brokers/nats/server-binary.ts';
import type { Logger } from '../lib/logger.ts';
import { pause } from '../lib/pause.ts';
import { createMetrics, type Metrics } from '../ops/metrics.ts';
import { type Monitor, startMonitor } from '../ops/monitor.ts';
import type { DaemonStatus, LinkStatus, NatsStatus } from '../ops/status.ts';
import { type CertificateFiles, openCertificates } from '../security/certs.ts';
import { identityOf } from '../security/identity.ts';
import { linkFromJson, linkHash } from '../topology/lanes.ts';
import type { Address, PeerPlan, Plan } from '../topology/plan.ts';
import type { Channel, ChannelEvents, Dialer, Listener } from '../transport/channel.ts';
import { createDialer } from '../transport/grpc-client.ts';
import { startListener } from '../transport/grpc-server.ts';
import type { Declaration, LinkVerdict, Verdicts } from '../wire/control.ts';
import { type Failure, FailureError, failureFrom } from '../wire/reasons.ts';
import { awaitHello } from './await-hello.ts';
import { type LaneDeps, LaneSet } from './lane-set.ts';
import { declarationFor, judge, type LearnedLink, localLanes, verdictOf } from './links.ts';
import { Peer } from './peer.ts';

/** Largest frame accepted from a peer: a batch, or one record as large as NATS servers commonly allow. */
const maxFrameBytes = 16 * 1024 * 1024;
const retryMs = 1000;
/** How long peers may take to hear that this daemon stops. */
const graceMs = 1000;

export interface DaemonOptions {
  readonly log: Logger;
  readonly version: string;
}

export interface Daemon {
  status(): DaemonStatus;
  /** Finishes what is in flight, at most until the deadline; resolves when everything is settled or the time is over. */
  drain(deadlineMs: number): Promise<void>;
  stop(): Promise<void>;
  readonly monitor: Address;
}

/**
 * Starts the daemon of one cluster. Rejects only for what makes the file unusable here and now: certificates that cannot be read or
 * do not name this cluster, an address that cannot be bound, no nats-server for `embedded` (I7).
 */
export async function startDaemon(plan: Plan, options: DaemonOptions): Promise<Daemon> {
  const daemon = new RunningDaemon(plan, options);
  try {
    await daemon.start();
  } catch (error) {
    await daemon.stop();
    throw error;
  }
  return daemon;
}

class RunningDaemon implements Daemon {
  readonly #plan: Plan;
  readonly #log: Logger;
  readonly #version: string;
  readonly #node = `${hostname()}-${randomBytes(3).toString('hex')}`;
  readonly #startedAtMs = Date.now();
  readonly #stopped = new AbortController();
  readonly #metrics: Metrics;
  readonly #eventLoop = monitorEventLoopDelay({ resolution: 20 });
  readonly #links: { readonly control: NatsLink; readonly reader: NatsLink; readonly writer: NatsLink };
  readonly #store: ControlStore;
  readonly #lanes: LaneSet;
  readonly #peers = new Map<string, Peer>();
  /** Links that peers declare, by peer. */
  readonly #learned = new Map<string, readonly LearnedLink[]>();
  /** What peers said of the links that this file declares, by peer. */
  readonly #verdicts = new Map<string, readonly LinkVerdict[]>();
  #certs: CertificateFiles | undefined;
  #embedded: EmbeddedServer | undefined;
  #embeddedFailure: Failure | undefined;
  #listener: Listener | undefined;
  #monitor: Monitor | undefined;
  #ready = false;
  #draining = false;

  constructor(plan: Plan, { log, version }: DaemonOptions) {
    this.#plan = plan;
    this.#log = log.child({ cluster: plan.cluster });
    this.#version = version;
    this.#metrics = createMetrics({ version });
    const link = (name: string) => new NatsLink({ plan: plan.nats, name, log: this.#log });
    // Three connections, so that a burst of data delays neither the calls nor the other direction.
    this.#links = { control: link('control'), reader: link('reader'), writer: link('writer') };
    this.#store = new ControlStore(this.#links.control);
    const deps: LaneDeps = {
      plan,
      node: this.#node,
      log: this.#log,
      links: this.#links,
      store: this.#store,
      metrics: this.#metrics,
      maxFrameBytes,
      open: (peer) => this.#peers.get(peer)?.open,
    };
    this.#lanes = new LaneSet(deps);
  }

  get monitor(): Address {
    return this.#monitor?.address ?? this.#plan.monitor;
  }

  async start(): Promise<void> {
    const { cluster, trustDomain, tls, monitor } = this.#plan;
    this.#eventLoop.enable();
    this.#monitor = await startMonitor({
      address: monitor,
      status: () => this.status(),
      metrics: this.#metrics,
      log: this.#log,
    });
    this.#certs = await openCertificates(tls, { trustDomain, cluster });
    const { failure, current } = this.#certs;
    if (current === undefined && failure !== undefined) throw new FailureError(failure.reason, failure.detail);
    this.#certs.subscribe(() => {
      for (const peer of this.#peers.values()) peer.retry();
    });
    await this.#startEmbedded();
    for (const link of Object.values(this.#links)) link.start();
    for (const link of this.#plan.links) this.#lanes.add(localLanes(link, cluster, cluster));
    for (const peer of this.#plan.peers) this.#peers.set(peer.cluster, this.#makePeer(peer));
    await this.#startListener();
    void this.#recallLearned();
    for (const peer of this.#peers.values()) peer.start();
    this.#ready = true;
    const listen = this.#listener?.address;
    this.#log.info('started', {
      node: this.#node,
      version: this.#version,
      file: this.#plan.file,
      listen,
      monitor: this.monitor,
    });
  }

  async #startEmbedded(): Promise<void> {
    const plan = this.#plan.nats.embedded;
    if (plan === undefined) return;
    const binary = await newest();
    if (binary === undefined)
      throw new FailureError('embedded-down', 'no nats-server found; set NATS_SERVER or put one on PATH');
    this.#embedded = new EmbeddedServer({
      plan,
      binary,
      serverName: this.#plan.cluster,
      log: this.#log,
      onHealth: (failure) => {
        this.#embeddedFailure = failure;
      },
    });
    await this.#embedded.start(this.#stopped.signal);
  }

  async #startListener(): Promise<void> {
    const { listen, trustDomain } = this.#plan;
    if (listen === undefined) return;
    this.#listener = await startListener({
      address: listen,
      certs: this.#certs!,
      identify: identityOf,
      trustDomain,
      knownPeer: (cluster) => this.#peers.has(cluster),
      accept: (channel) => this.#accept(channel),
      maxFrameBytes,
      onRefused: (failure, remote) => this.#log.warn('connection-refused', { ...failure, remote }),
      onDefect: (detail) => this.#log.warn('transport-defect', { detail }),
    });
  }

  #makePeer(plan: PeerPlan): Peer {
    const { trustDomain, cluster } = this.#plan;
    let dialer: Dialer | undefined;
    if (plan.dial.length > 0) {
      const expect = { trustDomain, cluster: plan.cluster };
      dialer = createDialer({ addresses: plan.dial, expect, certs: this.#certs!, identify: identityOf, maxFrameBytes });
    }
    return new Peer({
      plan,
      self: cluster,
      dialer,
      log: this.#log,
      greeting: () => ({
        cluster,
        node: this.#node,
        software: `causeway/${this.#version}`,
        fileHash: this.#plan.hash,
        generation: 1,
      }),
      changed: (up, failure) => {
        if (up)
          this.#peers
            .get(plan.cluster)
            ?.send({ kind: 'declaration', generation: 1, links: declarationFor(this.#plan, plan.cluster) });
        this.#lanes.peerChanged(plan.cluster, up, failure);
      },
      declaration: (declaration) => this.#onDeclaration(plan.cluster, declaration),
      verdicts: (verdicts) => this.#onVerdicts(plan.cluster, verdicts),
    });
  }

  #accept(channel: Channel): ChannelEvents | Failure {
    const { cluster } = channel.peer;
    const peer = this.#peers.get(cluster);
    if (peer === undefined) return { reason: 'peer-unknown', detail: `${this.#plan.cluster} has no peer ${cluster}` };
    if (this.#draining) return { reason: 'draining', detail: 'the daemon stops' };
    if (channel.method === 'control') return peer.accept(channel);
    return awaitHello(channel, (hello) => this.#lanes.accept(channel, hello));
  }

  /** A complete list of the links that a peer declares: judge them, answer, and keep them for the next start. */
  #onDeclaration(peer: string, declaration: Declaration): void {
    const { cluster, grants, links } = this.#plan;
    const judged = declaration.links.map((link) => judge(link, peer, cluster, grants, links));
    this.#setLearned(peer, judged);
    this.#peers
      .get(peer)
      ?.send({ kind: 'verdicts', generation: declaration.generation, verdicts: judged.map(verdictOf) });
    const accepted = declaration.links.filter((_, i) => judged[i]!.failure === undefined).map(({ body }) => body);
    this.#store.saveLearned(peer, accepted).catch((error: unknown) => {
      this.#log.warn('learned-not-saved', { peer, ...failureFrom(error) });
    });
  }

  #setLearned(peer: string, judged: readonly LearnedLink[]): void {
    for (const { name, failure } of judged)
      if (failure !== undefined) this.#log.warn('link-refused', { peer, link: name, ...failure });
    this.#learned.set(peer, judged);
    this.#lanes.replaceLearned(
      peer,
      judged.flatMap(({ lanes }) => lanes),
    );
  }

  /** Links that were learned before this start run before their declarer is heard of. */
  async #recallLearned(): Promise<void> {
    for (;;) {
      try {
        for (const [peer, bodies] of await this.#store.learned()) {
          if (this.#learned.has(peer) || !this.#peers.has(peer)) continue;
          const { cluster, grants, links } = this.#plan;
          const declared = bodies.flatMap((body) => {
            const name = linkName(body);
            return name === undefined ? [] : [{ ...name, body }];
          });
          this.#setLearned(
            peer,
            declared.map((link) => judge(link, peer, cluster, grants, links)),
          );
        }
        return;
      } catch (error) {
        this.#log.debug('learned-not-read', { ...failureFrom(error) });
        await pause(retryMs, this.#stopped.signal);
        if (this.#stopped.signal.aborted) return;
      }
    }
  }

  #onVerdicts(peer: string, { verdicts }: Verdicts): void {
    this.#verdicts.set(peer, verdicts);
    for (const { link, reason, detail } of verdicts)
      this.#lanes.verdict(peer, link, this.#plan.cluster, reason === undefined ? undefined : { reason, detail });
  }

  async drain(deadlineMs: number): Promise<void> {
    this.#draining = true;
    this.#listener?.refuseNew({ reason: 'draining', detail: 'the daemon stops' });
    await this.#lanes.drain(deadlineMs);
  }

  async stop(): Promise<void> {
    this.#draining = true;
    this.#ready = false;
    for (const peer of this.#peers.values()) peer.stop();
    await this.#lanes.stop();
    this.#stopped.abort();
    await Promise.all([this.#listener?.stop(graceMs), ...[...this.#peers.values()].map((peer) => peer.close(graceMs))]);
    this.#peers.clear();
    await Promise.all(Object.values(this.#links).map((link) => link.stop()));
    await this.#embedded?.stop();
    this.#certs?.close();
    await this.#monitor?.stop();
    this.#eventLoop.disable();
  }

  status(): DaemonStatus {
    const { cluster, file, hash } = this.#plan;
    const nowMs = Date.now();
    const listen = this.#listener?.address;
    const notAfterMs = this.#certs?.notAfterMs;
    const delayMs = this.#eventLoop.percentile(99) / 1e6;
    return {
      cluster,
      node: this.#node,
      software: `causeway/${this.#version}`,
      startedAtMs: this.#startedAtMs,
      nowMs,
      file: { path: file, hash, generation: 1, loadedAtMs: this.#startedAtMs },
      ready: this.#ready,
      draining: this.#draining,
      nats: this.#natsStatus(),
      peers: [...this.#peers.values()].map((peer) => peer.status()),
      links: this.#linkStatus(),
      lanes: this.#lanes.status(nowMs),
      memory: { rssBytes: process.memoryUsage.rss() },
      ...(Number.isFinite(delayMs) && delayMs > 0 ? { eventLoopDelayMs: delayMs } : {}),
      ...(listen === undefined ? {} : { listen: `${listen.host}:${listen.port}` }),
      ...(notAfterMs === undefined ? {} : { certificateNotAfterMs: notAfterMs }),
    };
  }

  #natsStatus(): NatsStatus {
    const { control } = this.#links;
    const { connection } = control;
    const failure = this.#embeddedFailure ?? control.failure;
    return {
      connected: connection !== undefined,
      sinceMs: control.sinceMs,
      embedded: this.#embedded !== undefined,
      ...(failure === undefined ? {} : { reason: failure.reason, detail: failure.detail }),
      ...(connection === undefined
        ? {}
        : { server: connection.getServer(), version: connection.info?.version ?? 'unknown' }),
    };
  }

  #linkStatus(): LinkStatus[] {
    const learned = [...this.#learned].flatMap(([peer, links]) =>
      links.map(({ name, failure }) => ({
        link: name,
        declaredBy: peer,
        peer,
        accepted: failure === undefined,
        ...failure,
      })),
    );
    const own = this.#plan.links.flatMap(({ name, from, to }) => {
      const peers = [...from.clusters, to.cluster].filter((cluster) => cluster !== this.#plan.cluster);
      return peers.flatMap((peer) => {
        const verdict = this.#verdicts.get(peer)?.find(({ link }) => link === name);
        if (verdict === undefined) return [];
        const { reason, detail } = verdict;
        const accepted = reason === undefined;
        return [
          { link: name, declaredBy: this.#plan.cluster, peer, accepted, ...(accepted ? {} : { reason, detail }) },
        ];
      });
    });
    return [...own, ...learned];
  }
}

/** Name and hash of a stored declaration; undefined if it can no longer be read. */
function linkName(body: string): { name: string; hash: string } | undefined {
  const parsed = linkFromJson(body);
  return parsed.ok ? { name: parsed.link.name, hash: linkHash(parsed.link) } : undefined;
}
