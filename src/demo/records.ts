/** What an application of the demo sends: a subject and a payload. */
export interface SentRecord {
  readonly subject: string;
  readonly payload: string;
}

/** When an application began, and how fast it sends: the times in its records follow from that. */
export interface Pace {
  /** Unix ms. */
  readonly startMs: number;
  readonly perSecond: number;
}

/**
 * Makes record number `n`, from 1, of the application at a cluster. Each can be made again from its number alone, so that
 * whoever reads a stream knows whether a record is exactly what was sent.
 */
export type RecordMaker = (cluster: string, n: number, pace: Pace) => SentRecord;

const presses = 24;
const kinds: readonly { readonly name: string; readonly unit: string; readonly low: number; readonly high: number }[] =
  [
    { name: 'temperature', unit: '°C', low: 35, high: 80 },
    { name: 'pressure', unit: 'bar', low: 90, high: 210 },
    { name: 'vibration', unit: 'mm/s', low: 0.4, high: 7 },
  ];
const parts = ['bushing', 'flange', 'gasket', 'grommet', 'seal'] as const;

/** What a sensor at a press has measured. */
export const readingOf: RecordMaker = (cluster, n, pace) => {
  const press = (n % presses) + 1;
  const kind = kinds[Math.floor(n / presses) % kinds.length]!;
  const wave = Math.sin(n / 400 + press) * 0.4 + noise(n) * 0.1 + 0.5;
  const value = (kind.low + (kind.high - kind.low) * wave).toFixed(2);
  return {
    subject: `press.${press}.${kind.name}`,
    payload: `${head(cluster, n, pace)},"value":${value},"unit":"${kind.unit}"}`,
  };
};

/** How a part is to be pressed from now on. */
export const recipeOf: RecordMaker = (cluster, n, pace) => {
  const degrees = 150 + Math.floor(noise(n) * 40);
  const seconds = 20 + Math.floor(noise(n + 1) * 90);
  return {
    subject: `recipe.${partOf(n)}`,
    payload: `${head(cluster, n, pace)},"degrees":${degrees},"seconds":${seconds}}`,
  };
};

/** Parts that somebody at a cluster has ordered. */
export const orderOf: RecordMaker = (cluster, n, pace) => {
  const pieces = 10 + Math.floor(noise(n) * 5000);
  return { subject: `order.${cluster}.${partOf(n)}`, payload: `${head(cluster, n, pace)},"pieces":${pieces}}` };
};

/** The number that a payload says it is; undefined if it is none of ours. */
export function numberOf(payload: string): number | undefined {
  const digits = /^\{"n":(\d{1,15}),/.exec(payload)?.[1];
  return digits === undefined ? undefined : Number(digits);
}

function head(cluster: string, n: number, { startMs, perSecond }: Pace): string {
  const atMs = startMs + Math.floor(((n - 1) * 1000) / perSecond);
  return `{"n":${n},"from":"${cluster}","at":"${new Date(atMs).toISOString()}"`;
}

function partOf(n: number): string {
  return parts[n % parts.length]!;
}

/** Between 0 and 1, the same for the same number. */
function noise(n: number): number {
  const mixed = Math.imul(n ^ (n >>> 15), 0x2c1b3c6d);
  return ((mixed ^ (mixed >>> 12)) >>> 0) / 2 ** 32;
}
