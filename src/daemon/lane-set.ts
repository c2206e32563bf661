import type { SinkLane } from '../brokers/broker.ts';
import { streamInfo } from '../brokers/nats/api.ts';
import type { NatsLink } from '../brokers/nats/connection.ts';
import type { ControlStore } from '../brokers/nats/control-store.ts';
import { natsFailure } from '../brokers/nats/errors.ts';
import { JetStreamSource } from '../brokers/nats/js-source.ts';
import type { Logger } from '../lib/logger.ts';
import type { Metrics } from '../ops/metrics.ts';
import type { LaneStatus } from '../ops/status.ts';
import { appendFilter } from '../topology/lanes.ts';
import type { LanePlan, Plan } from '../topology/plan.ts';
import { compileMapping } from '../topology/subjects.ts';
import type { Channel, ChannelEvents } from '../transport/channel.ts';
import type { Hello } from '../wire/frame.ts';
import type { Failure } from '../wire/reasons.ts';
import { LaneRunner } from './lane-runner.ts';
import { LaneStats } from './lane-stats.ts';
import type { LocalLane } from './links.ts';
import { SinkStream } from './sink-stream.ts';

/** Bytes of a lane that may be on their way and not stored. */
const windowBytes = 8 * 1024 * 1024;
const batchBytes = 128 * 1024;
const prefetchBytes = 4 * 1024 * 1024;
/** How often the newest sequence of a source is asked for while no session does it. */
const headPollMs = 1000;

export interface LaneDeps {
  readonly plan: Plan;
  readonly node: string;
  readonly log: Logger;
  readonly links: { readonly control: NatsLink; readonly reader: NatsLink; readonly writer: NatsLink };
  readonly store: ControlStore;
  readonly metrics: Metrics;
  readonly maxFrameBytes: number;
  readonly open: (peer: string) => ((events: ChannelEvents) => Channel) | undefined;
}

/** Every lane that ends at this daemon, and the sink streams they end in. */
export class LaneSet {
  readonly #deps: LaneDeps;
  readonly #runners = new Map<string, LaneRunner>();
  readonly #sinks = new Map<string, SinkStream>();
  /** Why a source stream cannot be read, by stream, as far as it was found out without a session. */
  readonly #sourceFailures = new Map<string, Failure>();
  readonly #peersUp = new Set<string>();
  readonly #timer: NodeJS.Timeout;

  constructor(deps: LaneDeps) {
    this.#deps = deps;
    this.#timer = setInterval(() => void this.#pollHeads(), headPollMs);
    this.#timer.unref();
  }

