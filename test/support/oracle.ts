/** Reads what streams really hold, and judges a sink by its sources. Shares no code with what it judges but the raw bytes. */
import { createHash } from 'node:crypto';
import { AckPolicy, DeliverPolicy, jetstream, jetstreamManager } from '@nats-io/jetstream';
import { connect, type NatsConnection } from 'nats';
import { rawHeaders } from '../../src/brokers/nats/raw-message.ts';

const prefetchBytes = 16 * 1024 * 1024;
const silenceMs = 8_000;

/** A record as a stream holds it. */
export interface Stored {
  readonly sequence: number;
  readonly subject: string;
  /** Lines of the header block, in order, without its first. */
  readonly headers: readonly string[];
  readonly bytes: number;
  /** SHA-1 of the payload. */
  readonly digest: string;
  /** The beginning of the payload. */
  readonly text: string;
}

/** Every record of a stream, from the first to the last that there was when this began. */
export async function readStream(url: string, stream: string): Promise<Stored[]> {
  const connection = await connect({ servers: url });
  try {
    const { state } = await (await jetstreamManager(connection)).streams.info(stream);
    const records: Stored[] = [];
    const isComplete = () => state.messages === 0 || (records.at(-1)?.sequence ?? 0) >= state.last_seq;
    // What a busy server sent and nobody got, it does not send again to a consumer that acknowledges nothing: another one goes on there.
    for (let attempt = 0; attempt < 4 && !isComplete(); attempt++)
      await readOn(connection, stream, state.last_seq, records);
    if (!isComplete())
      throw new Error(`${stream} gave ${records.length} of ${state.messages} records and then nothing`);
    return records;
  } finally {
    await connection.close();
  }
}

/** Reads behind the records there are, up to a sequence, or until nothing has come for a while. */
async function readOn(connection: NatsConnection, stream: string, upTo: number, records: Stored[]): Promise<void> {
  const manager = await jetstreamManager(connection);
  const name = `oracle-${process.pid}-${Math.random().toString(36).slice(2)}`;
  await manager.consumers.add(stream, {
    name,
    ack_policy: AckPolicy.None,
    deliver_policy: DeliverPolicy.StartSequence,
    opt_start_seq: (records.at(-1)?.sequence ?? 0) + 1,
    inactive_threshold: 60e9,
    mem_storage: true,
  });
  const consumer = await jetstream(connection).consumers.get(stream, name);
  let heardMs = performance.now();
  let over = false;
  await new Promise<void>((resolve, reject) => {
    const end = (error?: unknown): void => {
      over = true;
      clearInterval(silence);
      if (error) reject(error);
      else resolve();
    };
    const silence = setInterval(() => {
      if (performance.now() - heardMs > silenceMs) end();
    }, 500);
    consumer
      .consume({
        max_bytes: prefetchBytes,
        callback: (message) => {
          if (over) return;
          heardMs = performance.now();
          const { data } = message;
          const block = rawHeaders((message as unknown as { readonly msg: Parameters<typeof rawHeaders>[0] }).msg);
          records.push({
            sequence: message.seq,
            subject: message.subject,
            headers: block.length === 0 ? [] : block.toString('utf8').split('\r\n').slice(1, -2),
            bytes: data.length,
            digest: createHash('sha1').update(data).digest('base64'),
            text: Buffer.from(data.buffer, data.byteOffset, Math.min(40, data.length)).toString('latin1'),
          });
          if (message.seq >= upTo) end();
        },
      })
      .then((messages) => messages.closed())
      .then((error) => end(error ?? undefined), end);
  });
}

/** The value of the first header of this name. */
export function header(record: Stored, name: string): string | undefined {
  const line = record.headers.find((text) => text.startsWith(`${name}:`));
  return line?.slice(name.length + 1).trim();
}

/** One lane of the sink that is judged. */
export interface JudgedLane {
  /** link/from/to */
  readonly lane: string;
  /** Everything that the source holds. */
  readonly source: readonly Stored[];
  /** Subject that a source's record must have at the sink. */
  readonly subject: (record: Stored) => string;
  /** Headers that it must have there, without those of Causeway. Default: those it has, without those of NATS. */
  readonly headers?: (record: Stored) => readonly string[];
}

export interface Verdict {
  readonly sent: number;
  readonly stored: number;
  /** Records of the source that the sink does not hold. */
  readonly lost: number;
  /** Records that it holds more than once. */
  readonly duplicated: number;
  /** Records that stand behind a later one of the same source. */
  readonly outOfOrder: number;
  /** Records with another subject, payload or application header than at the source, or unknown to it. */
  readonly differing: number;
  /** The first few things that are wrong, in words. */
  readonly examples: readonly string[];
}

