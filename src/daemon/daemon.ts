import { randomBytes } from 'node:crypto';
import { hostname } from 'node:os';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { NatsLink } from '../brokers/nats/connection.ts';
import { ControlStore } from '../brokers/nats/control-store.ts';
import { EmbeddedServer } from '../brokers/nats/embedded.ts';
import { newest } from '../brokers/nats/server-binary.ts';
import type { Logger } from '../lib/logger.ts';
import type { MemoryBudget } from '../lib/memory-budget.ts';
import { type Admin, startAdmin } from '../ops/admin.ts';
import { AdminError } from '../ops/admin-verb.ts';
import { createMetrics, type Metrics } from '../ops/metrics.ts';
import { type Monitor, startMonitor } from '../ops/monitor.ts';
import type { DaemonStatus } from '../ops/status.ts';
import { type CertificateFiles, clusterOfCertificate, openCertificates } from '../security/certs.ts';
import { identityOf } from '../security/identity.ts';
import { adoptable, diffPlans, pendingOptions } from '../topology/diff.ts';
import { endpointText } from '../topology/endpoint.ts';
import { isPeer } from '../topology/groups.ts';
import { loadTopology } from '../topology/load.ts';
import type { Address, PeerPlan, Plan } from '../topology/plan.ts';
import { formatProblem } from '../topology/problem.ts';
import type { Dialer, Listener } from '../transport/channel.ts';
import { createDialer } from '../transport/grpc-client.ts';
import { startListener } from '../transport/grpc-server.ts';
import { type Failure, FailureError, type Reason } from '../wire/reasons.ts';
import { adminVerbs } from './admin-verbs.ts';
import { graceMs, maxFrameBytes } from './cluster-end.ts';
import { Ends } from './ends.ts';
import { leaseTimes } from './lease.ts';
import { placeOf } from './lease-place.ts';
import { memoryBytes, openMemoryBudget } from './memory.ts';
import { natsStatus } from './nats-status.ts';
import type { RotationOptions } from './rotation.ts';
import { Standby, type Work } from './standby.ts';
import { TopologyWatch } from './topology-watch.ts';

const stopping: Failure = { reason: 'draining', detail: 'the daemon stops' };

export interface DaemonOptions {
  readonly log: Logger;
  readonly version: string;
  /** Default: `rotationDefaults`. */
  readonly rotation?: RotationOptions;
}

export interface Daemon {
  status(): DaemonStatus;
  /** Reads the topology file again and takes over what it changes; a file that cannot be used changes nothing but the status. */
  reload(): void;
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
  readonly #log: Logger;
  readonly #version: string;
  readonly #node = `${hostname()}-${randomBytes(3).toString('hex')}`;
  readonly #startedAtMs = Date.now();
  readonly #stopped = new AbortController();
  readonly #metrics: Metrics;
  readonly #eventLoop = monitorEventLoopDelay({ resolution: 20 });
  /** For the records that all ends hold. */
  readonly #memory: MemoryBudget;
  readonly #rotation: RotationOptions | undefined;
  /** Undefined while another daemon of the cluster is the active one. */
  #ends: Ends | undefined;
  /** Present if there may be several daemons for the cluster, and the connection that its lease is kept over. */
  readonly #standby: { readonly standby: Standby; readonly link: NatsLink } | undefined;
  /** Connections that were not taken, by reason. */
  readonly #refused = new Map<Reason, number>();
  #plan: Plan;
  #generation = 1;
  #loadedAtMs = Date.now();
  #fileError: string | undefined;
  #pending: readonly string[] = [];
  #watch: TopologyWatch | undefined;
  #certs: CertificateFiles | undefined;
  #embedded: EmbeddedServer | undefined;
  #embeddedFailure: Failure | undefined;
  #listener: Listener | undefined;
  #monitor: Monitor | undefined;
  #admin: Admin | undefined;
  #ready = false;
  #draining = false;

  constructor(plan: Plan, { log, version, rotation }: DaemonOptions) {
    this.#plan = plan;
    this.#log = log.child({ cluster: plan.cluster });
    this.#version = version;
    this.#metrics = createMetrics({ version });
    this.#memory = openMemoryBudget(plan.memoryBytes);
    this.#rotation = rotation;
    this.#standby = plan.standby ? this.#makeStandby() : undefined;
  }

