import { originTime } from '../../dedupe/origin-index.ts';
import type { RecordView } from '../../wire/record-view.ts';
import type { TailRecord } from '../broker.ts';
import type { QuarantinedRecord } from '../store.ts';
import { type HeaderTarget, isReserved, plainTarget, renamed, storedLine } from './header-policy.ts';
import { isSourced } from './stream-source.ts';

/**
 * Causeway's own headers. What becomes of those that NATS reserves stands in header-policy.ts.
 *
 * - `Causeway-Origin: cluster/stream/incarnation/sequence/time` the identity, kept through every hop (time in Unix nanoseconds)
 * - `Causeway-Lane: link/from/to;incarnation.sequence;previous[;seconds.nanos]` the position on the last lane, the sequence of the
 *   record before it on that lane, and the record's time at that lane's source where it differs from the origin's
 * - `Causeway-Path: cluster/stream,...` the way so far, where it is longer than the origin
 * - `Causeway-At: cluster/stream/sequence` where the record was written, so that copies of these headers made by applications,
 *   republish or JetStream sources count for nothing; `-` for the sequence where it was not known beforehand
 */
const originKey = 'Causeway-Origin';
const laneKey = 'Causeway-Lane';
const pathKey = 'Causeway-Path';
const atKey = 'Causeway-At';
/** On what was stored again out of the quarantine: `lane;incarnation.sequence`. */
const quarantineKey = 'Causeway-Quarantine';
const chainKey = 'Nats-Expected-Last-Sequence';
const idKey = 'Nats-Msg-Id';
const ours = Buffer.from('Causeway-');
const version = 'NATS/1.0';
const firstLine = `${version}\r\n`;
/** A first line with a status. */
const statusLine = /^NATS\/1\.0[^\r\n]*\r\n/;
const blockEnd = '\r\n\r\n';
const beyondAscii = /[\x80-\xff]/;

const reserved = /^(?:nats|causeway)-/i;
/** Something in a block may have to be stripped or renamed. */
const suspicious = /\n(?:Nats-|Causeway-)/;

/** The headers of a record as they travel, and where it came from if the record's own headers prove it. */
export interface Provenance {
  /** The block without Causeway's headers; empty if nothing is left. */
  readonly headers: Buffer;
  readonly identity?: Buffer;
  readonly path?: Buffer;
  /** The lane that brought it here. */
  readonly lane?: string;
  /** JetStream copied it here, out of another stream. Of what a lane brought that is not asked. */
  readonly sourced?: boolean;
}

const none = Buffer.alloc(0);
/** Longest origin or path, in characters. */
const maxOriginLength = 4096;
const originPattern = /^([^/]+\/[^/]+\/[^/]+)\/(\d{1,16})\/(\d{1,10})(\d{9})$/;
const lanePattern = /^([^;]+);([^.;]*)\.(\d{1,16});(\d{1,16})(?:;(\d{1,10})\.(\d{1,9}))?$/;
const labelPattern = /^[\w-]{1,32}$/;
const maxNanos = 999_999_999;

/**
 * What makes it impossible to write down where a record came from so that it is found again; undefined if nothing. These
 * fields come from the peer, who may have defects.
 */
export function provenanceFault(view: RecordView, incarnation: string): string | undefined {
  if (!labelPattern.test(incarnation)) return 'an incarnation that is no label';
  if (view.nanos > maxNanos) return `a time with ${view.nanos} nanoseconds`;
  if (view.identityEnd === view.identityStart) return undefined;
  const { buffer, identityStart, identityEnd, pathStart, pathEnd } = view;
  const unfit = (text: string) => hasControl(text) || text.length > maxOriginLength;
  const identity = buffer.toString('utf8', identityStart, identityEnd);
  if (unfit(identity) || !originPattern.test(identity)) return 'an origin that cannot be read';
  return unfit(buffer.toString('utf8', pathStart, pathEnd)) ? 'a path that cannot be written' : undefined;
}

function hasControl(text: string): boolean {
  for (let i = 0; i < text.length; i++) if (text.charCodeAt(i) < 32) return true;
  return false;
}

/**
 * Takes Causeway's headers off a record read at `place` (cluster/stream) and `sequence`. They prove an origin only if they
 * were written for this very place.
 */
