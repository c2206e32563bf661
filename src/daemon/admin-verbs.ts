import type { AdminVerb } from '../ops/admin-verb.ts';
import { type GapEnd, gapVerbs } from './gap-verbs.ts';
import { type VerifyClusterEnd, verifyVerbs } from './verify-verb.ts';

/** What verbs may touch of the daemon. */
export interface AdminHost {
  /** The own cluster, and those that the daemon serves besides, as they are by now. */
  ends(): readonly (GapEnd & VerifyClusterEnd)[];
}

/** Every verb of the admin socket. */
export function adminVerbs(host: AdminHost): readonly AdminVerb[] {
  return [...gapVerbs(() => host.ends()), ...verifyVerbs(() => host.ends())];
}
