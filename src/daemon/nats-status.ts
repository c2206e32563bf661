import type { NatsStatus } from '../ops/status.ts';
import type { Plan } from '../topology/plan.ts';
import type { Failure } from '../wire/reasons.ts';

/** A connection to NATS servers, as far as the status shows it. */
interface ShownLink {
  readonly connection: { getServer(): string; readonly info?: { readonly version: string } | undefined } | undefined;
  readonly failure: Failure | undefined;
  readonly sinceMs: number;
}

/** How the connection to the NATS servers of a cluster is. */
export function natsStatus({ connection, failure, sinceMs }: ShownLink, { nats }: Pick<Plan, 'nats'>): NatsStatus {
  return {
    connected: connection !== undefined,
    sinceMs,
    embedded: nats.embedded !== undefined,
    ...(failure === undefined ? {} : { reason: failure.reason, detail: failure.detail }),
    ...(connection === undefined
      ? {}
      : { server: connection.getServer(), version: connection.info?.version ?? 'unknown' }),
  };
}
