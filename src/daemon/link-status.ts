import type { LinkStatus } from '../ops/status.ts';
import { linkHash } from '../topology/lanes.ts';
import type { Plan } from '../topology/plan.ts';
import type { Verdicts } from '../wire/control.ts';
import { type LearnedLink, linksWith } from './links.ts';

/** What is shown of links: those of the own file by what peers said of them, those of peers by what was made of them here. */
export function linkStatus(
  plan: Plan,
  peers: readonly string[],
  learned: ReadonlyMap<string, readonly LearnedLink[]>,
  verdicts: ReadonlyMap<string, Verdicts>,
): LinkStatus[] {
  const theirs = [...learned].flatMap(([peer, links]) =>
    links.map(({ name, failure }) => ({
      link: name,
      declaredBy: peer,
      peer,
      accepted: failure === undefined,
      ...failure,
    })),
  );
  const own = peers.flatMap((peer) =>
    linksWith(plan, peer).flatMap((link) => {
      const hash = linkHash(link);
      const verdict = verdicts.get(peer)?.verdicts.find((one) => one.link === link.name && one.hash === hash);
      if (verdict === undefined) return [];
      const { reason, detail } = verdict;
      const refused = reason === undefined ? {} : { reason, detail };
      return [{ link: link.name, declaredBy: plan.cluster, peer, accepted: reason === undefined, ...refused }];
    }),
  );
  return [...own, ...theirs];
}
