import { expect } from 'vitest';
import type { SinkLane, SinkLog, TailRecord } from '../../src/brokers/broker.ts';
import { OriginIndex } from '../../src/dedupe/origin-index.ts';
import { SinkWriter } from '../../src/lane/sink-writer.ts';
import type { SinkWriterEffect, SinkWriterEvent } from '../../src/lane/sink-writer-events.ts';
import { BatchBuilder, decodeBatch } from '../../src/wire/batch.ts';
import { payloadDigest } from '../../src/wire/position.ts';
import type { Failure, Reason } from '../../src/wire/reasons.ts';
import { RecordView } from '../../src/wire/record-view.ts';

export interface Stored {
  readonly lane?: string;
  readonly sequence: number;
  readonly previous: number;
  /** cluster/stream/incarnation/sequence/time */
  readonly origin?: string;
}
export interface Sent extends Stored {
  readonly expectLast: number | undefined;
  readonly round: number;
  readonly ordinal: number;
}

/** A sink stream in memory, with the answers a server gives, and the wire before it as a queue that faults can cut. */
export class FakeSink implements SinkLog {
  readonly stored: Stored[] = [];
  /** Sequences that are gone by the limits of the stream: the oldest ones. */
  expired = 0;
  readonly ids = new Map<string, number>();
  wire: Sent[] = [];
  /** Under way over connections that were given up. */
  late: Sent[] = [];
  round = 0;
  ordinal = 0;
  limit = Number.POSITIVE_INFINITY;
  /** Why a record of a lane is refused for good: before it is sent, or by the server. */
  refuses: (lane: string, sequence: number) => { readonly by: 'log' | 'server'; readonly reason: Reason } | undefined =
    () => undefined;
  readonly answers: SinkWriterEvent[] = [];

  restart(): void {
    this.round++;
    this.ordinal = 0;
    this.answers.length = 0;
  }
  append(view: RecordView, lane: SinkLane, inc: string, previous: number, expectLast: number | undefined) {
    const refusal = this.refuses(lane.id, view.sequence);
    if (refusal?.by === 'log') return { reason: refusal.reason, detail: '' };
    this.ordinal++;
    const identity = view.buffer.toString('utf8', view.identityStart, view.identityEnd);
    this.wire.push({
      lane: lane.id,
      sequence: view.sequence,
      previous,
      origin: identity === '' ? `${lane.from}/S/${inc}/${view.sequence}/0000000000` : identity,
      expectLast,
      round: this.round,
      ordinal: this.ordinal,
    });
    return undefined;
  }
  /** The server handles up to `count` messages that have arrived. */
  serve(count: number): void {
    for (const sent of this.wire.splice(0, count)) this.#take(sent);
  }
  /** Something arrives that had been given up. */
  thaw(count: number): void {
    for (const sent of this.late.splice(0, count)) this.#take({ ...sent, round: -1 });
  }
  #take(sent: Sent): void {
    const id = sent.origin!;
    const known = sent.expectLast === undefined ? this.ids.get(id) : undefined;
    const fits = sent.expectLast === undefined || this.stored.length === sent.expectLast;
    const full = this.stored.length >= this.limit;
    const refusal = this.refuses(sent.lane!, sent.sequence);
    const stored = fits && !full && known === undefined && refusal === undefined;
    if (stored) this.stored.push(sent);
    if (stored && sent.expectLast === undefined) this.ids.set(id, this.stored.length);
    if (sent.round !== this.round) return;
    const reason = full ? 'sink-full' : fits && refusal !== undefined ? refusal.reason : 'superseded';
    const failure: Failure = { reason, detail: '' };
    const sinkSequence = known === undefined ? this.stored.length : 0;
    const held = known === undefined ? undefined : this.record(known);
    if (held !== undefined) this.answers.push({ type: 'held', record: held });
    if (stored || known !== undefined) this.answers.push({ type: 'stored', count: sent.ordinal, sinkSequence });
    else this.answers.push({ type: 'unsure', failure, chainBroken: reason === 'superseded' });
  }
  /** The stream is restored from an older copy. */
  loseTail(count: number): void {
    this.stored.length = Math.max(this.expired, this.stored.length - count);
    for (const [id, sequence] of this.ids) if (sequence > this.stored.length) this.ids.delete(id);
  }
  /** What a scan finds of it. */
  tail(after: number, observe: (sinkSequence: number, record: TailRecord | undefined) => void): void {
    for (let at = Math.max(after, this.expired); at < this.stored.length; at++) {
      observe(at + 1, this.record(at + 1));
    }
  }
  /** The record at a sequence, if it is there and a lane wrote it. */
  record(sinkSequence: number): TailRecord | undefined {
    if (sinkSequence <= this.expired) return undefined;
    const { lane, sequence, previous, origin } = this.stored[sinkSequence - 1] ?? { sequence: 0, previous: 0 };
    if (lane === undefined || origin === undefined) return undefined;
    const [cluster, stream, incarnation, number, ns] = origin.split('/');
    const time = Number(ns!.slice(0, -3));
    return {
      sinkSequence,
      lane,
      position: { incarnation: 'i', sequence },
      previous,
      origin: { space: `${cluster}/${stream}/${incarnation}`, sequence: Number(number), time, ...timeOf(sequence) },
    };
  }
}