export function readProvenance(block: Buffer, place: string, sequence: number): Provenance {
  if (block.length === 0) return { headers: block };
  if (block.indexOf(ours) < 0) return { headers: block, sourced: isSourced(block) };
  const text = block.toString('latin1');
  const at = headerValue(text, atKey);
  const proven = at === `${place}/${sequence}` || at === `${place}/-`;
  // On a record of ours these two are ours too.
  const rest = splitLines(text).filter(([key]) => !isOurs(key) && !(proven && (key === idKey || key === chainKey)));
  const empty = rest.length === 0 && text.startsWith(firstLine);
  const headers = empty
    ? none
    : joinLines(
        text,
        rest.map(([, line]) => line),
      );
  const identity = headerValue(text, originKey);
  if (!proven || identity === undefined) return { headers, sourced: isSourced(block) };
  const path = headerValue(text, pathKey);
  const lane = headerValue(text, laneKey);
  return {
    headers,
    identity: Buffer.from(identity),
    ...(path === undefined ? {} : { path: Buffer.from(path) }),
    ...(lane === undefined ? {} : { lane: lane.slice(0, Math.max(0, lane.indexOf(';'))) }),
  };
}

/**
 * The headers of a block that a lane carries as they are and that neither NATS nor Causeway reserves, one to a line: the same at the source of a lane and in
 * its sink.
 */
export function applicationHeaders(block: Buffer): string {
  if (block.length === 0) return '';
  const lines: string[] = [];
  for (const [key, line] of splitLines(block.toString('latin1'))) if (!reserved.test(key)) lines.push(line);
  return lines.join('\n');
}

function isOurs(key: string): boolean {
  return key === originKey || key === laneKey || key === pathKey || key === atKey;
}

/** What a header block found in the sink at `place` and `sequence` says, if it was written there by a lane. */
export function readTail(block: Buffer, place: string, sequence: number): TailRecord | undefined {
  if (block.indexOf(ours) < 0) return undefined;
  const text = block.toString('latin1');
  const at = headerValue(text, atKey);
  if (at !== `${place}/${sequence}` && at !== `${place}/-`) return undefined;
  const lane = lanePattern.exec(headerValue(text, laneKey) ?? '');
  const origin = originPattern.exec(headerValue(text, originKey) ?? '');
  if (lane === null || origin === null) return undefined;
  return {
    sinkSequence: sequence,
    lane: lane[1]!,
    position: { incarnation: lane[2]!, sequence: Number(lane[3]) },
    previous: Number(lane[4]),
    origin: {
      space: origin[1]!,
      sequence: Number(origin[2]),
      time: originTime(Number(origin[3]), Number(origin[4])),
      seconds: Number(lane[5] ?? origin[3]),
      nanos: Number(lane[6] ?? origin[4]),
    },
  };
}

/** True if a lane wrote the record at `place` and `sequence`, under the message id that stands for its origin. */
export function isUnderItsId(block: Buffer, place: string, sequence: number): boolean {
  const text = block.toString('latin1');
  const at = headerValue(text, atKey);
  const id = headerValue(text, idKey);
  const origin = headerValue(text, originKey);
  return (
    (at === `${place}/${sequence}` || at === `${place}/-`) && origin !== undefined && id === messageIdOf(origin, place)
  );
}

/**
 * An origin without the label of its incarnation, which lanes may have given their source each for itself: the same record has the same
 * id. And the stream that it is written to: a JetStream source or an application that copies a record takes its id along, and in a stream
 * where we write that very record too the copy would stand in its way.
 */
function messageIdOf(origin: string, place: string): string {
  return `${origin.replace(/\/[^/]*(\/\d+\/\d+)$/, '$1')}@${place}`;
}

/** What stays the same for all records of a lane in one session. */
export interface LaneLabels {
  readonly lane: string;
  /** cluster/stream at the sending end. */
  readonly source: string;
  /** cluster/stream here. */
  readonly place: string;
}

/**
 * The header block of a record as it is appended: the block it travelled with, as `target` takes it, and ours. `expectLast` is the sequence
 * that the chain puts it behind; absent in id mode, where the record carries its identity as message id instead.
 */
