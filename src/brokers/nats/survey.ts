import { createHash } from 'node:crypto';
import { performance } from 'node:perf_hooks';
import type { Msg } from 'nats';
import { maxHops, originTime, splitIdentity } from '../../dedupe/origin-index.ts';
import { digestBytes, type Position } from '../../wire/position.ts';
import { FailureError } from '../../wire/reasons.ts';
import type { ExportRules, Survey, SurveyedRecord, SurveySpan } from '../broker.ts';
import { messageFrom, type StreamInfo, streamInfo } from './api.ts';
import type { NatsLink } from './connection.ts';
import { natsFailure } from './errors.ts';
import { exportFilter, type ImportFilter } from './export-rules.ts';
import { applicationHeaders, readProvenance, readTail } from './provenance.ts';
import { rawHeaders, rawPayload, rawSize } from './raw-message.ts';
import { firstSince } from './source-start.ts';
import { readSpan } from './stream-span.ts';

/** What is under way from the server at most: lanes come over the same connection. */
const prefetchBytes = 1024 * 1024;
/** After so many bytes no more are asked for until as much time is over as the work on them took: lanes are first. */
const stepBytes = prefetchBytes / 2;
const maxRestMs = 100;

export interface NatsSurveyOptions {
  readonly link: NatsLink;
  /** The own cluster's name. */
  readonly cluster: string;
  readonly stream: string;
  /** Of a source; undefined: it is a sink. */
  readonly rules: ExportRules | undefined;
}

/** Reads a JetStream stream again, to compare what it holds with what another one holds. */
export class NatsSurvey implements Survey {
  readonly #options: NatsSurveyOptions;
  readonly #place: string;
  readonly #leavesOut: ImportFilter | undefined;

  constructor(options: NatsSurveyOptions) {
    const { cluster, stream, rules } = options;
    this.#options = options;
    this.#place = `${cluster}/${stream}`;
    this.#leavesOut = rules && exportFilter(rules);
  }

  async extent(): Promise<SurveySpan> {
    const { state } = await this.#info();
    return { from: state.first_seq, upTo: state.last_seq };
  }

  async since(timeMs: number, { from, upTo }: SurveySpan): Promise<number | undefined> {
    const { link, stream } = this.#options;
    const read = (sequence: number) => messageFrom(link.require(), link.api, stream, sequence);
    return this.#named(() => firstSince(timeMs, from, upTo, read));
  }

  async read(
    span: SurveySpan,
    observe: (record: SurveyedRecord) => void,
    passed: (sequence: number) => void,
    signal: AbortSignal,
  ): Promise<void> {
    const { link, stream, rules } = this.#options;
    const { created, state } = await this.#info();
    const from = Math.max(span.from, state.first_seq, 1);
    const upTo = Math.min(span.upTo, state.last_seq);
    if (upTo < from || state.messages === 0) return;
    let bytes = 0;
    let workedMs = 0;
    let resting = false;
    await readSpan({
      link,
      stream,
      created,
      after: from - 1,
      upTo,
      headersOnly: false,
      prefetchBytes,
      missing: this.#missing,
      message: (message, sequence, seconds, nanos) => {
        const beganMs = performance.now();
        const record =
          rules === undefined ? this.#stored(message, sequence) : this.#offered(message, sequence, seconds, nanos);
        if (record !== undefined) observe(record);
        passed(sequence);
        bytes += rawSize(message);
        workedMs += performance.now() - beganMs;
      },
      refill: (want) => {
        if (resting || bytes < stepBytes) return;
        resting = true;
        setTimeout(
          () => {
            resting = false;
            bytes = 0;
            workedMs = 0;
            if (!signal.aborted) want();
          },
          Math.min(maxRestMs, workedMs),
        );
      },
      signal,
    });
  }

  /** A message of a source, as the lane would carry it. */
  #offered(message: Msg, at: number, seconds: number, nanos: number): SurveyedRecord {
    const provenance = readProvenance(rawHeaders(message), this.#place, at);
    const { headers, identity, path, sourced } = provenance;
    const origin = identity === undefined ? undefined : splitIdentity(identity.toString());
    const place = origin === undefined ? this.#place : placeOf(origin.space);
    const sequence = origin?.sequence ?? at;
    const time = origin?.time ?? originTime(seconds, nanos);
    const came = identity !== undefined || sourced === true;
    const hops = path?.toString().split(',').length ?? 0;
    const leftOut = came && (hops >= maxHops || this.#leavesOut?.(at, provenance) !== undefined);
    const digest = () => digestOf(place, sequence, time, headers, rawPayload(message));
    return { at, place, sequence, time, lane: '', position: nowhere, leftOut, digest };
  }

  /** A message of a sink, if a lane wrote it. */
  #stored(message: Msg, at: number): SurveyedRecord | undefined {
    const headers = rawHeaders(message);
    const tail = readTail(headers, this.#place, at);
    if (tail === undefined) return undefined;
    const { lane, position, origin } = tail;
    const { sequence, time } = origin;
    const place = placeOf(origin.space);
    const digest = () => digestOf(place, sequence, time, headers, rawPayload(message));
    return { at, place, sequence, time, lane, position, leftOut: false, digest };
  }

  get #missing(): 'source-missing' | 'sink-missing' {
    return this.#options.rules === undefined ? 'sink-missing' : 'source-missing';
  }

  #info(): Promise<StreamInfo> {
    const { link, stream } = this.#options;
    return this.#named(() => streamInfo(link.require(), link.api, stream));
  }

  /** Makes a FailureError of whatever a call to the server throws. */
  async #named<T>(call: () => Promise<T>): Promise<T> {
    try {
      return await call();
    } catch (error) {
      const { reason, detail } = natsFailure(error, this.#missing);
      throw new FailureError(reason, detail, { cause: error });
    }
  }
}

const nowhere: Position = { incarnation: '', sequence: 0 };

/** cluster/stream of cluster/stream/incarnation: the label of an incarnation is no part of what a record is. */
function placeOf(space: string): string {
  return space.slice(0, space.lastIndexOf('/'));
}

function digestOf(place: string, sequence: number, time: number, headers: Buffer, payload: Buffer): Buffer {
  return createHash('sha256')
    .update(`${place}/${sequence}/${time}\n${applicationHeaders(headers)}\n\n`)
    .update(payload)
    .digest()
    .subarray(0, digestBytes);
}