/** A lane, which origin its records have (undefined if its own source saw them first), and which of them its sender leaves out. */
export interface WorldLane {
  readonly id: string;
  readonly origin?: (sequence: number) => string;
  readonly leftOut?: (sequence: number) => boolean;
  /** Those began elsewhere, as its sender says: no other lane brings them as records of this source. */
  readonly beganElsewhere?: true;
}

/** When every source stored its record of this number. */
function timeOf(sequence: number) {
  return { seconds: 1000 + sequence, nanos: sequence };
}

export interface WorldOptions {
  readonly shared?: boolean;
  readonly maxInFlightRecords?: number;
  readonly maxInFlightBytes?: number;
  readonly subjectPatienceMs?: number;
}

/** Drives one writer over a fake sink, and feeds each lane in order from its cursor, as sessions do. */
export class SinkWorld {
  readonly sink = new FakeSink();
  readonly lanes: readonly WorldLane[];
  readonly total: number;
  readonly options: WorldOptions;
  writer!: SinkWriter;
  index!: OriginIndex;
  now = 0;
  epoch = 0;
  pendingRead: Extract<SinkWriterEffect, { type: 'read' }> | undefined;
  readonly fed = new Map<string, number>();
  readonly open = new Map<string, number>();
  readonly failures: Failure[] = [];
  /** What is in the quarantine, by lane and sequence: the payloads. */
  readonly quarantine = new Map<string, string>();
  /** What is on its way there. */
  aside: Extract<SinkWriterEffect, { type: 'quarantine' }>[] = [];
  acceptsOrigin: SinkLane['acceptsOrigin'] = () => true;
  /** Every seventh number does not exist at the source. */
  holes = true;

  constructor(lanes: readonly (string | WorldLane)[], total: number, options: WorldOptions = {}) {
    this.lanes = lanes.map((lane) => (typeof lane === 'string' ? { id: lane } : lane));
    this.total = total;
    this.options = options;
    this.forget();
    this.step({ type: 'start', accounted: 0 });
  }

  /** The process starts anew and knows nothing but what the sink holds. */
  restart(): void {
    this.forget();
    this.step({ type: 'start', accounted: 0 });
  }

  /** A writer that has not begun. */
  forget(): void {
    this.index = new OriginIndex();
    this.writer = new SinkWriter(this.sink, this.index, 'h/T', {
      maxInFlightRecords: 7,
      maxInFlightIdRecords: 4,
      maxInFlightBytes: 100_000,
      answerTimeoutMs: 1000,
      lateMs: 5000,
      idModeMs: 3000,
      subjectPatienceMs: 0,
      shared: false,
      ...this.options,
    });
    this.open.clear();
    this.fed.clear();
    this.aside = [];
    this.pendingRead = undefined;
  }

  step(event: SinkWriterEvent): void {
    this.now++;
    this.apply(this.writer.step(event, this.now));
  }

  apply(effects: readonly SinkWriterEffect[]): void {
    for (const effect of effects) {
      if (effect.type === 'read') this.pendingRead = effect;
      if (effect.type === 'quarantine') this.aside.push(effect);
      if (effect.type !== 'refused') continue;
      this.failures.push(effect.failure);
      this.open.delete(effect.lane);
    }
  }

  answer(): void {
    for (let told = false; !told; ) {
      const answer = this.sink.answers.shift();
      if (answer !== undefined) this.step(answer);
      told = answer?.type !== 'held';
    }
  }

  read(): void {
    if (this.pendingRead === undefined) return;
    const { after } = this.pendingRead;
    this.pendingRead = undefined;
    // Nothing is read before all that is under way is answered (`AppendAnswers.quiet`).
    this.sink.serve(1000);
    this.sink.tail(after, (sinkSequence, record) => this.writer.observe(sinkSequence, record));
    this.step({ type: 'tail', lastSequence: this.sink.stored.length });
  }

  /** The quarantine stores what is under way to it; `told`: and the writer hears of it. */
  setAside(told = true): void {
    for (const { lane, epoch, position, record } of this.aside.splice(0)) {
      const view = new RecordView(record);
      expect(view.next()).toBe(true);
      this.quarantine.set(
        `${lane.id} ${position.sequence}`,
        record.toString('utf8', view.payloadStart, view.payloadEnd),
      );
      // I1: everything before it is in the sink, or there too.
      const before = existing(position.sequence - 1).filter((n) => !this.quarantine.has(`${lane.id} ${n}`));
      const held = new Set(this.sink.stored.filter((one) => one.lane === lane.id).map(({ sequence }) => sequence));
      expect(before.filter((n) => !held.has(n))).toEqual([]);
      if (told) this.step({ type: 'quarantined', lane: lane.id, epoch });
    }
  }

