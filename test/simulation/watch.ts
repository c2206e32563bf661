/** Looks on while a run goes: at every frame, every record that is stored, every line of the log. */
import type { LogFields } from '../../src/lib/logger.ts';
import { decodeBatch, isBatchFrame } from '../../src/wire/batch.ts';
import { decodeFrame, type Opening } from '../../src/wire/frame.ts';
import type { VirtualClock } from './clock.ts';
import { isCarried, isSetAside, type JudgedLane, missing } from './oracle.ts';
import type { SimBroker } from './sim-broker.ts';
import type { SimDaemon } from './sim-daemon.ts';
import type { SimRecord, SimStream } from './sim-stream.ts';

/** How long an older session of a lane may go on acknowledging behind the opening of a newer one, in ms. */
const fencedAfterMs = 15_000;
/** How long a lane may be shown as level that is not, in ms: the client takes so long to notice a line that is frozen. */
const unseenMs = 15_000;
/** Reasons that nothing in a simulated world gives cause to. */
const defects = new Set([
  'internal',
  'bad-frame',
  'credit-exceeded',
  'frame-too-large',
  'record-refused',
  'sink-subject',
]);

interface Session {
  readonly lane: JudgedLane;
  readonly epoch: number;
  readonly openedMs: number;
  limitBytes: number;
  sentBytes: number;
  stored: number;
}

export class Watch {
  readonly violations: string[] = [];
  readonly trace: string[] = [];
  readonly #clock: VirtualClock;
  readonly #lanes: ReadonlyMap<string, JudgedLane>;
  readonly #tracing: boolean;
  /** By lane and epoch. */
  readonly #sessions = new Map<string, Session>();
  readonly #newest = new Map<string, Session>();
  readonly #behindSinceMs = new Map<string, number>();

  constructor(clock: VirtualClock, lanes: ReadonlyMap<string, JudgedLane>, tracing: boolean) {
    this.#clock = clock;
    this.#lanes = lanes;
    this.#tracing = tracing;
  }

