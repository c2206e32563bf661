/**
 * What becomes of headers that NATS reserves (`Nats-*`, in this very case: servers look for no other) when a record is stored in
 * another stream than the one it was published to. Verbatim, 2.15 refuses several of them, and older servers store them without effect.
 *
 * - `same`: travels as it is; no server reacts to it
 * - `strip`: meant the stream that the record came from, and nothing elsewhere
 * - `rename`: travels as `Causeway-*`, so that it neither takes effect nor is refused
 * - `ttl`: takes effect, less the record's age, where the sink allows TTLs; else `rename`
 * - `rollup`: takes effect for its own subject where the sink is a KV bucket, whose purges are such; else `rename`. For the whole stream it
 *   would take what other lanes brought
 * - `bucket`: `same` where the sink is a KV bucket, whose clients read it; else `rename`
 */
type Treatment = 'same' | 'strip' | 'rename' | 'ttl' | 'rollup' | 'bucket';

/** By the name behind `Nats-`; one that ends in `-` stands for all that begin so. */
const table: Readonly<Record<string, Treatment>> = {
  'Msg-Id': 'rename',
  // What was to be true of the stream that it was published to.
  'Expected-': 'strip',
  'Batch-': 'strip',
  'Required-Api-Level': 'strip',
  // What republish and direct get say of the message that they copy.
  Stream: 'strip',
  Subject: 'strip',
  Sequence: 'strip',
  'Last-Sequence': 'strip',
  'Time-Stamp': 'strip',
  'Num-Pending': 'strip',
  'UpTo-Sequence': 'strip',
  'Msg-Size': 'strip',
  // Lifetime and deletion.
  TTL: 'ttl',
  Rollup: 'rollup',
  'Marker-Reason': 'bucket',
  // What a server has written, or would act upon.
  'Stream-Source': 'rename',
  Incr: 'rename',
  'Counter-Sources': 'rename',
  Schedule: 'rename',
  'Schedule-': 'rename',
  Scheduler: 'rename',
  // `Trace-Only` keeps a server from storing the record, and from answering.
  'Trace-': 'rename',
  // Taken off by servers when they store a record.
  'Request-Info': 'rename',
  // What services tell those who asked.
  'Service-': 'same',
};

const exact = new Map(Object.entries(table));
const prefixes = [...exact].filter(([name]) => name.endsWith('-'));

/** What a sink stream makes of reserved headers, by its configuration as its server tells it: what a server does not know, it does not tell. */
export interface HeaderTarget {
  /** TTLs of single records (2.11 and later, `allow_msg_ttl`). */
  readonly ttl: boolean;
  /** A KV bucket that takes purges. */
  readonly bucket: boolean;
}

/** A stream without any of that. */
export const plainTarget: HeaderTarget = { ttl: false, bucket: false };

export function headerTarget(config: {
  readonly name: string;
  readonly allow_msg_ttl?: boolean;
  readonly allow_rollup_hdrs?: boolean;
}): HeaderTarget {
  return {
    ttl: config.allow_msg_ttl === true,
    bucket: config.name.startsWith('KV_') && config.allow_rollup_hdrs === true,
  };
}

const reserved = 'Nats-';

export function isReserved(key: string): boolean {
  return key.startsWith(reserved);
}

/** A reserved header, or the line of one, under a name of ours. */
export function renamed(line: string): string {
  return `Causeway-${line.slice(reserved.length)}`;
}

const rollupLine = /:[ \t]*sub[ \t]*$/;

/**
 * The line of a reserved header as it is stored; undefined if it is stripped. `line` begins with `key`, and is latin1 text. `ageSeconds`: for how
 * long the lane's source has held the record.
 */
export function storedLine(
  key: string,
  line: string,
  target: HeaderTarget,
  ageSeconds: () => number,
): string | undefined {
  switch (treatmentOf(key.slice(reserved.length))) {
    case 'same':
      return line;
    case 'strip':
      return undefined;
    case 'rename':
      return renamed(line);
    case 'rollup':
      return target.bucket && rollupLine.test(line) ? line : renamed(line);
    case 'bucket':
      return target.bucket ? line : renamed(line);
    case 'ttl': {
      const left = target.ttl ? lifetimeLeft(line.slice(key.length + 1).trim(), ageSeconds) : undefined;
      return left === undefined ? renamed(line) : `${key}: ${left}`;
    }
  }
}

/** Headers that no line speaks of are renamed: a server to come may act upon them. */
function treatmentOf(name: string): Treatment {
  return exact.get(name) ?? prefixes.find(([prefix]) => name.startsWith(prefix))?.[1] ?? 'rename';
}

const unitSeconds: Readonly<Record<string, number>> = { h: 3600, m: 60, s: 1, ms: 1e-3, us: 1e-6, ns: 1e-9 };
const duration = /^(?:\d+(?:\.\d*)?(?:h|ms|m|s|us|ns))+$/;
/** What a server can count, in seconds: 2^63 ns. */
const maxSeconds = 9e9;

/**
 * What is left of a TTL (seconds, a duration as Go writes it, or `never`), at least the second that servers demand: a record that
 * outlived its TTL at its source still has its place in the order. Undefined for what no server takes.
 */
function lifetimeLeft(value: string, ageSeconds: () => number): string | undefined {
  if (value === 'never') return value;
  let seconds = 0;
  if (/^\d+$/.test(value)) seconds = Number(value);
  else if (duration.test(value))
    for (const [, number, unit] of value.matchAll(/([\d.]+)(h|ms|m|s|us|ns)/g))
      seconds += Number(number) * unitSeconds[unit!]!;
  if (seconds < 1 || seconds > maxSeconds) return undefined;
  return `${Math.max(1, Math.floor(seconds) - ageSeconds())}s`;
}
