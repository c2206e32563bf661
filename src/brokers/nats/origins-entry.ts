import { createHash } from 'node:crypto';
import { setImmediate } from 'node:timers/promises';
import { promisify } from 'node:util';
import { deflateRaw, inflateRaw } from 'node:zlib';
import type { KV } from '@nats-io/kv';
import { decodeSpaces, encodeSpaces, type OriginMark } from '../../dedupe/origin-snapshot.ts';
import type { LoadedOrigins, OriginsHead, SavedOrigins, StoredOrigins } from '../store.ts';

const deflate = promisify(deflateRaw);
const inflate = promisify(inflateRaw);

/** So long the coding of an entry may keep everything else waiting, in ms. */
const sliceMs = 5;

interface HeadJson {
  readonly v: 2;
  readonly upTo: number;
  readonly created: string;
  readonly mark?: OriginMark;
  /** Small sets stand here; large ones, packed, in parts with keys of their own, and here is what they must add up to. */
  readonly spaces?: string;
  readonly packed?: { readonly slot: 'a' | 'b'; readonly parts: number; readonly sha256: string };
}

export async function loadOrigins(kv: KV, key: string): Promise<LoadedOrigins> {
  const entry = await kv.get(key);
  if (entry === null) return { head: { revision: 0, slot: undefined, parts: 0 }, origins: undefined, fault: undefined };
  const unusable = (fault: string): LoadedOrigins => ({
    head: { revision: entry.revision, slot: undefined, parts: 0 },
    origins: undefined,
    fault,
  });
  // Deleted on purpose: the stream is to be read anew.
  if (entry.operation !== 'PUT') return { ...unusable(''), fault: undefined };
  let json: Partial<HeadJson> | null;
  let packed: Buffer | undefined;
  let spaces: Buffer;
  try {
    json = entry.json<Partial<HeadJson> | null>();
    if (json?.v !== 2) return unusable(`version ${String(json?.v)}, which this build does not know`);
    if (json.packed === undefined) spaces = Buffer.from(json.spaces ?? '', 'base64');
    else {
      packed = await readParts(kv, key, json.packed);
      if (packed === undefined) return unusable('its parts do not belong together');
      spaces = await inflate(packed);
    }
  } catch (error) {
    // What comes from the network has other errors.
    if (error instanceof SyntaxError || (error instanceof Error && 'code' in error && isZlib(error.code)))
      return unusable(`it cannot be read: ${error.message}`);
    throw error;
  }
  const { upTo, created, mark } = json;
  const sets = (await inSlices(decodeSpaces(spaces))).result;
  if (sets === undefined || !Number.isSafeInteger(upTo) || typeof created !== 'string' || !isMark(mark))
    return unusable('its fields are wrong');
  const head = { revision: entry.revision, slot: json.packed?.slot, parts: json.packed?.parts ?? 0 };
  return { head, origins: { upTo: upTo!, created, mark, spaces: sets }, fault: undefined };
}

/**
 * Writes over `head` and returns the new one, with what it took. Parts go to the slot that the present entry does not use, so that it stays whole
 * until it is replaced. Throws as the client does: error 10071 if somebody else was faster.
 */
export async function saveOrigins(
  kv: KV,
  key: string,
  origins: StoredOrigins,
  head: OriginsHead,
  partBytes: number,
): Promise<SavedOrigins> {
  const { upTo, created, mark } = origins;
  const { pieces, workMs } = await inSlices(encodeSpaces(origins.spaces));
  const spaces = Buffer.concat(pieces);
  const base = { v: 2, upTo, created, ...(mark === undefined ? {} : { mark }) } as const;
  let text = '';
  let packed: Buffer | undefined;
  const slot = head.slot === 'a' ? 'b' : 'a';
  let parts = 0;
  if (spaces.length > partBytes / 2) {
    packed = await deflate(spaces);
    const hash = createHash('sha256');
    for (let at = 0; at < packed.length; at += partBytes) {
      const part = packed.subarray(at, at + partBytes);
      hash.update(part);
      await kv.put(partKey(key, slot, parts++), part);
    }
    text = JSON.stringify({ ...base, packed: { slot, parts, sha256: hash.digest('hex') } } satisfies HeadJson);
  } else text = JSON.stringify({ ...base, spaces: spaces.toString('base64') } satisfies HeadJson);
  const revision = head.revision === 0 ? await kv.create(key, text) : await kv.update(key, text, head.revision);
  if (head.slot !== undefined) for (let i = 0; i < head.parts; i++) await kv.delete(partKey(key, head.slot, i));
  return {
    head: { revision, slot: packed === undefined ? undefined : slot, parts },
    bytes: packed?.length ?? text.length,
    workMs,
  };
}

/** Goes through what can be done in pieces, and lets others work in between. `workMs` is the time it took by itself. */
async function inSlices<P, R>(work: Generator<P, R>): Promise<{ pieces: P[]; result: R; workMs: number }> {
  const pieces: P[] = [];
  let workMs = 0;
  for (let fromMs = performance.now(); ; ) {
    const next = work.next();
    const tookMs = performance.now() - fromMs;
    if (next.done === true) return { pieces, result: next.value, workMs: workMs + tookMs };
    pieces.push(next.value);
    if (tookMs < sliceMs) continue;
    workMs += tookMs;
    await setImmediate();
    fromMs = performance.now();
  }
}

async function readParts(kv: KV, key: string, { slot, parts, sha256 }: NonNullable<HeadJson['packed']>) {
  const pieces: Uint8Array[] = [];
  for (let i = 0; i < parts; i++) {
    const entry = await kv.get(partKey(key, slot, i));
    if (entry === null) return undefined;
    pieces.push(entry.value);
  }
  const packed = Buffer.concat(pieces);
  return digest(packed) === sha256 ? packed : undefined;
}

function partKey(key: string, slot: 'a' | 'b', index: number): string {
  return `${key}.${slot}.${index}`;
}

function digest(packed: Buffer): string {
  return createHash('sha256').update(packed).digest('hex');
}

function isZlib(code: unknown): boolean {
  return typeof code === 'string' && code.startsWith('Z_');
}

function isMark(mark: unknown): mark is OriginMark | undefined {
  if (mark === undefined) return true;
  if (typeof mark !== 'object' || mark === null) return false;
  const { sinkSequence, lane, incarnation, sequence } = mark as Partial<OriginMark>;
  return (
    typeof sinkSequence === 'number' &&
    typeof lane === 'string' &&
    typeof incarnation === 'string' &&
    typeof sequence === 'number'
  );
}