  say(text: () => string): void {
    if (this.#tracing) this.trace.push(`${this.#clock.nowMs.toFixed(2).padStart(9)} ${text()}`);
  }

  violate(text: string): void {
    this.say(() => `VIOLATION ${text}`);
    if (this.violations.length < 20) this.violations.push(text);
  }

  log({ name, cluster }: SimDaemon, level: string, event: string, fields: LogFields): void {
    this.say(() => `${name} ${event} ${Object.values(fields).join(' ')}`);
    if (event === 'sink-shared')
      for (const { plan, sink } of this.#lanes.values())
        if (plan.to === cluster && plan.sinkStream === fields.stream) sink.saidShared = true;
    if (level === 'debug' || event === 'quarantined') return;
    if (typeof fields.reason === 'string' && defects.has(fields.reason))
      this.violate(`I7: ${name} says ${event} ${fields.reason}: ${String(fields.detail)}`);
  }

  stored(broker: SimBroker, stream: SimStream, record: SimRecord): void {
    this.say(() => `${broker.cluster}/${stream.name} stores ${record.sequence} ${record.id}`);
    if (stream.copiesOf(record.id) < 2 || stream.mayRepeat) return;
    const twin = stream.taken.find(({ id, sequence }) => id === record.id && sequence !== record.sequence);
    if (twin !== undefined)
      this.violate(
        `I4: ${broker.cluster}/${stream.name} stores ${record.id} at ${record.sequence}, which it holds at ${twin.sequence}`,
      );
  }

  frame(sender: string, laneId: string | undefined, bytes: Buffer): string | undefined {
    if (isBatchFrame(bytes)) {
      const batch = decodeBatch(bytes);
      this.say(
        () =>
          `${sender} batch ${laneId} ${batch.epoch}/${batch.frame} ${batch.incarnation}.${batch.firstSequence}-${batch.lastSequence} (${batch.count})`,
      );
      const session = this.#sessions.get(`${laneId} ${batch.epoch}`);
      if (session === undefined) return laneId;
      if (session.sentBytes >= session.limitBytes && batch.packed.length > 0)
        this.violate(
          `I5: ${laneId} sends ${batch.packed.length} bytes behind ${session.sentBytes} of ${session.limitBytes}`,
        );
      session.sentBytes += batch.packed.length;
      return laneId;
    }
    const frame = decodeFrame(bytes);
    this.say(() => `${sender} ${frame?.kind} ${laneId ?? ''} ${JSON.stringify(frame)}`);
    switch (frame?.kind) {
      case 'hello':
        this.#opened(frame.lane, frame.opening);
        return frame.lane;
      case 'welcome':
        this.#opened(laneId, frame.opening);
        break;
      case 'ack':
        this.#acknowledged(laneId!, frame.epoch, frame.stored?.sequence, frame.creditLimit);
        break;
    }
    return laneId;
  }

  #opened(laneId: string | undefined, opening: Opening | undefined): void {
    const lane = this.#lanes.get(laneId ?? '');
    if (lane === undefined || opening === undefined) return;
    const key = `${laneId} ${opening.epoch}`;
    if (this.#sessions.has(key)) this.violate(`I9: two sessions of ${laneId} in epoch ${opening.epoch}`);
    const session: Session = {
      lane,
      epoch: opening.epoch,
      openedMs: this.#clock.nowMs,
      limitBytes: opening.creditLimit,
      sentBytes: 0,
      stored: opening.cursor?.sequence ?? 0,
    };
    this.#sessions.set(key, session);
    this.#newest.set(laneId!, session);
  }

  /** I1: everything up to there is in the sink, or was there once. */
  #acknowledged(laneId: string, epoch: number, upTo: number | undefined, limitBytes: number): void {
    const session = this.#sessions.get(`${laneId} ${epoch}`);
    if (session === undefined) return;
    session.limitBytes = Math.max(session.limitBytes, limitBytes);
    if (upTo === undefined) return;
    const { lane } = session;
    lane.beganMs ??= this.#clock.nowMs;
    const newest = this.#newest.get(laneId)!;
    if (upTo > session.stored && newest !== session && this.#clock.nowMs - newest.openedMs > fencedAfterMs)
      this.violate(`I9: ${laneId} is acknowledged in epoch ${epoch}, although ${newest.epoch} is in force`);
    session.stored = upTo;
    const { source, sink, plan } = lane;
    if (source.life > 1 || upTo <= lane.acknowledged) return;
    for (let at = source.indexFrom(lane.acknowledged + 1); at < source.list.length; at++) {
      const record = source.list[at]!;
      if (record.sequence > upTo) break;
      if (!sink.held(record.id) && isCarried(plan, record) && !isSetAside(lane, record))
        this.violate(`I1: ${laneId} acknowledges ${upTo}, and ${record.id} (${record.sequence}) is not stored`);
    }
    lane.acknowledged = upTo;
  }

  /** I6: once a second. `knows`: the daemon has had the means to know for a while. */
  status(daemon: SimDaemon, knows: boolean): void {
    for (const { lane: id, role, lagRecords } of daemon.status()) {
      const lane = this.#lanes.get(id);
      if (role !== 'sender' || lane === undefined) continue;
      const key = `${daemon.name} ${id}`;
      const lacks = knows && lagRecords === 0 ? missing(lane) : undefined;
      // What the sink had and has lost it tells when the next session opens.
      const lost = lacks !== undefined && lane.sink.held(lacks.id) && this.#opensMs(id) < lane.sink.lostMs;
      const behind = lacks !== undefined && !lost;
      if (!behind) this.#behindSinceMs.delete(key);
      else if (!this.#behindSinceMs.has(key)) this.#behindSinceMs.set(key, this.#clock.nowMs);
      else if (this.#clock.nowMs - this.#behindSinceMs.get(key)! > unseenMs) {
        this.violate(`I6: ${daemon.name} shows ${id} as level, and it is behind`);
        this.#behindSinceMs.delete(key);
      }
    }
  }

  /** I5: what the ends of lanes of a daemon hold. */
  memory(daemon: SimDaemon): void {
    const { used, allowed } = daemon.memoryBytes;
    if (used > allowed) this.violate(`I5: ${daemon.name} uses ${used} bytes of memory, ${allowed} allowed`);
  }

  /** When the newest session of a lane opened. */
  #opensMs(lane: string): number {
    return this.#newest.get(lane)?.openedMs ?? Number.NEGATIVE_INFINITY;
  }

  /** I5: nothing is counted of sessions that are over. */
  stopped(daemon: SimDaemon): void {
    const { used } = daemon.memoryBytes;
    if (used > 0) this.violate(`I5: ${daemon.name} has stopped, and ${used} bytes of memory are in use`);
  }

  /** I5: what consumers of a source may still give out. */
  asked(place: string, bytes: readonly number[], limitBytes: number): void {
    for (const one of bytes)
      if (one > limitBytes) this.violate(`I5: ${one} bytes are asked for of ${place}, ${limitBytes} allowed`);
  }
}
