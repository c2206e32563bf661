import { jetstream, jetstreamManager } from '@nats-io/jetstream';
import { connect } from 'nats';
import { subjectOf, type Workload, writePayload } from './payloads.ts';

const prefetchBytes = 8 * 1024 * 1024;
const silenceMs = 30_000;

/**
 * Reads a stream from its first record to its last and compares it with the workload: every record once, in order, with
 * its subject and every byte of its payload. Gives the first difference, or undefined. `growing`: the stream may hold more by now,
 * and is read as far as the workload goes.
 */
export async function findDifference(
  url: string,
  stream: string,
  workload: Workload,
  { growing = false } = {},
): Promise<string | undefined> {
  const { kind, payloadBytes, records } = workload;
  const connection = await connect({ servers: url });
  try {
    const { state } = await (await jetstreamManager(connection)).streams.info(stream);
    if (growing ? state.messages < records : state.messages !== records)
      return `${stream} holds ${state.messages} records, not ${records}`;
    const expected = Buffer.allocUnsafe(payloadBytes);
    let seen = 0;
    let heardMs = performance.now();
    const consumer = await jetstream(connection).consumers.get(stream);
    return await new Promise<string | undefined>((resolve, reject) => {
      const silence = setInterval(() => {
        if (performance.now() - heardMs > silenceMs) resolve(`${stream} gave only ${seen} records when it was read`);
      }, 1000);
      const compare = (subject: string, data: Uint8Array): string | undefined => {
        if (subject !== subjectOf(seen)) return `record ${seen} has the subject ${subject}, not ${subjectOf(seen)}`;
        writePayload(kind, seen, expected);
        if (!expected.equals(data)) return `record ${seen} has another payload than the one that was sent`;
        return undefined;
      };
      consumer
        .consume({
          max_bytes: prefetchBytes,
          callback: (message) => {
            heardMs = performance.now();
            const difference = compare(message.subject, message.data);
            seen++;
            if (difference === undefined && seen < records) return;
            clearInterval(silence);
            resolve(difference);
          },
        })
        .then((messages) => messages.closed())
        .then((error) => {
          clearInterval(silence);
          if (error) reject(error);
        }, reject);
    });
  } finally {
    await connection.close();
  }
}