  add(lanes: readonly LocalLane[]): void {
    for (const lane of lanes) {
      const runner = this.#makeRunner(lane);
      this.#runners.set(lane.plan.id, runner);
      if (this.#peersUp.has(lane.peer)) runner.peerChanged(true, undefined);
    }
  }

  /** The complete list of lanes of links that `peer` declares: unchanged ones go on, others start and stop. */
  replaceLearned(peer: string, lanes: readonly LocalLane[]): void {
    for (const runner of [...this.#runners.values()]) {
      if (runner.plan.declaredBy !== peer) continue;
      const same = lanes.some(({ plan }) => plan.id === runner.plan.id && plan.linkHash === runner.plan.linkHash);
      if (same) continue;
      this.#runners.delete(runner.plan.id);
      runner.stop({ reason: 'link-unknown', detail: `${peer} withdrew or changed the link` });
    }
    this.add(lanes.filter(({ plan }) => !this.#runners.has(plan.id)));
  }

  peerChanged(peer: string, up: boolean, failure: Failure | undefined): void {
    if (up) this.#peersUp.add(peer);
    else this.#peersUp.delete(peer);
    for (const runner of this.#runners.values()) if (runner.peer === peer) runner.peerChanged(up, failure);
  }

  /** What `peer` says of a link that `declaredBy` declares. */
  verdict(peer: string, link: string, declaredBy: string, failure: Failure | undefined): void {
    for (const runner of this.#runners.values())
      if (runner.peer === peer && runner.plan.link === link && runner.plan.declaredBy === declaredBy)
        runner.verdict(failure);
  }

  /** An incoming session, for the lane that its Hello names. */
  accept(channel: Channel, hello: Hello): ChannelEvents | Failure {
    const runner = this.#runners.get(hello.lane);
    const peer = channel.peer.cluster;
    if (runner === undefined || runner.peer !== peer)
      return { reason: 'link-unknown', detail: `${this.#deps.plan.cluster} has no lane ${hello.lane} with ${peer}` };
    if (runner.role === hello.role)
      return { reason: 'link-conflict', detail: `both ends want to be the ${hello.role}` };
    if (runner.plan.linkHash !== hello.linkHash)
      return { reason: 'link-conflict', detail: `the two ends have different versions of link ${runner.plan.link}` };
    return runner.accept(channel, hello);
  }

  async drain(deadlineMs: number): Promise<void> {
    const drained = Promise.all([...this.#runners.values()].map((runner) => runner.drain()));
    let timer: NodeJS.Timeout | undefined;
    const deadline = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, deadlineMs);
    });
    await Promise.race([drained, deadline]);
    clearTimeout(timer);
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer);
    for (const runner of this.#runners.values()) runner.stop();
    await Promise.all([...this.#sinks.values()].map((sink) => sink.stop()));
  }

  status(nowMs: number): LaneStatus[] {
    return [...this.#runners.values()].map((runner) => runner.status(nowMs));
  }

  #makeRunner({ plan, role, peer }: LocalLane): LaneRunner {
    const { node, log, links, metrics, maxFrameBytes, open } = this.#deps;
    const labels = { lane: plan.id, link: plan.link, peer, role };
    const stats = new LaneStats(plan, { batch: (batch) => metrics.observeBatch({ ...labels, ...batch }) }, Date.now());
    const sink = role === 'receiver' ? this.#sink(plan.sinkStream) : undefined;
    const sinkLane = this.#sinkLane(plan);
    return new LaneRunner({
      plan,
      role,
      peer,
      node,
      log,
      stats,
      windowBytes,
      maxFrameBytes,
      open: () => open(peer),
      openSource: () =>
        new JetStreamSource({
          link: links.reader,
          cluster: plan.from,
          stream: plan.sourceStream,
          batchBytes,
          prefetchBytes,
        }),
      openSink: (events, signal) => sink!.open(sinkLane, events, signal),
      obstacle: () => sink?.failure ?? links.control.failure ?? this.#sourceFailure(role, plan.sourceStream),
      mode: () => sink?.mode,
    });
  }

  #sourceFailure(role: LocalLane['role'], stream: string): Failure | undefined {
    return role === 'sender' ? this.#sourceFailures.get(stream) : undefined;
  }

  #sink(stream: string): SinkStream {
    let sink = this.#sinks.get(stream);
    if (sink === undefined) {
      const { plan, links, store, log } = this.#deps;
      sink = new SinkStream({ link: links.writer, store, cluster: plan.cluster, stream, log });
      this.#sinks.set(stream, sink);
      sink.start();
    }
    return sink;
  }

  #sinkLane(plan: LanePlan): SinkLane {
    const mapping = compileMapping(plan.subject);
    const allowed = appendFilter(plan, this.#deps.plan.grants);
    return {
      id: plan.id,
      from: plan.from,
      sourceStream: plan.sourceStream,
      map: (subject, origin) => mapping.map(subject, { origin, from: plan.from }),
      allows: allowed ?? (() => true),
    };
  }

  /** Lag has to grow through an outage (I6): without a session nobody else asks how far the source is. */
  async #pollHeads(): Promise<void> {
    const { control } = this.#deps.links;
    const { connection } = control;
    if (connection === undefined) return;
    const idle = [...this.#runners.values()].filter((runner) => runner.role === 'sender' && !runner.isLive);
    for (const stream of new Set(idle.map(({ plan }) => plan.sourceStream))) {
      try {
        const info = await streamInfo(connection, control.api, stream);
        this.#sourceFailures.delete(stream);
        for (const runner of idle)
          if (runner.plan.sourceStream === stream) runner.stats.onHead(info.state.last_seq, Date.now());
      } catch (error) {
        const failure = natsFailure(error);
        if (failure.reason !== 'nats-unreachable') this.#sourceFailures.set(stream, failure);
      }
    }
  }
}