  feed(id: string, count: number): void {
    const epoch = this.open.get(id);
    if (epoch === undefined) return;
    const from = this.fed.get(id)!;
    const to = Math.min(this.total, from + count);
    if (to === from) return;
    const { origin, leftOut, beganElsewhere } = this.lanes.find((lane) => lane.id === id)!;
    const builder = new BatchBuilder('i', from, 8192);
    const none = new Uint8Array();
    for (let sequence = from + 1; sequence <= to; sequence++) {
      if (this.holes && sequence % 7 === 0) continue;
      const identity = origin === undefined ? none : Buffer.from(origin(sequence));
      const { seconds, nanos } = timeOf(sequence);
      const payload = Buffer.from(`${sequence}`);
      if (leftOut?.(sequence)) builder.pass(sequence, seconds, nanos, payload);
      else builder.append(sequence, seconds, nanos, Buffer.from('s'), none, payload, identity);
    }
    if (beganElsewhere !== true) builder.filtered = 0;
    this.fed.set(id, to);
    this.step({ type: 'batch', lane: id, epoch, batch: decodeBatch(builder.frame(epoch, 1, 0)) });
  }

  openLane(id: string): void {
    if (this.open.has(id) || !this.writer.isOpen || this.writer.lane(id).inFlight > 0) return;
    this.beforeOpen(id);
    this.epoch++;
    this.open.set(id, this.epoch);
    this.fed.set(id, this.writer.lane(id).cursor?.sequence ?? 0);
    const [, from] = id.split('/');
    const { acceptsOrigin } = this;
    const all = { map: (subject: string) => subject, allows: () => true, acceptsOrigin };
    this.step({ type: 'open', lane: { id, from: from!, sourceStream: 'S', ...all }, epoch: this.epoch });
  }

  /** What a session finds out before it opens. */
  protected beforeOpen(_id: string): void {}

  closeLane(id: string): void {
    const epoch = this.open.get(id);
    if (epoch === undefined) return;
    this.open.delete(id);
    this.step({ type: 'close', lane: id, epoch });
  }

  /** The connection drops: the newest of what was on the wire is lost, or comes later; the rest is served before anything newer. */
  cut(lost: number, late = false): void {
    const gone = this.sink.wire.splice(Math.max(0, this.sink.wire.length - lost));
    if (late) this.sink.late.push(...gone);
    this.sink.serve(1000);
    this.sink.answers.length = 0;
  }

  /** No more faults: everything must arrive. */
  settle(): void {
    this.sink.limit = Number.POSITIVE_INFINITY;
    for (let round = 0; round < 2000; round++) {
      for (const { id } of this.lanes) {
        this.openLane(id);
        this.feed(id, 5);
      }
      this.sink.serve(1000);
      for (let i = 0; i < 20; i++) this.answer();
      this.read();
      this.setAside();
      if (round % 10 === 9) this.now += 2000;
      this.step({ type: 'tick' });
      const done = this.lanes.every(({ id }) => {
        const { cursor, inFlight } = this.writer.lane(id);
        return cursor?.sequence === this.total && inFlight === 0;
      });
      if (done && this.pendingRead === undefined) return;
    }
    throw new Error('the lanes do not come to rest');
  }

  /** The delivery oracle: exactly once, and in order unless `anyOrder`, per lane. */
  check(anyOrder: boolean): void {
    for (const { id, leftOut } of this.lanes) {
      const stored = this.sink.stored.filter(({ lane }) => lane === id).map(({ sequence }) => sequence);
      const refused = (sequence: number) => this.sink.refuses(id, sequence) !== undefined;
      const expected = existing(this.total).filter((sequence) => !leftOut?.(sequence) && !refused(sequence));
      const aside = [...this.quarantine].filter(([key]) => key.startsWith(`${id} `)).map(([, text]) => Number(text));
      expect(aside.sort((a, b) => a - b)).toEqual(existing(this.total).filter(refused));
      expect(anyOrder ? stored.sort((a, b) => a - b) : stored).toEqual(expected);
    }
    expect(this.failures).toEqual([]);
  }

  /** True if the sink's limits took a record away that it held: if a restart had read no more of it than headers, its digest stays unknown. */
  isExpired(id: string, number: number): boolean {
    return this.sink.stored
      .slice(0, this.sink.expired)
      .some(({ lane, sequence }) => lane === id && sequence === number);
  }

  /** The record at every cursor can be proven: as the last one that is stored, or else by what was seen of it. */
  checkProofs(): void {
    for (const { id } of this.lanes) {
      const { cursor, seen, last } = this.writer.lane(id);
      if (cursor === undefined || cursor.sequence === 0) continue;
      const proof = { position: cursor, ...timeOf(cursor.sequence) };
      if (last?.position.sequence === cursor.sequence) {
        expect(last).toMatchObject(proof);
        expect(seen).toBeUndefined();
        expect(this.sink.stored.some(({ lane, sequence }) => lane === id && sequence === cursor.sequence)).toBe(true);
      } else if (seen !== undefined || !this.isExpired(id, cursor.sequence)) {
        expect(seen).toEqual({ ...proof, digest: payloadDigest(Buffer.from(`${cursor.sequence}`)) });
      }
    }
  }
}

/** Numbers that exist at the source. */
export function existing(total: number): number[] {
  return Array.from({ length: total }, (_, i) => i + 1).filter((sequence) => sequence % 7 !== 0);
}
