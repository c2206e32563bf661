import { parseArgs } from 'node:util';
import { type LineName, lineNames } from './line-specs.ts';
import { minPayloadBytes, type PayloadKind, payloadKinds } from './payloads.ts';
import { type SystemName, systemNames } from './system.ts';

export const benches = ['throughput', 'outage', 'lines', 'soak'] as const;
export type BenchName = (typeof benches)[number];

/** `reset` and `silent` are made by a proxy for TCP, `packets` by a line that drops every packet. */
export const cutNames = ['reset', 'silent', 'packets'] as const;
export type CutName = (typeof cutNames)[number];

export const usage = `Usage: npm run bench [-- BENCH] [OPTIONS]

  throughput         records per second on the loopback device; what is measured if no BENCH is named
  outage             how long after a cut of the network records move again
  lines              throughput over long, lossy and narrow lines
  soak               memory while the sink is blocked; the first part of npm run test:soak

  --write            write the tables to bench/results/DATE-BENCH.md

throughput:
  --quick            a third of the records, 2 repeats
  --sizes LIST       payload sizes in bytes (default 128,1024,16384)
  --records N        records per run (default: what takes about 4 seconds)
  --repeat N         runs of each system at each size (default 5)
  --payload KIND     ${payloadKinds.join(' or ')} (default json)
  --only SYSTEM      causeway or sources, alone
  --plain-leaf       the leaf node of sources without TLS
  --profile DIR      leave CPU profiles of the daemons in DIR and print where their time went; implies --only causeway

outage:
  --cuts LIST        of ${cutNames.join(',')} (default all)
  --rounds N         cuts of each kind (default 5)
  --cut SECONDS      length of a cut (default 30)

lines:
  --lines LIST       of ${lineNames.join(',')} (default all)
  --seconds N        length of a run, after its start (default 20)
  --repeat N         runs of each system on each line (default 3)
  --payloads LIST    of ${payloadKinds.join(',')} (default both)
  --only SYSTEM      as above

soak:
  --minutes N        of each kind of block (default 10)
`;

export interface ThroughputOptions {
  readonly sizes: readonly number[];
  readonly systems: readonly SystemName[];
  readonly repeat: number;
  readonly payload: PayloadKind;
  readonly plainLeaf: boolean;
  readonly profileDir?: string;
  recordsOf(payloadBytes: number): number;
}

export interface OutageOptions {
  readonly cuts: readonly CutName[];
  readonly rounds: number;
  readonly cutSeconds: number;
}

export interface LinesOptions {
  readonly lines: readonly LineName[];
  readonly systems: readonly SystemName[];
  readonly seconds: number;
  readonly repeat: number;
  readonly payloads: readonly PayloadKind[];
}

export interface SoakOptions {
  readonly minutes: number;
}

/** What was asked for: exactly one of the four. */
export type Asked =
  | { readonly bench: 'throughput'; readonly options: ThroughputOptions }
  | { readonly bench: 'outage'; readonly options: OutageOptions }
  | { readonly bench: 'lines'; readonly options: LinesOptions }
  | { readonly bench: 'soak'; readonly options: SoakOptions };

type Words = readonly string[];

/** Throws an Error with a message for the user. */
export function readArguments(args: Words): Asked & { readonly write: boolean } {
  const [first = '', ...others] = args;
  if (first !== '' && !first.startsWith('-') && !(benches as Words).includes(first)) {
    throw new Error(`there is no bench ${JSON.stringify(first)}`);
  }
  const bench = benches.find((name) => name === first) ?? 'throughput';
  const rest = bench === first ? others : args;
  switch (bench) {
    case 'throughput':
      return { bench, ...throughput(rest) };
    case 'outage':
      return { bench, ...outage(rest) };
    case 'lines':
      return { bench, ...lines(rest) };
    case 'soak':
      return { bench, ...soak(rest) };
  }
}

const text = { type: 'string' } as const;
const flag = { type: 'boolean', default: false } as const;

function throughput(args: Words): { readonly options: ThroughputOptions; readonly write: boolean } {
  const { values } = parseArgs({
    args: [...args],
    options: {
      write: flag,
      quick: flag,
      sizes: { type: 'string', default: '128,1024,16384' },
      records: text,
      repeat: text,
      payload: text,
      only: text,
      'plain-leaf': flag,
      profile: text,
    },
  });
  const records = values.records === undefined ? undefined : whole('--records', values.records, 1000, 100_000_000);
  const options = {
    sizes: values.sizes.split(',').map((size) => whole('--sizes', size, minPayloadBytes, 1024 * 1024 - 1024)),
    systems: systems(values.only ?? (values.profile === undefined ? undefined : 'causeway')),
    repeat: whole('--repeat', values.repeat ?? (values.quick ? '2' : '5'), 1, 1000),
    payload: one('--payload', values.payload ?? 'json', payloadKinds),
    plainLeaf: values['plain-leaf'],
    ...(values.profile === undefined ? {} : { profileDir: values.profile }),
    recordsOf: (payloadBytes: number) => {
      if (records !== undefined) return records;
      return Math.round(usualRecords(payloadBytes) / (values.quick ? 3 : 1));
    },
  };
  return { options, write: values.write };
}

/** Records that two cores carry in about four seconds, to two digits. */
function usualRecords(payloadBytes: number): number {
  return Number((4 / (6e-6 + payloadBytes * 5e-9)).toPrecision(2));
}

function outage(args: Words): { readonly options: OutageOptions; readonly write: boolean } {
  const { values } = parseArgs({ args: [...args], options: { write: flag, cuts: text, rounds: text, cut: text } });
  const options = {
    cuts: list('--cuts', values.cuts, cutNames),
    rounds: whole('--rounds', values.rounds ?? '5', 1, 1000),
    cutSeconds: whole('--cut', values.cut ?? '30', 1, 3600),
  };
  return { options, write: values.write };
}

function lines(args: Words): { readonly options: LinesOptions; readonly write: boolean } {
  const { values } = parseArgs({
    args: [...args],
    options: { write: flag, lines: text, seconds: text, repeat: text, payloads: text, only: text },
  });
  const options = {
    lines: list('--lines', values.lines, lineNames),
    systems: systems(values.only),
    seconds: whole('--seconds', values.seconds ?? '20', 1, 3600),
    repeat: whole('--repeat', values.repeat ?? '3', 1, 1000),
    payloads: list('--payloads', values.payloads, payloadKinds),
  };
  return { options, write: values.write };
}

function soak(args: Words): { readonly options: SoakOptions; readonly write: boolean } {
  const { values } = parseArgs({ args: [...args], options: { write: flag, minutes: text } });
  return { options: { minutes: whole('--minutes', values.minutes ?? '10', 1, 100_000) }, write: values.write };
}

function list<T extends string>(option: string, words: string | undefined, known: readonly T[]): readonly T[] {
  return words === undefined ? known : words.split(',').map((word) => one(option, word, known));
}

function one<T extends string>(option: string, word: string, known: readonly T[]): T {
  const found = known.find((name) => name === word);
  if (found === undefined) throw new Error(`${option} takes ${known.join(', ')}, not ${JSON.stringify(word)}`);
  return found;
}

function systems(only: string | undefined): readonly SystemName[] {
  return only === undefined ? systemNames : [one('--only', only, systemNames)];
}

function whole(option: string, word: string, least: number, most: number): number {
  const value = Number(word);
  if (!Number.isSafeInteger(value) || value < least || value > most) {
    throw new Error(`${option} takes whole numbers from ${least} to ${most}, not ${JSON.stringify(word)}`);
  }
  return value;
}
