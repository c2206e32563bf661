import { JetStreamApiError } from '@nats-io/jetstream';
import type { CreatePlan } from '../../topology/plan.ts';
import type { Failure } from '../../wire/reasons.ts';
import { call } from './api.ts';
import type { NatsLink } from './connection.ts';
import { isPassing, natsFailure } from './errors.ts';

/** There is a stream of this name, with other settings. */
const nameInUse = 10058;

/**
 * Makes a sink stream. One that exists is not altered, whoever made it and whatever it is like. Returns what stood in the way: for
 * settings that the server does not take, `sink-missing` with its words.
 *
 * `discard: old`, as everywhere in JetStream with limits: a record is stored, and acknowledged, before the limits of the stream may take
 * an older one away. With `new` a full stream would stop the lane, and on a shared stream the applications beside it.
 */
export async function createStream(link: NatsLink, stream: string, plan: CreatePlan): Promise<Failure | undefined> {
  const { subjects, maxBytes, maxAgeMs, replicas } = plan;
  try {
    await call(link.require(), `${link.api}.STREAM.CREATE.${stream}`, {
      name: stream,
      subjects,
      retention: 'limits',
      storage: 'file',
      discard: 'old',
      num_replicas: replicas,
      allow_direct: true,
      max_bytes: maxBytes,
      ...(maxAgeMs === undefined ? {} : { max_age: maxAgeMs * 1_000_000 }),
    });
    return undefined;
  } catch (error) {
    if (error instanceof JetStreamApiError && error.code === nameInUse) return undefined;
    const failure = natsFailure(error, 'sink-missing');
    // 503: nobody can answer at the moment.
    if (!(error instanceof JetStreamApiError) || (error.status === 503 && isPassing(failure))) return failure;
    return { reason: 'sink-missing', detail: `${stream} cannot be made: ${failure.detail}` };
  }
}
