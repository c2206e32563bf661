/** What daemons of other protocol versions have said, byte for byte: `test/recordings/`. Such a file is never changed. */
import { readdirSync, readFileSync } from 'node:fs';

type Said<Names extends string> = Readonly<Record<Names, Buffer>>;

export interface Recording {
  readonly name: string;
  /** The highest one that the peer speaks; its lowest is 1. */
  readonly version: number;
  readonly control: Said<'greeting' | 'declaration' | 'verdicts' | 'beat' | 'drain' | 'goodbye'>;
  /** Of a sender: position 6 is left out, 7 and 8 are a gap. `beginning`: from version 2 on, where the lane begins. */
  readonly sender: Said<'hello' | 'welcome' | 'first' | 'second' | 'gap' | 'third' | 'drain' | 'goodbye'> & {
    readonly beginning?: Buffer;
  };
  readonly receiver: Said<'hello' | 'welcome' | 'ackOfThree' | 'ackOfFive' | 'drain' | 'goodbye'>;
}

/** What a peer says that is newer than any we know: fields, words and kinds of frames that nobody knows, and a version out of reach. */
export interface NewerRecording extends Recording {
  readonly control: Recording['control'] & Said<'unknownKind' | 'beyondUs'>;
  readonly sender: Recording['sender'] & Said<'unknownKind' | 'beyondUs'>;
  readonly receiver: Recording['receiver'] & Said<'unknownKind' | 'beyondUs'>;
}

/** In the recordings: the epoch that a receiver has won, the peer's instance, and the lane of each role. */
export const recordedEpoch = 7;
export const recordedNode = (version: number): string => `daemon-of-version-${version}`;
export const recordedLanes = { sender: 'ghostly/ghost/hub', receiver: 'ghostward/hub/ghost' } as const;
/** Positions of the records that its sender has, and incarnations of its source and of ours. */
export const recordedPositions = (version: number): readonly number[] =>
  version === 1 ? [1, 2, 3, 4, 5, 6, 9, 10] : [1, 2, 3, 4, 5, 9, 10];
export const recordedIncarnations = { own: 'rec1', ours: 'live' } as const;

const folder = new URL('../recordings/', import.meta.url);

function read(name: string): Recording {
  const text = readFileSync(new URL(name, folder), 'utf8');
  const parsed = JSON.parse(text, (_key, value) => (typeof value === 'string' ? Buffer.from(value, 'hex') : value));
  return { name: name.replace('.json', ''), ...parsed };
}

export const newer = read('newer.json') as NewerRecording;
/** Of every version that was ever spoken, and of one that is newer. */
export const recordings: readonly Recording[] = [
  ...readdirSync(folder)
    .filter((name) => /^v\d+\.json$/.test(name))
    .sort()
    .map(read),
  newer,
];

/** The payload of a record of a recorded sender. The newer peer sends those of version 2. */
export const recordedPayload = (version: number, position: number): string =>
  `record ${position} of version ${version === newer.version ? 2 : version}`;

/** The frame with other values in some fields of its message, by number, and everything else as it was. */
export function altered(frame: Buffer, values: Readonly<Record<number, number | Buffer>>): Buffer {
  const [message] = fieldsOf(frame);
  const parts = fieldsOf(message!.content).map(({ number, bytes }) => {
    const value = values[number];
    return value === undefined ? bytes : field(number, value);
  });
  return field(message!.number, Buffer.concat(parts));
}

/** A field as Protobuf writes it: a number as a varint, bytes with their length. */
export function field(number: number, value: number | Buffer): Buffer {
  if (typeof value === 'number') return Buffer.concat([varint(number * 8), varint(value)]);
  return Buffer.concat([varint(number * 8 + 2), varint(value.length), value]);
}

function varint(value: number): Buffer {
  const bytes: number[] = [];
  for (let rest = value; ; rest = Math.floor(rest / 128)) {
    if (rest < 128) return Buffer.from([...bytes, rest]);
    bytes.push((rest % 128) + 128);
  }
}

function fieldsOf(message: Buffer): { readonly number: number; readonly bytes: Buffer; readonly content: Buffer }[] {
  let at = 0;
  const next = (): number => {
    let [value, unit] = [0, 1];
    for (;;) {
      const byte = message[at++]!;
      value += (byte % 128) * unit;
      if (byte < 128) return value;
      unit *= 128;
    }
  };
  const fields = [];
  while (at < message.length) {
    const start = at;
    const tag = next();
    const wire = tag % 8;
    let content = at;
    if (wire === 0) next();
    else if (wire === 1) at += 8;
    else if (wire === 5) at += 4;
    else {
      const length = next();
      content = at;
      at += length;
    }
    fields.push({
      number: Math.floor(tag / 8),
      bytes: message.subarray(start, at),
      content: message.subarray(content, at),
    });
  }
  return fields;
}
