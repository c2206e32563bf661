import type { Logger } from '../lib/logger.ts';
import type { AdminVerb } from '../ops/admin-verb.ts';
import { type GapEnd, gapVerbs } from './gap-verbs.ts';
import { type QuarantineEnd, quarantineVerbs } from './quarantine-verbs.ts';
import { type VerifyClusterEnd, verifyVerbs } from './verify-verb.ts';

/** What verbs may touch of the daemon. */
export interface AdminHost {
  /** The own cluster, and those that the daemon serves besides, as they are by now. */
  ends(): readonly (GapEnd & VerifyClusterEnd & QuarantineEnd)[];
  readonly log: Logger;
}

/** Every verb of the admin socket. */
export function adminVerbs(host: AdminHost): readonly AdminVerb[] {
  const ends = () => host.ends();
  return [...gapVerbs(ends), ...verifyVerbs(ends), ...quarantineVerbs(ends, host.log)];
}
