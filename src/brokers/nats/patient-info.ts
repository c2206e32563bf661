import { pause } from '../../lib/pause.ts';
import { type StreamInfo, streamInfo } from './api.ts';
import type { NatsLink } from './connection.ts';
import { isPassing, natsFailure } from './errors.ts';

/** How soon a call that failed for a reason that may pass is made again, in ms. */
const retryMs = 250;

/** The stream's information; waits out what may pass, for so long. Undefined once it is aborted. */
export async function patientInfo(
  link: NatsLink,
  stream: string,
  patienceMs: number,
  signal: AbortSignal,
): Promise<StreamInfo | undefined> {
  for (let untilMs = performance.now() + patienceMs; !signal.aborted; await pause(retryMs, signal)) {
    const { connection } = link;
    if (connection === undefined) {
      untilMs = performance.now() + patienceMs;
      continue;
    }
    try {
      return await streamInfo(connection, link.api, stream);
    } catch (error) {
      if (!isPassing(natsFailure(error)) || performance.now() > untilMs) throw error;
    }
  }
  return undefined;
}
