import type { Broker, Consume, ExportRules, SinkLane, SourceStream } from '../brokers/broker.ts';
import { type Line, type LineLimits, lineLimits } from '../lane/line.ts';
import { type SinkWriterOptions, sinkWriterDefaults } from '../lane/sink-writer-events.ts';
import type { Logger } from '../lib/logger.ts';
import type { MemoryBudget } from '../lib/memory-budget.ts';
import type { Metrics } from '../ops/metrics.ts';
import type { LaneStatus } from '../ops/status.ts';
import type { SinkRights } from '../topology/grants.ts';
import type { LanePlan } from '../topology/plan.ts';
import { compileMapping } from '../topology/subjects.ts';
import type { Channel, ChannelEvents } from '../transport/channel.ts';
import type { Hello } from '../wire/frame.ts';
import type { Position } from '../wire/position.ts';
import { type Failure, failureFrom } from '../wire/reasons.ts';
import { LaneRunner } from './lane-runner.ts';
import { LaneStats } from './lane-stats.ts';
import { openLine } from './line-driver.ts';
import type { LocalLane } from './links.ts';
import { RetentionWatch } from './retention-watch.ts';
import { SinkStream } from './sink-stream.ts';

/** What lanes may take of the memory budget at most (I5), in bytes, and how records are appended. */
export interface LaneLimits {
  /** Of a lane, on their way and not stored. */
  readonly windowBytes: number;
  /** Of a lane, handed to the transport and not yet taken by it. */
  readonly outboxBytes: number;
  readonly batchBytes: number;
  readonly prefetchBytes: number;
  /** What is read once for several lanes, and kept for those that are a little behind. */
  readonly ringBytes: number;
  readonly line: LineLimits;
  readonly writer: SinkWriterOptions;
}

export const laneLimits: LaneLimits = {
  windowBytes: 8 * 1024 * 1024,
  outboxBytes: 1024 * 1024,
  batchBytes: 128 * 1024,
  prefetchBytes: 4 * 1024 * 1024,
  ringBytes: 8 * 1024 * 1024,
  line: lineLimits,
  writer: sinkWriterDefaults,
};

/** How often the newest sequence of a source is asked for while no session does it. */
const headPollMs = 1000;

/** A lane together with what its sink's cluster lets it do there; `rights` are those of a receiver. */
export interface DesiredLane extends LocalLane {
  readonly rights: SinkRights;
}

export interface LaneDeps {
  /** The cluster whose ends of lanes these are. */
  readonly cluster: string;
  readonly node: string;
  readonly log: Logger;
  readonly broker: Broker;
  readonly metrics: Metrics;
  readonly maxFrameBytes: number;
  /** Of the process. */
  readonly memory: MemoryBudget;
  readonly open: (peer: string) => ((events: ChannelEvents) => Channel) | undefined;
  /** Instance of the peer's daemon that is connected, as its control stream says. */
  readonly nodeOf: (peer: string) => string | undefined;
  /** Default: `laneLimits`. */
  readonly limits?: LaneLimits;
}

/** Every lane that ends at this daemon, and the sink streams they end in. */
export class LaneSet {
  readonly #deps: LaneDeps;
  readonly #limits: LaneLimits;
  readonly #lanes = new Map<string, { readonly key: string; readonly runner: LaneRunner }>();
  readonly #sinks = new Map<string, SinkStream>();
  readonly #sources = new Map<string, SourceStream>();
  /** Why a source stream cannot be read, by stream, as far as it was found out without a session. */
  readonly #sourceFailures = new Map<string, Failure>();
  /** The connections to the peers, as far as own records are sent over them. */
  readonly #lines = new Map<string, Line>();
  readonly #peersUp = new Set<string>();
  /** Sinks that are let go of, by stream: the next one of a stream begins when the last one has ended. */
  readonly #stopping = new Map<string, Promise<void>>();
  /** Sink streams that others write too. */
  #shared: ReadonlySet<string> = new Set();
  #replicated: ReadonlySet<string> = new Set();
  readonly #timer: NodeJS.Timeout;
  readonly #retention: RetentionWatch;
  #draining = false;

