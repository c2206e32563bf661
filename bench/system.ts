import type { NatsServer } from '../test/support/nats-launcher.ts';

/** The processes that do the work, in the order in which a record passes them. */
export const roles = ['source server', 'source daemon', 'sink daemon', 'sink server'] as const;
export type Role = (typeof roles)[number];

export const systemNames = ['causeway', 'sources'] as const;
export type SystemName = (typeof systemNames)[number];

/** Stream A, at the server of the plant, and stream B, at the server of the hub. */
export const sourceStream = 'TELEMETRY';
export const sinkStream = 'FLEET';
/** Every subject of a workload. */
export const subjects: readonly string[] = ['plant.>'];

/** Something that carries stream A into stream B. */
export interface System extends AsyncDisposable {
  readonly name: SystemName;
  readonly source: NatsServer;
  readonly sink: NatsServer;
  /** Called when stream A is full: from now on records flow. */
  begin(): Promise<void>;
  /** Those that take part, by role; complete after `begin`. */
  pids(): ReadonlyMap<Role, number>;
  /** Throws when a part of it has ended by itself. */
  check(): void;
  /** Its last words, for a failed run. */
  logs(): string;
  /** Ends everything in order. */
  end(): Promise<void>;
}
