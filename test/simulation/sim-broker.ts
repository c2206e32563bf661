/** A NATS cluster: its streams, its API as far as the product calls it, its KV buckets, and the ways in which it fails. */
import type { QuarantinedRecord } from '../../src/brokers/store.ts';
import { subjectMatches } from '../../src/topology/subjects.ts';
import type { Seed } from '../support/seed.ts';
import type { Owner, VirtualClock } from './clock.ts';
import { SimConsumer } from './sim-consumer.ts';
import { SimLine, type ToClient, type ToServer } from './sim-line.ts';
import { type Draft, type SimRecord, SimStream } from './sim-stream.ts';

const none = Buffer.alloc(0);
let stamps = 0;

export interface KvEntry {
  readonly value: string;
  readonly revision: number;
}

/**
 * How the sink answers at the moment: as it should, with "nobody is there", with an error that may pass, or not at all. `mute`: it stores,
 * and its answers are lost. `stumbling`: it refuses one here and there, and takes those behind it. `slow`: late.
 */
export type Answering = 'well' | 'nobody' | 'error' | 'silent' | 'mute' | 'stumbling' | 'slow';

export interface BrokerTap {
  stored(broker: SimBroker, stream: SimStream, record: SimRecord): void;
}

export class SimBroker {
  readonly cluster: string;
  readonly streams = new Map<string, SimStream>();
  /** The bucket CAUSEWAY and the ledger. */
  kv = new Map<string, KvEntry>();
  kvRevision = 0;
  readonly ledger = new Map<string, string>();
  /** By sink stream, lane and position. */
  readonly quarantine = new Map<string, QuarantinedRecord>();
  up = true;
  #refusal: { readonly answering: Answering; readonly untilMs: number } = { answering: 'well', untilMs: 0 };
  readonly #clock: VirtualClock;
  readonly #random: Seed;
  readonly #tap: BrokerTap;
  readonly #consumers = new Map<string, { readonly stream: string; readonly consumer: SimConsumer }>();
  #waiting: Extract<ToServer, { kind: 'publish' }>[] = [];
  readonly #lines = new Map<SimLine, (line: SimLine) => void>();

  constructor(cluster: string, clock: VirtualClock, random: Seed, tap: BrokerTap) {
    this.cluster = cluster;
    this.#clock = clock;
    this.#random = random;
    this.#tap = tap;
  }

  get answering(): Answering {
    return this.#clock.nowMs < this.#refusal.untilMs ? this.#refusal.answering : 'well';
  }

  refuse(answering: Answering, forMs: number): void {
    this.#refusal = { answering, untilMs: Math.max(this.#refusal.untilMs, this.#clock.nowMs + forMs) };
  }

  heal(): void {
    this.#refusal = { answering: 'well', untilMs: 0 };
  }

