import { JetStreamApiError } from '@nats-io/jetstream';
import { headers, type MsgHdrs, NoRespondersError, RequestError } from 'nats';
import { formatPosition } from '../../wire/position.ts';
import { FailureError } from '../../wire/reasons.ts';
import type { KeptRecord, QuarantinedRecord, QuarantineEntry, QuarantineStore } from '../store.ts';
import { call, lastMessageOn, messageAt, type StreamInfo, streamInfo } from './api.ts';
import type { NatsLink } from './connection.ts';
import { failureOfCode, isChainBroken, isPassing, natsFailure } from './errors.ts';
import { readRetried, retriedHeaders } from './provenance.ts';
import { RawHeaders } from './raw-message.ts';

const stream = 'CAUSEWAY_QUARANTINE';
const prefix = '$CAUSEWAY.QUARANTINE';
/** What it may take of the cluster's disks, unless somebody makes it beforehand. */
const maxBytes = 64 * 1024 * 1024;
/** A record goes into messages no larger than this, whatever the server takes. */
const maxPartBytes = 256 * 1024;
const timeoutMs = 5000;
const noStream = 10059;
const nameInUse = 10058;

/** On a sink that others write as fast, an append may find its place taken so many times. */
const mostTries = 50;

interface HeadJson extends QuarantineEntry {
  readonly v: 1;
  /** How many messages hold the record: its header block and, right behind it, its payload. */
  readonly parts: number;
  readonly triedAt?: number;
}

/**
 * Records that sinks of this cluster refused for good, in the stream CAUSEWAY_QUARANTINE. An entry is its parts and a head, under
 * `$CAUSEWAY.QUARANTINE.STREAM.LANE.INCARNATION.SEQUENCE`; the head is written last, and only if there is none yet.
 */
export class Quarantine implements QuarantineStore {
  readonly #link: NatsLink;

  constructor(link: NatsLink) {
    this.#link = link;
  }

  /** Stores a record; one of the same lane and position that is there already stays. Throws FailureError. */
  async put(record: QuarantinedRecord, replicas: number): Promise<void> {
    try {
      await this.#put(record, replicas);
    } catch (error) {
      throw named(error);
    }
  }