export function sinkHeaders(
  view: RecordView,
  labels: LaneLabels,
  incarnation: string,
  previous: number,
  expectLast: number | undefined,
  target: HeaderTarget = plainTarget,
): Buffer {
  const nanos = String(view.nanos).padStart(9, '0');
  const relayed = view.identityEnd > view.identityStart;
  const origin = relayed
    ? view.buffer.toString('utf8', view.identityStart, view.identityEnd)
    : `${labels.source}/${incarnation}/${view.sequence}/${view.seconds}${nanos}`;
  // Ours come first: servers up to 2.10 look for their own headers by the first place where the name occurs, be it inside
  // another header's value, and then take the header for absent.
  let text =
    `${expectLast === undefined ? `${idKey}: ${messageIdOf(origin, labels.place)}` : `${chainKey}: ${expectLast}`}\r\n` +
    `${laneKey}: ${labels.lane};${incarnation}.${view.sequence};${previous}${relayed ? `;${view.seconds}.${nanos}` : ''}\r\n` +
    `${originKey}: ${origin}\r\n` +
    `${atKey}: ${labels.place}/${expectLast === undefined ? '-' : expectLast + 1}\r\n`;
  if (relayed) {
    const path = view.buffer.toString('utf8', view.pathStart, view.pathEnd);
    text += `${pathKey}: ${path === '' ? '' : `${path},`}${labels.source}\r\n`;
  }
  return withOurs(text, view.buffer.subarray(view.headersStart, view.headersEnd), view.seconds, target);
}

/** A record that is stored again out of the quarantine: without a position, for it stands outside the order of its lane. */
export function retriedHeaders(record: QuarantinedRecord, place: string, expectLast: number, mark: string): Buffer {
  const { headers, origin, path, seconds } = record;
  const text =
    `${chainKey}: ${expectLast}\r\n${originKey}: ${origin}\r\n${atKey}: ${place}/${expectLast + 1}\r\n` +
    `${path === undefined ? '' : `${pathKey}: ${path}\r\n`}${quarantineKey}: ${mark}\r\n`;
  return withOurs(text, headers, seconds, plainTarget);
}

/** What a header block at `place` and `sequence` says of the quarantine, if it was stored there out of it. */
export function readRetried(block: Buffer, place: string, sequence: number): string | undefined {
  const text = block.toString('latin1');
  return headerValue(text, atKey) === `${place}/${sequence}` ? headerValue(text, quarantineKey) : undefined;
}

/** Lines of ours before those of a block that travelled, or of none. */
function withOurs(lines: string, travelled: Buffer, seconds: number, target: HeaderTarget): Buffer {
  if (travelled.length === 0) return Buffer.from(`${firstLine}${lines}\r\n`);
  const block = carried(travelled, seconds, target);
  const restAt = block.indexOf('\r\n') + 2;
  // Its first line may have a status, which is the application's too.
  if (restAt !== firstLine.length)
    return Buffer.concat([block.subarray(0, restAt), Buffer.from(lines), block.subarray(restAt)]);
  const text = firstLine + lines;
  const size = Buffer.byteLength(text);
  const result = Buffer.allocUnsafe(size + block.length - restAt);
  result.write(text);
  block.copy(result, size, restAt);
  return result;
}

/** The block that a record travelled with, as it is stored. */
function carried(block: Buffer, seconds: number, target: HeaderTarget): Buffer {
  const text = block.toString('latin1');
  if (text.startsWith(version) && text.endsWith(blockEnd) && !suspicious.test(text)) return block;
  const ageSeconds = () => Math.max(0, Math.floor(Date.now() / 1000) - seconds);
  const lines: string[] = [];
  for (const [key, line] of splitLines(text)) {
    const reserved = isReserved(key);
    // Nothing passes for ours, not even under its new name.
    if (isOurs(reserved ? renamed(key) : key)) continue;
    const stored = reserved ? storedLine(key, line, target, ageSeconds) : line;
    if (stored !== undefined) lines.push(stored);
  }
  return joinLines(text, lines);
}

/** Key and whole line of each header of a block as latin1 text, in order; keys may repeat. */
function splitLines(text: string): [key: string, line: string][] {
  const lines: [string, string][] = [];
  for (const line of text.split('\r\n').slice(1)) {
    if (line === '') continue;
    const colon = line.indexOf(':');
    lines.push([colon < 0 ? line : line.slice(0, colon), line]);
  }
  return lines;
}

/** The block with other lines. */
function joinLines(text: string, lines: readonly string[]): Buffer {
  const first = text.startsWith(firstLine) ? firstLine : (statusLine.exec(text)?.[0] ?? firstLine);
  return Buffer.from(`${first}${lines.map((line) => `${line}\r\n`).join('')}\r\n`, 'latin1');
}

/** The first value of a header in a block as latin1 text. */
function headerValue(text: string, key: string): string | undefined {
  const line = text.indexOf(`\n${key}:`);
  if (line < 0) return undefined;
  const end = text.indexOf('\r\n', line + 1);
  const value = text.slice(line + key.length + 2, end < 0 ? text.length : end).trim();
  // Names of streams may be more than ASCII.
  return beyondAscii.test(value) ? Buffer.from(value, 'latin1').toString('utf8') : value;
}
