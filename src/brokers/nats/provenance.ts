import type { RecordView } from '../../wire/record-view.ts';
import type { TailRecord } from '../broker.ts';

/**
 * Causeway's own headers, and what becomes of those that NATS reserves.
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
const ours = Buffer.from('Causeway-');
const reserved = Buffer.from('Nats-');
const firstLine = 'NATS/1.0\r\n';

/** Reserved headers whose meaning ends with the stream they were written to. */
const stripped =
  /^nats-(expected-|batch-|stream$|subject$|sequence$|last-sequence$|time-stamp$|num-pending$|msg-size$|required-api-level$)/i;
/** Application headers under the reserved prefix that travel as they are. */
const kept = /^nats-(service-|request-info$|trace-dest$|trace-only$)/i;

/** The headers of a record as they travel, and where it came from if the record's own headers prove it. */
export interface Provenance {
  /** The block without Causeway's headers; empty if nothing is left. */
  readonly headers: Buffer;
  readonly identity?: Buffer;
  readonly path?: Buffer;
}

const none = Buffer.alloc(0);

/**
 * Takes Causeway's headers off a record read at `place` (cluster/stream) and `sequence`. They prove an origin only if they
 * were written for this very place.
 */
export function readProvenance(block: Buffer, place: string, sequence: number): Provenance {
  if (block.length === 0 || block.indexOf(ours) < 0) return { headers: block };
  const lines = splitLines(block);
  const at = lineValue(lines, atKey);
  const proven = at === `${place}/${sequence}` || at === `${place}/-`;
  const rest = lines.filter(([key]) => !isOurs(key));
  const headers = rest.length === 0 ? none : joinLines(rest);
  const identity = lineValue(lines, originKey);
  if (!proven || identity === undefined) return { headers };
  const path = lineValue(lines, pathKey);
  return {
    headers,
    identity: Buffer.from(identity, 'latin1'),
    ...(path === undefined ? {} : { path: Buffer.from(path, 'latin1') }),
  };
}

function isOurs(key: string): boolean {
  return key === originKey || key === laneKey || key === pathKey || key === atKey;
}

/** What a header block found in the sink at `place` and `sequence` says, if it was written there by a lane. */
export function readTail(block: Buffer, place: string, sequence: number): TailRecord | undefined {
  if (block.indexOf(ours) < 0) return undefined;
  const lines = splitLines(block);
  const at = lineValue(lines, atKey);
  if (at !== `${place}/${sequence}` && at !== `${place}/-`) return undefined;
  const lane = /^([^;]+);([^.;]*)\.(\d{1,16});(\d{1,16})(?:;(\d{1,10})\.(\d{1,9}))?$/.exec(
    lineValue(lines, laneKey) ?? '',
  );
  const origin = /^([^/]+\/[^/]+\/[^/]+)\/(\d{1,16})\/(\d{1,10})(\d{9})$/.exec(lineValue(lines, originKey) ?? '');
  if (lane === null || origin === null) return undefined;
  return {
    sinkSequence: sequence,
    lane: lane[1]!,
    position: { incarnation: lane[2]!, sequence: Number(lane[3]) },
    previous: Number(lane[4]),
    origin: {
      space: origin[1]!,
      sequence: Number(origin[2]),
      seconds: Number(lane[5] ?? origin[3]),
      nanos: Number(lane[6] ?? origin[4]),
    },
  };
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
 * The header block of a record as it is appended: the block it travelled with, and ours. `sinkSequence` is where the chain puts it;
 * absent in id mode, where the record carries its identity as message id instead.
 */
export function sinkHeaders(
  view: RecordView,
  labels: LaneLabels,
  incarnation: string,
  previous: number,
  expectLast: number | undefined,
): Buffer {
  const nanos = String(view.nanos).padStart(9, '0');
  const relayed = view.identityEnd > view.identityStart;
  const origin = relayed
    ? view.buffer.toString('latin1', view.identityStart, view.identityEnd)
    : `${labels.source}/${incarnation}/${view.sequence}/${view.seconds}${nanos}`;
  let text =
    `${laneKey}: ${labels.lane};${incarnation}.${view.sequence};${previous}${relayed ? `;${view.seconds}.${nanos}` : ''}\r\n` +
    `${originKey}: ${origin}\r\n` +
    `${atKey}: ${labels.place}/${expectLast === undefined ? '-' : expectLast + 1}\r\n`;
  if (relayed) {
    const path = view.buffer.toString('latin1', view.pathStart, view.pathEnd);
    text += `${pathKey}: ${path === '' ? '' : `${path},`}${labels.source}\r\n`;
  }
  text +=
    expectLast === undefined
      ? `Nats-Msg-Id: ${labels.lane};${origin}\r\n\r\n`
      : `Nats-Expected-Last-Sequence: ${expectLast}\r\n\r\n`;
  if (view.headersEnd === view.headersStart) return Buffer.from(firstLine + text, 'latin1');
  const block = carried(view.buffer.subarray(view.headersStart, view.headersEnd));
  // The block ends in an empty line; ours take its place.
  const result = Buffer.allocUnsafe(block.length - 2 + text.length);
  block.copy(result, 0, 0, block.length - 2);
  result.write(text, block.length - 2, 'latin1');
  return result;
}

/** Applies the policy for reserved headers: strip what belongs to another stream, carry the rest under a name of ours. */
function carried(block: Buffer): Buffer {
  if (block.indexOf(reserved) < 0 && !/nats-/i.test(block.toString('latin1'))) return block;
  const lines: [string, string][] = [];
  for (const [key, line] of splitLines(block)) {
    if (!/^nats-/i.test(key) || kept.test(key)) lines.push([key, line]);
    else if (!stripped.test(key)) lines.push([key, `Causeway-${key.slice(5)}${line.slice(key.length)}`]);
  }
  return joinLines(lines);
}

/** Key and whole line of each header, in order; keys may repeat. */
function splitLines(block: Buffer): [key: string, line: string][] {
  const lines: [string, string][] = [];
  for (const line of block.toString('latin1').split('\r\n').slice(1)) {
    if (line === '') continue;
    const colon = line.indexOf(':');
    lines.push([colon < 0 ? line : line.slice(0, colon), line]);
  }
  return lines;
}

function joinLines(lines: readonly (readonly [string, string])[]): Buffer {
  return Buffer.from(`${firstLine}${lines.map(([, line]) => `${line}\r\n`).join('')}\r\n`, 'latin1');
}

function lineValue(lines: readonly (readonly [string, string])[], key: string): string | undefined {
  const found = lines.find(([name]) => name === key);
  return found?.[1].slice(key.length + 1).trim();
}