  async #put({ headers: block, payload, ...entry }: QuarantinedRecord, replicas: number): Promise<void> {
    const key = keyOf(entry);
    const head = `${key}.head`;
    if ((await this.#head(head, replicas)) !== undefined) return;
    const whole = Buffer.concat([block, payload]);
    const limit = Math.min(maxPartBytes, Math.floor((this.#link.require().info?.max_payload ?? maxPartBytes) / 2));
    const parts = Math.ceil(whole.length / limit);
    for (let i = 0; i < parts; i++) await this.#publish(`${key}.${i + 1}`, whole.subarray(i * limit, (i + 1) * limit));
    const json: HeadJson = { v: 1, ...entry, parts };
    const first = headers();
    first.set('Nats-Expected-Last-Subject-Sequence', '0');
    try {
      await this.#publish(head, Buffer.from(JSON.stringify(json)), first);
    } catch (error) {
      // Somebody else was faster with the same record.
      if (!(error instanceof JetStreamApiError && isChainBroken(error.code))) throw error;
    }
  }

  async list(): Promise<KeptRecord[]> {
    try {
      const found: KeptRecord[] = [];
      for (const subject of await this.#heads()) {
        const entry = await this.#kept(subject);
        if (entry !== undefined) found.push(entry);
      }
      return found.sort((a, b) => a.revision - b.revision);
    } catch (error) {
      if (error instanceof JetStreamApiError && error.code === noStream) return [];
      throw named(error);
    }
  }

  async #heads(): Promise<string[]> {
    type Info = StreamInfo & { readonly state: { readonly subjects?: Readonly<Record<string, number>> } };
    const { api } = this.#link;
    const heads: string[] = [];
    for (;;) {
      const query = { subjects_filter: `${prefix}.*.*.*.*.head`, offset: heads.length };
      const info = await call<Info & { readonly total?: number }>(
        this.#link.require(),
        `${api}.STREAM.INFO.${stream}`,
        query,
      );
      const page = Object.keys(info.state.subjects ?? {});
      heads.push(...page);
      if (page.length === 0 || heads.length >= (info.total ?? 0)) return heads;
    }
  }

  async #kept(subject: string): Promise<KeptRecord | undefined> {
    const message = await lastMessageOn(this.#link.require(), this.#link.api, stream, subject);
    if (message === undefined) return undefined;
    const { v, ...entry } = JSON.parse(message.payload.toString('utf8')) as HeadJson;
    return { ...entry, revision: message.sequence };
  }

  async record({ revision, parts, triedAt, ...entry }: KeptRecord): Promise<QuarantinedRecord | undefined> {
    try {
      const found: Buffer[] = [];
      for (let i = 1; i <= parts; i++) {
        const part = await lastMessageOn(this.#link.require(), this.#link.api, stream, `${keyOf(entry)}.${i}`);
        if (part === undefined) return undefined;
        found.push(part.payload);
      }
      const whole = Buffer.concat(found);
      return { ...entry, headers: whole.subarray(0, entry.headerBytes), payload: whole.subarray(entry.headerBytes) };
    } catch (error) {
      throw named(error);
    }
  }

  async drop(entry: KeptRecord): Promise<void> {
    try {
      const filter = `${keyOf(entry)}.>`;
      await call(this.#link.require(), `${this.#link.api}.STREAM.PURGE.${stream}`, { filter });
    } catch (error) {
      throw named(error);
    }
  }

  /**
   * Writes down first at which sequence the record is to stand, and appends it on condition that it does. So that one place tells, whenever
   * and by whomever it is asked again, whether it was stored.
   */
  async retry(entry: KeptRecord): Promise<number> {
    const record = await this.record(entry);
    if (record === undefined) throw new FailureError('superseded', 'the entry is gone');
    const { target, stream: sink } = entry;
    if (target === undefined) throw new FailureError('record-refused', `subject ${entry.subject} cannot be mapped`);
    try {
      let kept = entry;
      for (let tries = 0; tries < mostTries; tries++) {
        const { state } = await streamInfo(this.#link.require(), this.#link.api, sink);
        if (kept.triedAt !== undefined && (await this.#isAt(kept, kept.triedAt, state.last_seq))) {
          await this.drop(kept);
          return kept.triedAt;
        }
        const at = state.last_seq + 1;
        if (kept.triedAt !== at) kept = await this.#intend(kept, at);
        const headers = retriedHeaders(record, placeOf(kept), at - 1, markOf(kept));
        if (await this.#stored(target, record.payload, headers, sink)) {
          await this.drop(kept);
          return at;
        }
      }
    } catch (error) {
      const { reason, detail } = natsFailure(error, 'sink-missing');
      throw new FailureError(reason, detail, { cause: error });
    }
    throw new FailureError('sink-blocked', `others write ${sink} so fast that the record finds no place; try again`);
  }

  /** Whether an entry was stored at a sequence of its sink. Throws FailureError if that cannot be told any more. */
  async #isAt(entry: KeptRecord, sequence: number, last: number): Promise<boolean> {
    if (last < sequence) return false;
    const found = await messageAt(this.#link.require(), this.#link.api, entry.stream, sequence);
    if (found !== undefined) return readRetried(found.headers, placeOf(entry), sequence) === markOf(entry);
    const detail = `it may have been stored at ${sequence} of ${entry.stream}, where nothing is any more`;
    throw new FailureError('checkpoint-lost', detail);
  }

  async #intend({ revision, ...entry }: KeptRecord, triedAt: number): Promise<KeptRecord> {
    const over = headers();
    over.set('Nats-Expected-Last-Subject-Sequence', `${revision}`);
    const json: HeadJson = { v: 1, ...entry, triedAt };
    try {
      const written = await this.#publish(`${keyOf(entry)}.head`, Buffer.from(JSON.stringify(json)), over);
      return { ...entry, triedAt, revision: written };
    } catch (error) {
      if (!(error instanceof JetStreamApiError && isChainBroken(error.code))) throw error;
      throw new FailureError('superseded', 'somebody else is at it', { cause: error });
    }
  }

  /** Appends; false if the place is taken. */
  async #stored(subject: string, payload: Buffer, block: Buffer, sink: string): Promise<boolean> {
    const connection = this.#link.require();
    const [bytes, max] = [block.length + payload.length, connection.info?.max_payload ?? Number.POSITIVE_INFINITY];
    if (bytes > max) throw new FailureError('record-refused', `record of ${bytes} bytes, the server takes ${max}`);
    const options = { timeout: timeoutMs, headers: new RawHeaders(block).asHeaders };
    const message = await connection.request(subject, payload, options);
    const answer = message.json<Answer>();
    if (answer.error === undefined) {
      if (answer.stream === sink) return true;
      throw new FailureError('sink-subject', `stream ${answer.stream} owns ${subject}`);
    }
    const { err_code: code, description } = answer.error;
    if (isChainBroken(code)) return false;
    const { reason, detail } = failureOfCode(code, description);
    throw new FailureError(reason, detail);
  }

  /** The head of an entry; the stream is made if it is not there. */
  async #head(subject: string, replicas: number): Promise<Buffer | undefined> {
    const { api } = this.#link;
    try {
      return (await lastMessageOn(this.#link.require(), api, stream, subject))?.payload;
    } catch (error) {
      if (!(error instanceof JetStreamApiError) || error.code !== noStream) throw error;
    }
    try {
      await call(this.#link.require(), `${api}.STREAM.CREATE.${stream}`, {
        name: stream,
        subjects: [`${prefix}.>`],
        retention: 'limits',
        storage: 'file',
        discard: 'new',
        max_msgs_per_subject: 1,
        max_bytes: maxBytes,
        num_replicas: replicas,
      });
    } catch (error) {
      if (!(error instanceof JetStreamApiError) || error.code !== nameInUse) throw error;
    }
    return undefined;
  }

  async #publish(subject: string, payload: Buffer, block?: MsgHdrs): Promise<number> {
    const options = { timeout: timeoutMs, ...(block && { headers: block }) };
    const message = await this.#link.require().request(subject, payload, options);
    const answer = message.json<Answer>();
    if (answer.error !== undefined) throw new JetStreamApiError(answer.error);
    // Whoever else takes the subject has not put it where it is looked for: nothing may pass for that.
    if (answer.stream === stream) return answer.seq;
    throw new FailureError('quarantine-unavailable', `${answer.stream ?? 'somebody else'} answers on ${subject}`);
  }
}

interface Answer {
  readonly error?: ConstructorParameters<typeof JetStreamApiError>[0];
  readonly stream?: string;
  readonly seq: number;
}

/** cluster/stream of the sink. */
function placeOf({ lane, stream: sink }: QuarantineEntry): string {
  return `${lane.slice(lane.lastIndexOf('/') + 1)}/${sink}`;
}

function markOf({ lane, position }: QuarantineEntry): string {
  return `${lane};${formatPosition(position)}`;
}

/** A failure of the quarantine is not one of the sink: it has reasons of its own, but for what passes. */
function named(error: unknown): FailureError {
  if (error instanceof FailureError) return error;
  const failure = error instanceof JetStreamApiError ? failureOfCode(error.code, error.message) : natsFailure(error);
  const missing = error instanceof NoRespondersError || (error instanceof RequestError && error.isNoResponders());
  if (failure.reason === 'sink-full') return new FailureError('quarantine-full', failure.detail, { cause: error });
  if (isPassing(failure) || missing) return new FailureError(failure.reason, failure.detail, { cause: error });
  return new FailureError('quarantine-unavailable', `${stream}: ${failure.detail}`, { cause: error });
}

function keyOf({ stream: sink, lane, position }: QuarantineEntry): string {
  return `${prefix}.${safe(sink)}.${lane}.${position.incarnation}.${position.sequence}`;
}

/** A stream name with what a subject's token may not hold written as hex. */
function safe(name: string): string {
  return name.replace(/[^\w-]/g, (char) => `=${char.codePointAt(0)!.toString(16)}`);
}