  constructor(deps: LaneDeps) {
    this.#deps = deps;
    this.#limits = deps.limits ?? laneLimits;
    this.#timer = setInterval(() => void this.#pollHeads(), headPollMs);
    this.#timer.unref();
    const senders = () => this.#runners().filter(({ role }) => role === 'sender');
    this.#retention = new RetentionWatch(deps.broker, () =>
      senders().map(({ plan, stats }) => ({ stream: plan.sourceStream, stats })),
    );
  }

  /** The complete list of lanes as they shall be: unchanged ones go on untouched, others stop and start. */
  set(lanes: readonly DesiredLane[]): void {
    const desired = new Map(lanes.map((lane) => [lane.plan.id, lane]));
    this.#shared = new Set(lanes.filter(endsInShared).map(({ plan }) => plan.sinkStream));
    const replicated = lanes.filter(({ plan, role }) => role === 'receiver' && plan.kind === 'replicate');
    this.#replicated = new Set(replicated.map(({ plan }) => plan.sinkStream));
    for (const [id, { key, runner }] of this.#lanes) {
      const lane = desired.get(id);
      if (lane !== undefined && keyOf(lane) === key) continue;
      this.#lanes.delete(id);
      this.#sinks.get(runner.plan.sinkStream)?.create(id, undefined);
      runner.stop(
        lane === undefined
          ? { reason: 'link-unknown', detail: `link ${runner.plan.link} is not declared any more, or not granted` }
          : { reason: 'draining', detail: `link ${runner.plan.link} was changed` },
      );
    }
    for (const [stream, sink] of this.#sinks) sink.shared = this.#shared.has(stream);
    for (const [id, lane] of desired) {
      if (this.#lanes.has(id)) continue;
      const runner = this.#makeRunner(lane);
      this.#lanes.set(id, { key: keyOf(lane), runner });
      if (this.#peersUp.has(lane.peer)) runner.peerChanged(true, undefined);
    }
    this.#forget();
  }

  /** Lets go of streams at which no lane ends any more. */
  #forget(): void {
    const ends = (role: LocalLane['role']) => this.#runners().filter((runner) => runner.role === role);
    const sinks = new Set(ends('receiver').map(({ plan }) => plan.sinkStream));
    for (const [stream, sink] of this.#sinks) {
      if (sinks.has(stream)) continue;
      this.#sinks.delete(stream);
      const stopping = Promise.all([this.#stopping.get(stream), sink.stop()]).then(() => {
        if (this.#stopping.get(stream) === stopping) this.#stopping.delete(stream);
      });
      this.#stopping.set(stream, stopping);
    }
    const sources = new Set(ends('sender').map(({ plan }) => plan.sourceStream));
    for (const stream of this.#sources.keys()) if (!sources.has(stream)) this.#sources.delete(stream);
    for (const stream of this.#sourceFailures.keys()) if (!sources.has(stream)) this.#sourceFailures.delete(stream);
    const peers = new Set(this.#runners().map(({ peer }) => peer));
    for (const peer of this.#lines.keys()) if (!peers.has(peer)) this.#lines.delete(peer);
  }

  #runners(): LaneRunner[] {
    return [...this.#lanes.values()].map(({ runner }) => runner);
  }

  peerChanged(peer: string, up: boolean, failure: Failure | undefined): void {
    if (up) this.#peersUp.add(peer);
    else this.#peersUp.delete(peer);
    for (const runner of this.#runners()) if (runner.peer === peer) runner.peerChanged(up, failure);
  }

  /**
   * What `peer` says of a link of the own file, in the version with this hash: `failure` is why it may not run there. Any other version
   * is not spoken of.
   */
  verdict(peer: string, link: string, hash: string, failure: Failure | undefined): void {
    const { cluster } = this.#deps;
    for (const runner of this.#runners()) {
      const { plan } = runner;
      if (runner.peer === peer && plan.link === link && plan.declaredBy === cluster && plan.linkHash === hash)
        runner.verdict(failure);
    }
  }

  /** An incoming session, for the lane that its Hello names. */
  accept(channel: Channel, hello: Hello): ChannelEvents | Failure {
    if (this.#draining) return { reason: 'draining', detail: 'the daemon stops' };
    const runner = this.#lanes.get(hello.lane)?.runner;
    const peer = channel.peer.cluster;
    const node = this.#deps.nodeOf(peer);
    if (node !== undefined && node !== hello.node)
      return { reason: 'name-taken', detail: `${node} is connected as ${peer}, ${hello.node} is another daemon` };
    if (runner === undefined || runner.peer !== peer)
      return { reason: 'link-unknown', detail: `${this.#deps.cluster} has no lane ${hello.lane} with ${peer}` };
    if (runner.role === hello.role)
      return { reason: 'link-conflict', detail: `both ends want to be the ${hello.role}` };
    if (runner.plan.linkHash !== hello.linkHash)
      return { reason: 'link-conflict', detail: `the two ends have different versions of link ${runner.plan.link}` };
    return runner.accept(channel, hello);
  }

  /** There is a new connection to the peer: lanes that go over the old one move, which may take them `drainMs`. */
  rotate(peer: string, drainMs: number): void {
    for (const runner of this.#runners()) if (runner.peer === peer) runner.rotate(drainMs);
  }

  async drain(deadlineMs: number): Promise<void> {
    this.#draining = true;
    const drained = Promise.all(this.#runners().map((runner) => runner.drain()));
    let timer: NodeJS.Timeout | undefined;
    const deadline = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, deadlineMs);
    });
    await Promise.race([drained, deadline]);
    clearTimeout(timer);
  }

  async stop(): Promise<void> {
    this.#draining = true;
    clearInterval(this.#timer);
    this.#retention.stop();
    for (const runner of this.#runners()) runner.stop();
    const sinks = [...this.#sinks.values()];
    this.#sinks.clear();
    await Promise.all([...this.#stopping.values(), ...sinks.map((sink) => sink.stop())]);
  }

  /** Lanes end at this cluster. */
  get hasReceivers(): boolean {
    return this.#sinks.size > 0;
  }

  status(nowMs: number): LaneStatus[] {
    return this.#runners().map((runner) => runner.status(nowMs));
  }

  /** Every lane, and how far it is known to be stored. */
  list(): { plan: LanePlan; role: LocalLane['role']; peer: string; stored: Position | undefined }[] {
    return this.#runners().map(({ plan, role, peer, stats }) => ({ plan, role, peer, stored: stats.stored }));
  }

  /** The checkpoints may be lost: they are written again. */
  keepAgain(): void {
    for (const sink of this.#sinks.values()) sink.keepAgain();
  }

  #makeRunner({ plan, role, peer, rights }: DesiredLane): LaneRunner {
    const { cluster, node, log, broker, metrics, maxFrameBytes, memory, open } = this.#deps;
    const labels = { lane: plan.id, link: plan.link, peer, role };
    const stats = new LaneStats(plan, { batch: (batch) => metrics.observeBatch({ ...labels, ...batch }) }, Date.now());
    const sink = role === 'receiver' ? this.#sink(plan.sinkStream) : undefined;
    const sinkLane = sinkLaneOf(plan, rights);
    if (rights.mayNotCreate === undefined) sink?.create(plan.id, plan.create);
    return new LaneRunner({
      plan,
      role,
      peer,
      needsVerdict: plan.declaredBy === cluster,
      node,
      log,
      stats,
      batchBytes: this.#limits.batchBytes,
      openWindow: () => memory.share(this.#limits.windowBytes),
      openOutbox: () => memory.share(this.#limits.outboxBytes),
      line: this.#line(peer),
      maxFrameBytes,
      open: () => open(peer),
      openSource: () => this.#source(plan.sourceStream).lane(exportRules(plan), consumeOf(plan)),
      openSink: async (events, signal) => {
        // Why there is no connection says more than that the stream cannot be read.
        broker.requireSinks();
        return sink!.open(sinkLane, plan, events, signal);
      },
      obstacle: () => broker.failure ?? sink?.failure ?? this.#sourceFailure(role, plan.sourceStream),
      appending: () => (sink === undefined ? {} : { mode: sink.mode, guarantee: sink.guarantee }),
    });
  }

  #line(peer: string): Line {
    let line = this.#lines.get(peer);
    if (line === undefined) {
      line = openLine(this.#limits.line);
      this.#lines.set(peer, line);
    }
    return line;
  }

  #sourceFailure(role: LocalLane['role'], stream: string): Failure | undefined {
    const failure = role === 'sender' ? this.#sourceFailures.get(stream) : undefined;
    return failure === undefined || this.#isRead(stream) ? undefined : failure;
  }

  /** A live lane reads the stream: its session knows how the stream is, and knows it first. */
  #isRead(stream: string): boolean {
    return this.#runners().some(
      ({ role, plan, isLive }) => role === 'sender' && isLive && plan.sourceStream === stream,
    );
  }

  #source(stream: string): SourceStream {
    let source = this.#sources.get(stream);
    if (source === undefined) {
      const { broker, memory } = this.#deps;
      source = broker.source(stream, { ...this.#limits, memory });
      this.#sources.set(stream, source);
    }
    return source;
  }

  #sink(stream: string): SinkStream {
    let sink = this.#sinks.get(stream);
    if (sink === undefined) {
      const { cluster, broker, log } = this.#deps;
      const shared = this.#shared.has(stream);
      const { writer } = this.#limits;
      const replicated = () => this.#replicated.has(stream);
      sink = new SinkStream({ broker, cluster, stream, log, shared, replicated, writer });
      this.#sinks.set(stream, sink);
      const made = sink;
      const start = () => this.#sinks.get(stream) === made && made.start();
      const before = this.#stopping.get(stream);
      if (before === undefined) start();
      else void before.then(start);
    }
    return sink;
  }

  /**
   * Lag has to grow through an outage (I6): without a session nobody else asks how far the source is, nor where a stream is
   * empty that is read.
   */
  async #pollHeads(): Promise<void> {
    const { broker } = this.#deps;
    if (broker.failure !== undefined) return;
    const idle = this.#runners().filter(
      (runner) => runner.role === 'sender' && (!runner.isLive || runner.stats.head === undefined),
    );
    for (const stream of this.#sourceFailures.keys()) if (this.#isRead(stream)) this.#sourceFailures.delete(stream);
    for (const stream of new Set(idle.map(({ plan }) => plan.sourceStream))) {
      try {
        const head = await broker.head(stream);
        this.#sourceFailures.delete(stream);
        for (const runner of idle) if (runner.plan.sourceStream === stream) runner.stats.onHead(head, Date.now());
      } catch (error) {
        const failure = failureFrom(error);
        // A session may have begun since this was asked: then the answer is too old.
        if (failure.reason !== 'nats-unreachable' && !this.#isRead(stream)) this.#sourceFailures.set(stream, failure);
      }
    }
  }
}

/** Two lanes with equal keys are the same in every respect that matters here. */
function keyOf({ plan, role, peer, rights }: DesiredLane): string {
  return JSON.stringify([plan, role, peer, role === 'receiver' ? rights.key : '']);
}

/** A lane into a stream that the own cluster writes too, by what the link is for or what its file says. */
function endsInShared({ plan, role }: DesiredLane): boolean {
  return role === 'receiver' && plan.shared;
}

/**
 * What a lane leaves out: records that have been in its sink before, and, on a replicate link, what the link brought here: every
 * member has that from where it was published.
 */
export function exportRules({ link, kind, from, to, sinkStream, sourced }: LanePlan): ExportRules {
  return {
    sink: `${to}/${sinkStream}`,
    imported: (lane) => kind === 'replicate' && lane.startsWith(`${link}/`) && lane.endsWith(`/${from}`),
    // What a JetStream source beside this link copies would come back without a sign of where it has been.
    sourced: sourced ?? kind !== 'replicate',
  };
}

function consumeOf({ id, previously, consume }: LanePlan): Consume | undefined {
  if (consume === undefined) return undefined;
  return { lane: id, ...(previously === undefined ? {} : { previously }) };
}

function sinkLaneOf(plan: LanePlan, rights: SinkRights): SinkLane {
  const mapping = compileMapping(plan.subject);
  return {
    id: plan.id,
    from: plan.from,
    sourceStream: plan.sourceStream,
    map: (subject, origin) => mapping.map(subject, { origin, from: plan.from }),
    allows: rights.allows,
    acceptsOrigin: rights.acceptsOrigin,
  };
}