  #makeStandby() {
    const { cluster, nats, monitor } = this.#plan;
    const link = new NatsLink({ plan: nats, name: 'lease', log: this.#log });
    const place = placeOf(monitor);
    const standby: Standby = new Standby({
      cluster,
      self: { node: this.#node, ...(place === undefined ? {} : { place }) },
      store: new ControlStore(link, undefined, leaseTimes.answerMs),
      log: this.#log,
      unreachable: () => link.failure,
      begin: (nth) => this.#begin(nth === 1 ? this.#node : `${this.#node}.${nth}`, () => standby.mayWrite()),
    });
    link.listen({ connected: () => standby.lookNow() });
    return { standby, link };
  }

  /** Works for the cluster from now on. To its peers each time is another daemon: nothing is known of the time before. */
  #begin(node: string, mayAppend?: () => boolean): Work {
    const ends = new Ends({
      plan: this.#plan,
      generation: this.#generation,
      node,
      version: this.#version,
      log: this.#log,
      metrics: this.#metrics,
      memory: this.#memory,
      dialer: (peer) => this.#dialer(peer),
      mayAppend,
      ...(this.#rotation === undefined ? {} : { rotation: this.#rotation }),
    });
    this.#ends = ends;
    ends.start();
    return {
      end: async (failure) => {
        if (this.#ends === ends) this.#ends = undefined;
        await ends.end(failure);
      },
      close: () => ends.close(),
      keepAgain: () => ends.main.keepAgain(),
    };
  }

  get monitor(): Address {
    return this.#monitor?.address ?? this.#plan.monitor;
  }

  async start(): Promise<void> {
    const { cluster, trustDomain, tls, monitor, file } = this.#plan;
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
    this.#certs.subscribe(() => this.#ends?.main.retryPeers());
    await this.#startEmbedded();
    await this.#startListener();
    await this.#startAdmin();
    if (this.#standby === undefined) this.#begin(this.#node);
    this.#standby?.link.start();
    this.#standby?.standby.start();
    this.#watch = new TopologyWatch({ file, changed: () => this.reload() });
    this.#ready = true;
    const listen = this.#listener?.address;
    this.#log.info('started', {
      node: this.#node,
      version: this.#version,
      file,
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
      knownPeer: (cluster) => isPeer(this.#plan, cluster),
      accept: (channel) => this.#ends?.main.accept(channel) ?? this.#refusal(),
      maxFrameBytes,
      onRefused: (failure, remote) => {
        this.#refused.set(failure.reason, (this.#refused.get(failure.reason) ?? 0) + 1);
        this.#log.warn('connection-refused', { ...failure, remote });
      },
      onDefect: (detail) => this.#log.warn('transport-defect', { detail }),
    });
  }

  async #startAdmin(): Promise<void> {
    const { admin } = this.#plan;
    if (admin === undefined) return;
    const verbs = adminVerbs({ ends: () => this.#working().all(), log: this.#log });
    this.#admin = await startAdmin({ socket: admin.socket, verbs, log: this.#log });
  }

  /** What a verb works on. */
  #working(): Ends {
    if (this.#ends === undefined) throw new AdminError(this.#refusal().detail);
    return this.#ends;
  }

  #refusal(): Failure {
    return this.#standby?.standby.refusal ?? stopping;
  }

  #dialer(peer: PeerPlan): Dialer | undefined {
    if (peer.dial.length === 0) return undefined;
    const expect = { trustDomain: this.#plan.trustDomain, cluster: peer.cluster };
    const { dial: addresses, proxy } = peer;
    const road = { addresses, ...(proxy === undefined ? {} : { proxy }) };
    return createDialer({ ...road, expect, certs: this.#certs!, identify: identityOf, maxFrameBytes });
  }

  reload(): void {
    if (!this.#ready || this.#draining) return;
    const { cluster, trustDomain, file, hash } = this.#plan;
    const loaded = loadTopology(file, { clusterOf: (cert) => clusterOfCertificate(cert, trustDomain) });
    if (!loaded.ok) {
      const [first] = loaded.problems;
      const more = loaded.problems.length > 1 ? ` (and ${loaded.problems.length - 1} more)` : '';
      this.#fileError = first === undefined ? 'it cannot be used' : `${formatProblem(first)}${more}`;
      this.#log.error('topology-refused', { reason: 'topology-invalid', detail: this.#fileError });
      return;
    }
    this.#fileError = undefined;
    if (loaded.plan.hash === hash) return;
    for (const warning of loaded.warnings) this.#log.warn('topology-warning', { text: formatProblem(warning) });
    const pending = pendingOptions(this.#plan, loaded.plan);
    if (pending.includes('cluster')) {
      this.#fileError = `it is the file of ${loaded.plan.cluster} now; this daemon belongs to ${cluster}`;
      this.#log.error('topology-refused', { reason: 'topology-invalid', detail: this.#fileError });
      return;
    }
    const before = this.#plan;
    this.#plan = adoptable(before, loaded.plan);
    this.#memory.bytes = memoryBytes(this.#plan.memoryBytes);
    this.#pending = pending;
    this.#generation++;
    this.#loadedAtMs = Date.now();
    this.#log.info('topology-loaded', {
      generation: this.#generation,
      hash: this.#plan.hash,
      ...diffPlans(before, this.#plan),
      ...(pending.length === 0 ? {} : { pending }),
    });
    this.#ends?.apply(this.#plan, this.#generation);
    this.#listener?.recheck();
  }

  async drain(deadlineMs: number): Promise<void> {
    this.#draining = true;
    this.#listener?.refuseNew(stopping);
    this.#standby?.standby.close();
    await this.#ends?.drain(deadlineMs);
  }

  async stop(): Promise<void> {
    this.#draining = true;
    this.#ready = false;
    this.#watch?.close();
    await this.#admin?.stop();
    const ends = this.#ends;
    this.#standby?.standby.close();
    await Promise.all([ends?.end(stopping), this.#standby?.standby.settled()]);
    await this.#standby?.standby.release();
    this.#stopped.abort();
    await Promise.all([this.#listener?.stop(graceMs), ends?.close(), this.#standby?.link.stop()]);
    await this.#embedded?.stop();
    this.#certs?.close();
    await this.#monitor?.stop();
    this.#eventLoop.disable();
  }

  /** What is shown of a connection before anything has begun. */
  #unstarted() {
    const failure: Failure = { reason: 'nats-unreachable', detail: 'not connected yet' };
    return { connection: undefined, failure, sinceMs: this.#startedAtMs };
  }

  status(): DaemonStatus {
    const { cluster, file, hash } = this.#plan;
    const nowMs = Date.now();
    const listen = this.#listener?.address;
    const notAfterMs = this.#certs?.notAfterMs;
    const delayMs = this.#eventLoop.percentile(99) / 1e6;
    const ends = this.#ends;
    const main = ends?.main;
    const standby = this.#standby;
    const nats = main?.natsStatus() ?? natsStatus(standby?.link ?? this.#unstarted(), this.#plan);
    const failure = this.#embeddedFailure;
    const gaps = ends?.gapStatus();
    return {
      cluster,
      node: ends?.node ?? this.#node,
      software: `causeway/${this.#version}`,
      startedAtMs: this.#startedAtMs,
      nowMs,
      file: {
        path: file,
        hash,
        generation: this.#generation,
        loadedAtMs: this.#loadedAtMs,
        ...(this.#fileError === undefined ? {} : { error: this.#fileError }),
        ...(this.#pending.length === 0 ? {} : { pending: this.#pending }),
      },
      ready: this.#ready,
      draining: this.#draining,
      ...(standby === undefined ? {} : { standby: standby.standby.status() }),
      nats: { ...nats, ...(failure === undefined ? {} : failure) },
      served: ends?.servedStatus() ?? [],
      peers: main?.peerStatus() ?? [],
      groups: main?.groupStatus() ?? [],
      links: main?.linkStatus() ?? [],
      lanes: ends?.laneStatus(nowMs) ?? [],
      ...(gaps === undefined ? {} : { gaps }),
      memory: {
        rssBytes: process.memoryUsage.rss(),
        budgetBytes: this.#memory.bytes,
        usedBytes: this.#memory.usedBytes,
      },
      ...(Number.isFinite(delayMs) && delayMs > 0 ? { eventLoopDelayMs: delayMs } : {}),
      ...(listen === undefined
        ? {}
        : { listen: endpointText(listen), refusedConnections: Object.fromEntries(this.#refused) }),
      ...(notAfterMs === undefined ? {} : { certificateNotAfterMs: notAfterMs }),
    };
  }
}