/** What a lane must be after everything: each record once, in order, as it was. */
export function perfect(count: number): Verdict {
  return { sent: count, stored: count, lost: 0, duplicated: 0, outOfOrder: 0, differing: 0, examples: [] };
}

const reserved = /^(nats|causeway)-/i;
const maxExamples = 8;

/** Judges each lane; what none of them stored is counted as foreign. `place`: cluster/stream of the sink. */
export function judge(
  sink: readonly Stored[],
  place: string,
  lanes: readonly JudgedLane[],
): { readonly verdicts: Readonly<Record<string, Verdict>>; readonly foreign: readonly Stored[] } {
  const byLane = new Map<string, { readonly record: Stored; readonly position: number }[]>();
  const foreign: Stored[] = [];
  for (const record of sink) {
    const [lane, position] = header(record, 'Causeway-Lane')?.split(';') ?? [];
    if (lane === undefined || position === undefined) {
      foreign.push(record);
      continue;
    }
    const list = byLane.get(lane) ?? [];
    byLane.set(lane, list);
    list.push({ record, position: Number(position.slice(position.lastIndexOf('.') + 1)) });
  }
  const verdicts: Record<string, Verdict> = {};
  for (const one of lanes) {
    verdicts[one.lane] = judgeLane(byLane.get(one.lane) ?? [], place, one);
    byLane.delete(one.lane);
  }
  for (const list of byLane.values()) foreign.push(...list.map(({ record }) => record));
  return { verdicts, foreign };
}

function judgeLane(
  stored: readonly { readonly record: Stored; readonly position: number }[],
  place: string,
  { lane, source, subject, headers = withoutReserved }: JudgedLane,
): Verdict {
  const bySequence = new Map(source.map((record) => [record.sequence, record]));
  const seen = new Map<number, number>();
  const examples: string[] = [];
  const say = (what: string): void => {
    if (examples.length < maxExamples) examples.push(what);
  };
  let [duplicated, outOfOrder, differing, highest] = [0, 0, 0, 0];
  for (const { record, position } of stored) {
    const first = seen.get(position);
    if (first !== undefined) {
      duplicated++;
      say(`${lane} ${position} is stored at ${first} and at ${record.sequence}`);
      continue;
    }
    seen.set(position, record.sequence);
    if (position < highest) {
      outOfOrder++;
      say(`${lane} ${position} at ${record.sequence} stands behind ${highest}`);
    }
    highest = Math.max(highest, position);
    const difference = differenceOf(record, place, bySequence.get(position), subject, headers);
    if (difference === undefined) continue;
    differing++;
    say(`${lane} ${position} at ${record.sequence}: ${difference}`);
  }
  const lost = source.filter(({ sequence }) => !seen.has(sequence));
  for (const { sequence } of lost.slice(0, 3)) say(`${lane} ${sequence} is not stored`);
  return {
    sent: source.length,
    stored: stored.length,
    lost: lost.length,
    duplicated,
    outOfOrder,
    differing,
    examples,
  };
}

function differenceOf(
  record: Stored,
  place: string,
  origin: Stored | undefined,
  subject: (record: Stored) => string,
  headers: (record: Stored) => readonly string[],
): string | undefined {
  if (origin === undefined) return 'the source has no such record';
  if (record.digest !== origin.digest) return `payload ${record.text}, at the source ${origin.text}`;
  if (record.subject !== subject(origin)) return `subject ${record.subject}, not ${subject(origin)}`;
  const at = header(record, 'Causeway-At');
  if (at !== `${place}/${record.sequence}` && at !== `${place}/-`) return `says to be at ${at}`;
  const [has, wants] = [withoutReserved(record), headers(origin)];
  if (has.join('\n') !== wants.join('\n')) return `headers ${JSON.stringify(has)}, not ${JSON.stringify(wants)}`;
  // A record that was relayed to this source has the application's id under our name already.
  const relayed = header(origin, 'Causeway-Lane') !== undefined;
  const id = header(origin, relayed ? 'Causeway-Msg-Id' : 'Nats-Msg-Id');
  if (header(record, 'Causeway-Msg-Id') !== id) return `message id ${header(record, 'Causeway-Msg-Id')}, not ${id}`;
  return undefined;
}

function withoutReserved({ headers }: Stored): readonly string[] {
  return headers.filter((line) => !reserved.test(line));
}