  addStream(name: string, subjects: readonly string[], windowMs: number, consumed: boolean): SimStream {
    const stream = new SimStream({ name, subjects, created: this.#created(), windowMs, consumed });
    stream.onStored = (record) => {
      this.#tap.stored(this, stream, record);
      this.#serve(name);
      // Some are taken at once, some lie for a while.
      if (consumed) {
        const takenMs = this.#random.next() < 0.5 ? 0 : this.#random.next() * 3000;
        this.#clock.after(
          takenMs,
          undefined,
          () => stream.at(record.sequence) === record && stream.deleteAt(record.sequence, 'consumed'),
        );
      }
    };
    this.streams.set(name, stream);
    return stream;
  }

  #created(): string {
    return new Date(this.#clock.wallMs).toISOString();
  }

  connect(
    owner: Owner,
    ends: { readonly client: (message: ToClient) => void; readonly broken: (line: SimLine) => void },
  ): SimLine {
    const line = new SimLine(this.#clock, this.#random, owner, {
      server: (from, message) => this.#take(from, message),
      client: ends.client,
      gone: (gone) => {
        this.#lines.delete(gone);
        for (const { consumer } of this.#consumers.values()) consumer.leave(gone);
      },
    });
    this.#lines.set(line, ends.broken);
    return line;
  }

  /** The server stops: connections end, and what it keeps in memory is gone. */
  crash(): void {
    this.up = false;
    this.#waiting = [];
    for (const { consumer } of this.#consumers.values()) consumer.remove();
    this.#consumers.clear();
    for (const [line, broken] of [...this.#lines]) {
      line.break();
      broken(line);
    }
  }

  /** A record of an application. */
  store(stream: string, subject: string, payload: string): SimRecord {
    return this.streams
      .get(stream)!
      .store(this.stamp({ subject: Buffer.from(subject), headers: none, payload: Buffer.from(payload) }));
  }

  /** A record that somebody else writes into a sink. */
  foreign(stream: string): void {
    const [subject] = this.streams.get(stream)!.subjects;
    this.streams.get(stream)!.isShared = true;
    this.store(stream, subject!.replace('>', 'foreign'), `foreign:${this.#clock.serial()} `);
  }

  recreate(name: string): void {
    for (const [key, { stream, consumer }] of [...this.#consumers]) {
      if (stream !== name) continue;
      consumer.end();
      this.#consumers.delete(key);
    }
    this.streams.get(name)!.recreate(this.#created(), this.#clock.nowMs);
  }

  /** Bytes that consumers of a stream may still give out, each on its own. */
  askedBytes(stream: string): number[] {
    return [...this.#consumers.values()]
      .filter((one) => one.stream === stream)
      .map(({ consumer }) => consumer.askedBytes);
  }

  /** No two records have one time. */
  stamp(draft: Omit<Draft, 'seconds' | 'nanos'>): Draft {
    const wallMs = this.#clock.wallMs;
    stamps = (stamps + 1) % 1_000_000;
    return { ...draft, seconds: Math.floor(wallMs / 1000), nanos: (wallMs % 1000) * 1_000_000 + stamps };
  }

  static resetStamps(): void {
    stamps = 0;
  }

  #serve(stream: string): void {
    for (const one of this.#consumers.values()) if (one.stream === stream) one.consumer.serve();
  }

  #take(line: SimLine, message: ToServer): void {
    if (!this.up) return;
    switch (message.kind) {
      case 'subscribe':
        line.subscriptions.add(message.pattern);
        break;
      case 'unsubscribe':
        line.subscriptions.delete(message.pattern);
        break;
      case 'publish':
        if (message.subject.startsWith('$JS.API.')) this.#api(line, message.subject.slice(8), message);
        else this.#enqueue(message);
        break;
    }
  }

  /** What is published waits until its stream comes to it, and may be overtaken by a question about the stream. */
  #enqueue(message: Extract<ToServer, { kind: 'publish' }>): void {
    this.#waiting.push(message);
    if (this.#waiting.length > 1) return;
    const slow = this.answering === 'slow' ? this.#random.next() * 1500 : 0;
    const delayMs = slow + (this.#random.next() < 0.2 ? this.#random.next() * 20 : 0);
    this.#clock.after(delayMs, undefined, () => {
      for (const one of this.#waiting.splice(0)) if (this.up) this.#publish(one);
    });
  }

  #publish({ subject, reply, headers, payload }: Extract<ToServer, { kind: 'publish' }>): void {
    const stream = [...this.streams.values()].find(({ subjects }) =>
      subjects.some((one) => subjectMatches(one, subject)),
    );
    if (stream === undefined || this.answering === 'nobody') {
      this.#reply(reply, none, Buffer.from('NATS/1.0 503\r\n\r\n'));
      return;
    }
    if (this.answering === 'silent') return;
    const stumbles = this.answering === 'stumbling' && this.#random.next() < 0.25;
    if (this.answering === 'error' || stumbles) {
      // What is refused leaves its place to others, and so one that expects it goes through.
      if (stumbles && this.#random.next() < 0.5) this.foreign(stream.name);
      this.#answer(reply, {
        error: { code: 503, err_code: 10077, description: 'no space at the moment' },
        stream: stream.name,
        seq: 0,
      });
      return;
    }
    if (isPoisonous(payload)) {
      stream.refuses = true;
      const error = { code: 400, err_code: 10054, description: 'message size exceeds maximum allowed' };
      this.#answer(reply, { error, stream: stream.name, seq: 0 });
      return;
    }
    const draft = this.stamp({ subject: Buffer.from(subject), headers, payload });
    const answer = stream.publish(draft, this.#clock.nowMs);
    if (this.answering === 'mute') return;
    if ('code' in answer) {
      const error = { code: 400, err_code: answer.code, description: answer.text };
      this.#answer(reply, { error, stream: stream.name, seq: 0 });
      return;
    }
    const more = answer.duplicate ? ',"duplicate": true' : '';
    this.#reply(reply, Buffer.from(`{"stream":"${stream.name}", "seq":${answer.sequence}${more}}`));
  }

  #api(line: SimLine, call: string, { payload, reply }: Extract<ToServer, { kind: 'publish' }>): void {
    if (this.answering === 'silent') return;
    const body = payload.length === 0 ? {} : JSON.parse(payload.toString());
    const parts = call.split('.');
    const words = parts[1] === 'MSG' ? 3 : 2;
    const verb = parts.slice(0, words).join('.');
    const name = parts[words]!;
    const stream = this.streams.get(name);
    if (stream === undefined) {
      this.#refuse(reply, 404, 10059, 'stream not found');
      return;
    }
    const key = `${name}.${parts.at(-1)}`;
    switch (verb) {
      case 'STREAM.INFO':
        this.#answer(reply, info(stream));
        break;
      case 'STREAM.MSG.GET': {
        const found = body.next_by_subj === undefined ? stream.at(body.seq) : stream.list[stream.indexFrom(body.seq)];
        if (found === undefined) this.#refuse(reply, 404, 10037, 'no message found');
        else this.#answer(reply, { message: messageJson(found) });
        break;
      }
      case 'CONSUMER.CREATE': {
        if (stream.consumed) throw new Error('a consumer of a queue takes part in its work');
        const { opt_start_seq: start, headers_only: headersOnly = false } = body.config;
        const consumer = new SimConsumer(this.#clock, stream, parts.at(-1)!, start, headersOnly);
        this.#consumers.set(key, { stream: name, consumer });
        this.#answer(reply, { num_pending: consumer.pending });
        break;
      }
      case 'CONSUMER.DELETE':
        this.#consumers.get(key)?.consumer.end();
        this.#consumers.delete(key);
        break;
      case 'CONSUMER.INFO': {
        const known = this.#consumers.get(key)?.consumer;
        if (known === undefined) this.#refuse(reply, 404, 10014, 'consumer not found');
        else this.#answer(reply, { delivered: { stream_seq: known.lastSequence }, num_pending: known.pending });
        break;
      }
      case 'CONSUMER.MSG.NEXT': {
        const consumer = this.#consumers.get(key)?.consumer;
        if (consumer === undefined) this.#reply(reply, none, Buffer.from('NATS/1.0 503\r\n\r\n'));
        else consumer.pull(line, reply, body);
        break;
      }
      default:
        throw new Error(`the simulated server knows no ${call}`);
    }
  }

  #refuse(reply: string, code: number, error: number, description: string): void {
    this.#answer(reply, { error: { code, err_code: error, description } });
  }

  #answer(reply: string, body: unknown): void {
    this.#reply(reply, Buffer.from(JSON.stringify(body)));
  }

  /** To whoever listens there by now. */
  #reply(inbox: string, payload: Buffer, headers: Buffer = none): void {
    if (inbox === '') return;
    const patterns = [inbox, inbox.replace(/\.\d+$/, '.*'), inbox.replace(/\.\d+\.\d+$/, '.*.*')];
    for (const line of this.#lines.keys()) {
      if (!patterns.some((pattern) => line.subscriptions.has(pattern))) continue;
      line.fromServer({ inbox, subject: inbox, reply: '', headers, payload });
    }
  }
}

/** Whether every sink refuses a record for good. Applications get it into their own streams, which have other limits. */
export function isPoisonous(payload: Buffer): boolean {
  return payload[payload.length - 1] === 0x21;
}

function info(stream: SimStream): unknown {
  const { name, subjects, created, first, last, list, consumed } = stream;
  return {
    created,
    config: { name, subjects, retention: consumed ? 'workqueue' : 'limits', num_replicas: 1, discard: 'old' },
    state: { messages: list.length, bytes: list.length * 100, first_seq: first, last_seq: last },
  };
}

function messageJson({ subject, sequence, headers, payload, seconds, nanos }: SimRecord): unknown {
  const date = new Date(seconds * 1000).toISOString().slice(0, 19);
  return {
    subject: subject.toString(),
    seq: sequence,
    ...(headers.length === 0 ? {} : { hdrs: headers.toString('base64') }),
    data: payload.toString('base64'),
    time: `${date}.${String(nanos).padStart(9, '0')}Z`,
  };
}
