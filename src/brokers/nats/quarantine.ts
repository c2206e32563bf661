import { JetStreamApiError } from '@nats-io/jetstream';
import { headers, type MsgHdrs, NoRespondersError, RequestError } from 'nats';
import { FailureError } from '../../wire/reasons.ts';
import type { QuarantinedRecord, QuarantineEntry } from '../store.ts';
import { call, lastMessageOn } from './api.ts';
import type { NatsLink } from './connection.ts';
import { failureOfCode, isChainBroken, isPassing, natsFailure } from './errors.ts';

const stream = 'CAUSEWAY_QUARANTINE';
const prefix = '$CAUSEWAY.QUARANTINE';
/** What it may take of the cluster's disks, unless somebody makes it beforehand. */
const maxBytes = 64 * 1024 * 1024;
/** A record goes into messages no larger than this, whatever the server takes. */
const maxPartBytes = 256 * 1024;
const timeoutMs = 5000;
const noStream = 10059;
const nameInUse = 10058;

interface HeadJson extends QuarantineEntry {
  readonly v: 1;
  /** How many messages hold the record: its header block and, right behind it, its payload. */
  readonly parts: number;
}

/**
 * Records that sinks of this cluster refused for good, in the stream CAUSEWAY_QUARANTINE. An entry is its parts and a head, under
 * `$CAUSEWAY.QUARANTINE.STREAM.LANE.INCARNATION.SEQUENCE`; the head is written last, and only if there is none yet.
 */
export class Quarantine {
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

  async #publish(subject: string, payload: Buffer, block?: MsgHdrs): Promise<void> {
    const options = { timeout: timeoutMs, ...(block && { headers: block }) };
    const message = await this.#link.require().request(subject, payload, options);
    const answer = message.json<{ readonly error?: ConstructorParameters<typeof JetStreamApiError>[0] }>();
    if (answer.error !== undefined) throw new JetStreamApiError(answer.error);
  }
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
