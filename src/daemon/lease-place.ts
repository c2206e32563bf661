import { readFileSync, readlinkSync } from 'node:fs';
import type { Address } from '../topology/plan.ts';

/**
 * A place that one process can have at a time: an address that it listens on, in this network namespace of this run of this machine.
 * Whoever has bound it knows that the process which had it before is gone. Undefined where the system does not tell.
 */
export function placeOf({ host, port }: Address): string | undefined {
  // Any free port: the next one to have it is somebody else.
  if (port === 0) return undefined;
  try {
    const machine = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
    return `${machine} ${readlinkSync('/proc/self/ns/net')} ${host}:${port}`;
  } catch {
    // Not Linux, or a container that hides it: nothing is known then.
    return undefined;
  }
}
