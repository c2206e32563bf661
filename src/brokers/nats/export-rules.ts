import type { ExportRules, LeftOut } from '../broker.ts';
import type { Provenance } from './provenance.ts';

/** Looks at a record that came over another lane, or by JetStream's own copying; whether it is left out: the cursor passes it then. */
export type ImportFilter = (sequence: number, came: Provenance) => LeftOut | undefined;

/** The rules as a filter for JetStreamSource. */
export function exportFilter(rules: ExportRules): ImportFilter {
  return (_sequence, { lane, identity, path }) => {
    if (identity === undefined) return rules.sourced ? undefined : 'sourced';
    const elsewhere =
      (lane !== undefined && rules.imported(lane)) || wasAt(rules.sink, identity.toString(), path?.toString() ?? '');
    return elsewhere ? 'elsewhere' : undefined;
  };
}

/** Whether a record of this origin and path began at `place` (cluster/stream), or came through it. */
export function wasAt(place: string, identity: string, path: string): boolean {
  return identity.startsWith(`${place}/`) || (path !== '' && path.split(',').includes(place));
}

/** Every place that a record was at before, as `wasAt` sees it. */
export function placesOf(identity: string, path: string): string[] {
  const origin = identity.slice(0, identity.indexOf('/', identity.indexOf('/') + 1));
  return path === '' ? [origin] : [origin, ...path.split(',')];
}
