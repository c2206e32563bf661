import { jetstreamManager, StorageType } from '@nats-io/jetstream';
import { connect, createInbox } from 'nats';
import { subjectOf, type Workload, writePayload } from './payloads.ts';
import { subjects } from './system.ts';

/** Records on their way to the server; it holds about 10,000 per stream before it refuses more. */
const windowRecords = 4096;
const windowBytes = 16 * 1024 * 1024;

/** Makes a file stream for the subjects of a workload. */
export async function makeStream(url: string, name: string): Promise<void> {
  const connection = await connect({ servers: url });
  try {
    const manager = await jetstreamManager(connection);
    await manager.streams.add({ name, subjects: [...subjects], storage: StorageType.File });
  } finally {
    await connection.close();
  }
}

/**
 * Makes stream `name` and puts every record of the workload into it, in order: record number i gets sequence i + 1. Plain
 * publishes with an inbox of our own, as many in flight as the server takes; every answer is checked.
 */
export async function fillStream(url: string, name: string, workload: Workload): Promise<void> {
  await makeStream(url, name);
  const { kind, payloadBytes, records } = workload;
  const window = Math.max(64, Math.min(windowRecords, Math.floor(windowBytes / payloadBytes)));
  const connection = await connect({ servers: url });
  try {
    const inbox = createInbox();
    let answered = 0;
    let refused: string | undefined;
    let wake: (() => void) | undefined;
    let wakeAt = 0;
    connection.subscribe(inbox, {
      callback: (error, answer) => {
        answered++;
        // `{"stream":...}`, or `{"error":...}`.
        if (error !== null) refused ??= error.message;
        else if (answer.data[2] !== 0x73) refused ??= answer.string();
        if (answered >= wakeAt || refused !== undefined) wake?.();
      },
    });
    const answers = (count: number): Promise<void> =>
      new Promise((resolve) => {
        wakeAt = count;
        wake = resolve;
        if (answered >= count || refused !== undefined) resolve();
      });
    for (let index = 0; index < records && refused === undefined; index++) {
      if (index - answered >= window) await answers(index - window / 2);
      // The client keeps the payload until it has written it to the socket, so each needs memory of its own.
      const payload = Buffer.allocUnsafe(payloadBytes);
      writePayload(kind, index, payload);
      connection.publish(subjectOf(index), payload, { reply: inbox });
    }
    await answers(records);
    if (refused !== undefined) throw new Error(`filling ${name}: ${refused}`);
    const { state } = await (await jetstreamManager(connection)).streams.info(name);
    if (state.messages !== records || state.last_seq !== records) {
      throw new Error(`filling ${name}: it holds ${state.messages} records up to ${state.last_seq}, not ${records}`);
    }
  } finally {
    await connection.close();
  }
}
