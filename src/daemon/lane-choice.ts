import { AdminError } from '../ops/admin-verb.ts';

/** Says whether a lane (`LINK/FROM/TO`) was meant. */
export type LaneChoice = (lane: string) => boolean;

/**
 * Lanes as people name them: `LINK` for every lane of a link, `LINK/PEER` for those that begin or end at that cluster, `LINK/FROM/TO` for
 * one; undefined for all. Throws AdminError for anything else.
 */
export function chooseLanes(text: string | undefined): LaneChoice {
  if (text === undefined) return () => true;
  const [link, ...clusters] = text.split('/');
  if (!link || clusters.length > 2 || clusters.includes(''))
    throw new AdminError(`${JSON.stringify(text)} is not LINK, LINK/PEER or LINK/FROM/TO`);
  return (lane) => {
    const [ownLink, from = '', to = ''] = lane.split('/');
    if (ownLink !== link) return false;
    const [first, second] = clusters;
    if (first === undefined) return true;
    return second === undefined ? first === from || first === to : first === from && second === to;
  };
}
