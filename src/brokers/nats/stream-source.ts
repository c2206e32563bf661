import { createHash } from 'node:crypto';
import type { CopyLabel } from '../broker.ts';

const key = Buffer.from('\nNats-Stream-Source:');
const pattern = /\nNats-Stream-Source:[ \t]*([^ \r]+) (\d{1,16})(?: ([^ \r]+ [^ \r]+))?/;
const digits = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';

/**
 * Reads the label of a message out of its headers; undefined if it was not sourced. What JetStream writes on a message that it sourced, `Nats-Stream-Source`, run on 2.9.10, 2.10.27 and 2.15.1:
 *
 * - 2.9:  `TELEMETRY:LTXMcqHH 5`                                stream, hash of the API prefix if it is another domain or account, sequence
 * - 2.10: `TELEMETRY:LTXMcqHH 5 telemetry.> fleet.x.>`          and filter and destination; `> >` without
 * - 2.15: `TELEMETRY:LTXMcqHH 5 > > telemetry.a WFHK5g96`       and the subject at the source, and an identity of the source stream
 *
 * The index is STREAM or STREAM:HASH.
 */
export function readStreamSource(block: Buffer): CopyLabel | undefined {
  if (block.indexOf(key) < 0) return undefined;
  const match = pattern.exec(block.toString('utf8'));
  if (match === null) return undefined;
  const index = match[1]!;
  return { stream: sourceStream(index), index, sequence: Number(match[2]), route: match[3] };
}

/** Whether JetStream copied the message, be the label readable or not. */
export function isSourced(block: Buffer): boolean {
  return block.indexOf(key) >= 0;
}

/** STREAM or STREAM:HASH, as a server writes it for a source that it reads through this API prefix. */
export function sourceIndex(stream: string, api: string | undefined): string {
  if (api === undefined) return stream;
  const sum = createHash('sha256').update(api).digest().subarray(0, 8);
  return `${stream}:${[...sum].map((byte) => digits[byte % digits.length]).join('')}`;
}

function sourceStream(index: string): string {
  const colon = index.indexOf(':');
  return colon < 0 ? index : index.slice(0, colon);
}
