import type { LinkStatus } from '../ops/status.ts';
import type { LinkVerdict } from '../wire/control.ts';

/** What is shown of a link of the own file, by what a peer said of it. */
export function ownLinkStatus({ link, reason, detail }: LinkVerdict, declaredBy: string, peer: string): LinkStatus {
  return {
    link,
    declaredBy,
    peer,
    accepted: reason === undefined,
    ...(reason === undefined ? {} : { reason, detail }),
  };
}
