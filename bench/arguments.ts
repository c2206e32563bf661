import { parseArgs } from 'node:util';
import { minPayloadBytes, type PayloadKind, payloadKinds } from './payloads.ts';
import type { SystemName } from './system.ts';

export const usage = `Usage: npm run bench [-- OPTIONS]

  --quick            a third of the records, 2 repeats
  --sizes LIST       payload sizes in bytes (default 128,1024,16384)
  --records N        records per run (default: what takes about 4 seconds)
  --repeat N         runs of each system at each size (default 5)
  --payload KIND     ${payloadKinds.join(' or ')} (default json)
  --only SYSTEM      causeway or sources, alone
  --plain-leaf       the leaf node of sources without TLS
  --profile DIR      leave CPU profiles of the daemons in DIR and print where their time went; implies --only causeway
  --write            write the table to bench/results/DATE.md
`;

export interface BenchOptions {
  readonly sizes: readonly number[];
  readonly systems: readonly SystemName[];
  readonly repeat: number;
  readonly payload: PayloadKind;
  readonly plainLeaf: boolean;
  readonly profileDir?: string;
  readonly write: boolean;
  recordsOf(payloadBytes: number): number;
}

/** Records that two cores carry in about four seconds, to two digits. */
function usualRecords(payloadBytes: number): number {
  return Number((4 / (6e-6 + payloadBytes * 5e-9)).toPrecision(2));
}

/** Throws an Error with a message for the user. */
export function readArguments(args: readonly string[]): BenchOptions {
  const { values } = parseArgs({
    args: [...args],
    options: {
      quick: { type: 'boolean', default: false },
      sizes: { type: 'string', default: '128,1024,16384' },
      records: { type: 'string' },
      repeat: { type: 'string' },
      payload: { type: 'string', default: 'json' },
      only: { type: 'string' },
      'plain-leaf': { type: 'boolean', default: false },
      profile: { type: 'string' },
      write: { type: 'boolean', default: false },
    },
  });
  const sizes = values.sizes.split(',').map((size) => whole('--sizes', size, minPayloadBytes, 1024 * 1024 - 1024));
  const records = values.records === undefined ? undefined : whole('--records', values.records, 1000, 100_000_000);
  const repeat = whole('--repeat', values.repeat ?? (values.quick ? '2' : '5'), 1, 1000);
  const payload = payloadKinds.find((kind) => kind === values.payload);
  if (payload === undefined) throw new Error(`--payload is ${payloadKinds.join(' or ')}`);
  const only = values.only ?? (values.profile === undefined ? undefined : 'causeway');
  if (only !== undefined && only !== 'causeway' && only !== 'sources') throw new Error('--only is causeway or sources');
  return {
    sizes,
    systems: only === undefined ? ['causeway', 'sources'] : [only],
    repeat,
    payload,
    plainLeaf: values['plain-leaf'],
    ...(values.profile === undefined ? {} : { profileDir: values.profile }),
    write: values.write,
    recordsOf: (payloadBytes) => {
      if (records !== undefined) return records;
      return Math.round(usualRecords(payloadBytes) / (values.quick ? 3 : 1));
    },
  };
}

function whole(option: string, text: string, least: number, most: number): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < least || value > most) {
    throw new Error(`${option} takes whole numbers from ${least} to ${most}, not ${JSON.stringify(text)}`);
  }
  return value;
}
