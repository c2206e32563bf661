/** What a sensor of a plant sends: a subject and a payload. */
export interface Reading {
  readonly subject: string;
  readonly payload: string;
}

/** Subjects of all readings, for the stream that takes them. */
export const readingSubjects = 'press.>';

const presses = 24;
const kinds: readonly { readonly name: string; readonly unit: string; readonly low: number; readonly high: number }[] =
  [
    { name: 'temperature', unit: '°C', low: 35, high: 80 },
    { name: 'pressure', unit: 'bar', low: 90, high: 210 },
    { name: 'vibration', unit: 'mm/s', low: 0.4, high: 7 },
  ];

/**
 * Reading number `n`, from 1, of a plant whose sensors began at `startMs`. Each can be made again from its number alone, so
 * that whoever reads a stream knows whether a record is exactly what was sent.
 */
export function readingOf(plant: string, n: number, startMs: number, perSecond: number): Reading {
  const press = (n % presses) + 1;
  const kind = kinds[Math.floor(n / presses) % kinds.length]!;
  const atMs = startMs + Math.floor(((n - 1) * 1000) / perSecond);
  const wave = Math.sin(n / 400 + press) * 0.4 + noise(n) * 0.1 + 0.5;
  const value = (kind.low + (kind.high - kind.low) * wave).toFixed(2);
  return {
    subject: `press.${press}.${kind.name}`,
    payload: `{"plant":"${plant}","n":${n},"at":"${new Date(atMs).toISOString()}","value":${value},"unit":"${kind.unit}"}`,
  };
}

/** The number that a payload says it is; undefined if it is none of ours. */
export function numberOf(payload: string): number | undefined {
  const digits = /^\{"plant":"[a-z0-9-]+","n":(\d{1,15}),/.exec(payload)?.[1];
  return digits === undefined ? undefined : Number(digits);
}

/** Between 0 and 1, the same for the same number. */
function noise(n: number): number {
  const mixed = Math.imul(n ^ (n >>> 15), 0x2c1b3c6d);
  return ((mixed ^ (mixed >>> 12)) >>> 0) / 2 ** 32;
}
