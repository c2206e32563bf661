/**
 * What the records of a run look like. Every record can be made again from its number alone, so that whoever checks a
 * stream needs no copy of what was sent.
 */

/** `json`: what sensors send; compresses two- to threefold. `random`: bytes that nothing compresses. */
export type PayloadKind = 'json' | 'random';
export const payloadKinds: readonly PayloadKind[] = ['json', 'random'];

export interface Workload {
  readonly kind: PayloadKind;
  readonly payloadBytes: number;
  readonly records: number;
}

/** The head of a JSON record needs this much. */
export const minPayloadBytes = 128;

const devices = 48;
const states = ['idle', 'run', 'warm', 'hold'] as const;
const startMs = Date.UTC(2026, 0, 1);
/** A reading in hundredths, such as `42.17,`, has this many characters. */
const readingBytes = 6;
const lowest = 1000;
const highest = 9999;
const readings = makeReadings();

/** Subject of a record: one per device, under `plant.`. */
export function subjectOf(index: number): string {
  return subjects[mix(index) % devices]!;
}

const subjects = Array.from({ length: devices }, (_, device) => `plant.line-${device % 6}.${nameOf(device)}.telemetry`);

/** Writes record number `index` into the whole of `target`. */
export function writePayload(kind: PayloadKind, index: number, target: Buffer): void {
  if (kind === 'json') writeJson(index, target);
  else writeRandom(index, target);
}

/** `{"device":...,"values":[42.17,42.21,...]}`, the values a random walk, filled up with blanks: valid JSON of exactly the length. */
function writeJson(index: number, target: Buffer): void {
  let state = mix(index);
  const device = state % devices;
  const head = `{"device":"${nameOf(device)}","seq":${index},"at":${startMs + index * 7 + (state & 3)},"state":"${states[(state >>> 8) & 3]}","values":[`;
  let at = target.write(head, 0, 'latin1');
  const count = Math.floor((target.length - at - 2 + 1) / readingBytes);
  let value = lowest + (state % (highest - lowest));
  for (let i = 0; i < count; i++) {
    state = scramble(state);
    value += (state & 63) - 32;
    if (value < lowest) value = lowest + (state & 31);
    else if (value > highest) value = highest - (state & 31);
    const from = (value - lowest) * readingBytes;
    for (let j = 0; j < readingBytes; j++) target[at + j] = readings[from + j]!;
    at += readingBytes;
  }
  // The last reading has no comma.
  at = target.write(']}', at - 1, 'latin1') + at - 1;
  target.fill(0x20, at);
}

function writeRandom(index: number, target: Buffer): void {
  let state = mix(index);
  let at = target.writeUInt32LE(index, 0);
  for (; at + 4 <= target.length; at += 4) {
    state = scramble(state);
    target.writeUInt32LE(state, at);
  }
  for (; at < target.length; at++) target[at] = state >>> ((at & 3) * 8);
}

function makeReadings(): Uint8Array {
  const texts: string[] = [];
  for (let value = lowest; value <= highest; value++) texts.push(`${(value / 100).toFixed(2)},`);
  return Buffer.from(texts.join(''), 'latin1');
}

function nameOf(device: number): string {
  return `press-${String(device).padStart(2, '0')}`;
}

/** A well mixed 32-bit number, never 0, for a number. */
function mix(index: number): number {
  let x = (index + 0x9e3779b9) | 0;
  x = Math.imul(x ^ (x >>> 16), 0x85ebca6b);
  x = Math.imul(x ^ (x >>> 13), 0xc2b2ae35);
  return (x ^ (x >>> 16)) >>> 0 || 1;
}

/** Next number of a xorshift sequence. */
function scramble(state: number): number {
  let x = state;
  x ^= x << 13;
  x ^= x >>> 17;
  x ^= x << 5;
  return x >>> 0;
}
